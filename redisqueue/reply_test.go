package redisqueue

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// A bad entry in a reply costs its neighbours neither their crashes nor their cancel marks.
func TestABadEntryInAReplyHarmsNoOther(t *testing.T) {
	m := miniredis.NewMiniRedis()
	t.Cleanup(m.Close)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"mini:6379"}, DisableCache: true, ForceSingleClient: true, RingScaleEachConn: 8,
		DialCtxFn: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) { return m.Dial() },
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	const reply = `return {1, -1, 5, 0, 3, 'a', 'x', 'b', 'x', 'c', 'x',
		1, 'garbage', '', 9, '0 0 0', '', 'x', '0 0 0', '', 2, '1 2 0', '7', 3, '0 0 1', ''}`
	message, err := client.Do(context.Background(), client.B().Eval().Script(reply).Numkeys(0).Build()).ToMessage()
	require.NoError(t, err)
	answer, err := readClaim(message)
	require.NoError(t, err)
	jobs := []*worker.Job{{ID: "a", Attempt: 1}, {ID: "b"}, {ID: "c"}}
	err = answer.enrich(jobs, 3)
	require.ErrorContains(t, err, "garbage")
	require.ErrorContains(t, err, "out of range")
	require.Equal(t, 1, jobs[0].Attempt)
	require.Equal(t, 2, jobs[1].Crashes)
	require.Equal(t, "7", string(jobs[1].CheckpointData))
	require.ErrorIs(t, jobs[2].Reject, worker.ErrCanceled)
}
