package redistest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// complaints is a test that keeps what it is failed for.
type complaints struct {
	testing.TB
	texts []string
}

func (c *complaints) Errorf(format string, args ...any) {
	c.texts = append(c.texts, fmt.Sprintf(format, args...))
}

func TestWatchMissesNoCallWithoutDeadline(t *testing.T) {
	server := redistest.Server(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DisableCache: true, ForceSingleClient: true, RingScaleEachConn: 8,
	})
	require.NoError(t, err)
	defer client.Close()
	c := &complaints{TB: t}
	w := redistest.Watch(c, client)
	calls := func(ctx context.Context) {
		ping := func() rueidis.Completed { return w.B().Echo().Message("hello").Build() }
		require.NoError(t, w.Do(ctx, ping()).Error())
		w.DoMulti(ctx, ping(), ping())
		require.NoError(t, w.Dedicated(func(d rueidis.DedicatedClient) error { return d.Do(ctx, ping()).Error() }))
		d, release := w.Dedicate()
		d.DoMulti(ctx, ping())
		release()
	}
	require.False(t, w.Seen("ECHO"))
	bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	calls(bounded)
	require.Empty(t, c.texts)
	require.True(t, w.Seen("ECHO"))
	require.True(t, w.Seen("ECHO hello"))
	calls(context.Background())
	require.Len(t, c.texts, 5)
	require.Contains(t, c.texts[0], "ECHO is sent without a deadline")
}
