package redisqueue_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// lateClient is a client that keeps some calls back: they fail as if their connection stood still, and are sent later.
type lateClient struct {
	rueidis.Client
	late bool // from now on
	kept []rueidis.Completed
}

func (c *lateClient) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	if !c.late {
		return c.Client.Do(ctx, cmd)
	}
	c.kept = append(c.kept, cmd)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	return c.Client.Do(ended, c.B().Ping().Build())
}

// deliver sends the ith call that was kept back.
func (c *lateClient) deliver(t *testing.T, i int) {
	t.Helper()
	require.NoError(t, c.Client.Do(context.Background(), c.kept[i].Pin()).Error())
}

// keeper is a worker that holds one job.
type keeper struct {
	t      *testing.T
	s      *server
	client *lateClient
	worker worker.Consumer
	job    *worker.Job
}

func newKeeper(t *testing.T, s *server) *keeper {
	t.Helper()
	k := &keeper{t: t, s: s, client: &lateClient{Client: s.client}}
	cfg, _ := quiet()
	cfg.Lease = time.Hour // no beats in between
	q, err := redisqueue.New(k.client, cfg)
	require.NoError(t, err)
	k.worker = open(t, q, 0)
	enqueue(t, q, newJob(t))
	k.job = claim(t, k.worker, 1)[0]
	k.keep("0")
	return k
}

func (k *keeper) checkpoint(data string) error {
	return k.worker.(worker.Checkpointer).Checkpoint(context.Background(), k.job, []byte(data))
}

// keep makes a checkpoint that Redis confirms.
func (k *keeper) keep(data string) {
	k.t.Helper()
	require.NoError(k.t, k.checkpoint(data))
}

// holdBack makes a checkpoint that is not answered, and may come later.
func (k *keeper) holdBack(data string) {
	k.t.Helper()
	k.client.late = true
	err := k.checkpoint(data)
	k.client.late = false
	require.Error(k.t, err)
	require.NotErrorIs(k.t, err, worker.ErrRefused)
}

func (k *keeper) require(data string) {
	k.t.Helper()
	require.Equal(k.t, data, k.s.hash("checkpoints")[k.job.ID])
}

func (k *keeper) overtakingKey() string {
	return key("overtaking:" + strconv.FormatInt(k.job.Token, 10))
}

// overtaking is the number that is kept for the claim, empty if there is none.
func (k *keeper) overtaking() string {
	k.t.Helper()
	number, err := k.s.ok("GET", k.overtakingKey()).ToString()
	if err != nil {
		require.True(k.t, rueidis.IsRedisNil(err))
	}
	return number
}

// Two connections of one client: what was sent over the one that stood still comes later than what was sent and confirmed
// over the other.
func TestLateCheckpointReplacesNoConfirmedOne(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		k := newKeeper(t, s)
		require.Empty(t, k.overtaking(), "nothing is kept as long as all is well")
		k.holdBack("1")
		k.holdBack("2")
		k.keep("3")
		require.NotEmpty(t, k.overtaking())
		k.keep("4")
		k.client.deliver(t, 1)
		k.require("4")
		k.client.deliver(t, 0)
		k.require("4")
		k.keep("5")
		k.holdBack("6")
		k.keep("7")
		k.client.deliver(t, 2)
		k.require("7")
	})
}

// One that comes before the next one is an ordinary checkpoint.
func TestLateCheckpointCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		k := newKeeper(t, s)
		k.holdBack("1")
		k.client.deliver(t, 0)
		k.require("1")
		k.keep("2")
		k.require("2")
	})
}

// Only the first one after an unknown outcome says that it overtakes, and what it leaves behind is forgotten.
func TestOvertakingIsForgotten(t *testing.T) {
	s := onReal(t)
	k := newKeeper(t, s)
	k.holdBack("1")
	k.keep("2")
	number := k.overtaking()
	k.keep("3")
	require.Equal(t, number, k.overtaking())
	left, err := s.ok("PTTL", k.overtakingKey()).AsInt64()
	require.NoError(t, err)
	require.Positive(t, left)
	require.LessOrEqual(t, left, time.Hour.Milliseconds())
	settle(t, k.worker, worker.ActionRetry, k.job)
	k.client.deliver(t, 0)
	k.require("3")
}

// What a stranger wrote there is no number, and holds nothing up.
func TestOvertakingMayBeGarbage(t *testing.T) {
	k := newKeeper(t, onReal(t))
	k.s.ok("SET", k.overtakingKey(), "x")
	k.keep("1")
	k.require("1")
}
