package redisqueue_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// nobody is a client that is never asked anything.
type nobody struct{ rueidis.Client }

func TestNewReportsAllThatIsWrong(t *testing.T) {
	var typedNil *nobody
	_, err := redisqueue.New(typedNil, redisqueue.Config{
		Namespace: "a{b}", Lease: time.Millisecond, Grace: -1, DeadMaxAge: -1, DeadMaxCount: -1, Timeout: -1,
		WaitReplicas: -1, WaitTimeout: -1,
	})
	for _, part := range []string{
		"client", "Namespace", "Lease", "Grace", "DeadMaxAge", "DeadMaxCount", "Timeout", "WaitReplicas", "WaitTimeout",
	} {
		require.ErrorContains(t, err, part)
	}
	_, err = redisqueue.New(nil, redisqueue.Config{})
	require.ErrorContains(t, err, "client is nil")
}

// With a colon the keys of namespace "a:b" and queue "c" would be those of "a" and "b:c".
func TestANamespaceHasNoColon(t *testing.T) {
	for _, name := range []string{"a:b", ":", "a b", "é", "{a}", strings.Repeat("x", 65)} {
		_, err := redisqueue.New(&nobody{}, redisqueue.Config{Namespace: name})
		require.ErrorContains(t, err, "Namespace", name)
		require.ErrorContains(t, err, "A-Z a-z 0-9 _ . -", name)
	}
	_, err := redisqueue.New(&nobody{}, redisqueue.Config{Namespace: "Shop_eu-1.v2"})
	require.NoError(t, err)
}

func TestNewTakesTheZeroConfigAndSendsNothing(t *testing.T) {
	q, err := redisqueue.New(&nobody{}, redisqueue.Config{})
	require.NoError(t, err)
	require.NotNil(t, q)
}

func TestBadNamesReachNoKey(t *testing.T) {
	q, err := redisqueue.New(&nobody{}, redisqueue.Config{})
	require.NoError(t, err)
	ctx := context.Background()
	_, err = q.Consume(ctx, "a}b", worker.ConsumeOptions{})
	require.ErrorContains(t, err, "queue")
	_, err = q.Consume(ctx, "a", worker.ConsumeOptions{MaxCrashes: -1})
	require.ErrorContains(t, err, "MaxCrashes")
	_, err = q.MarkCanceled(ctx, "", "id")
	require.ErrorContains(t, err, "queue")
	_, err = q.RemoveCanceled(ctx, "a b", "id")
	require.ErrorContains(t, err, "queue")
	_, _, err = q.DrawToken(ctx, "{}", "id")
	require.ErrorContains(t, err, "queue")
	require.Error(t, q.Reopen(ctx, &worker.Job{ID: "x", Queue: "{}"}))
	require.Error(t, q.Enqueue(ctx, nil))

	job := newJob(t)
	job.Queue = "}"
	var failed *worker.EnqueueError
	require.ErrorAs(t, q.Enqueue(ctx, job), &failed)
	require.Contains(t, failed.Failed, job.ID)
}

func TestConsumeWarnsOnceWhenRedisMayEvictJobs(t *testing.T) {
	s := onReal(t, "--maxmemory-policy", "allkeys-lru")
	cfg, book := quiet()
	q := s.queue(cfg)
	open(t, q, 0)
	open(t, q, 0)
	require.Equal(t, 1, book.count("noeviction"))
}

func TestConsumeIsSilentAboutServersThatDoNotTell(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		open(t, s.queue(cfg), 0)
		require.Zero(t, book.count(""))
	})
}
