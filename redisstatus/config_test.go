package redisstatus_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/redisstatus"
)

// nobody is a client that is never asked anything.
type nobody struct{ rueidis.Client }

func TestNewReportsAllThatIsWrong(t *testing.T) {
	var typedNil *nobody
	_, err := redisstatus.New(typedNil, redisstatus.Config{
		Namespace: "a:b", FinishedTTL: time.Millisecond, UnfinishedTTL: -1, Timeout: -1,
	})
	for _, part := range []string{"client", "Namespace", "FinishedTTL", "UnfinishedTTL", "Timeout"} {
		require.ErrorContains(t, err, part)
	}
	_, err = redisstatus.New(nil, redisstatus.Config{})
	require.ErrorContains(t, err, "client is nil")
}

func TestNewTakesTheZeroConfigAndSendsNothing(t *testing.T) {
	store, err := redisstatus.New(&nobody{}, redisstatus.Config{})
	require.NoError(t, err)
	saved, err := store.Save(context.Background())
	require.NoError(t, err)
	require.Empty(t, saved)
}
