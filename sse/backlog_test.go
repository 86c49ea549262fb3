package sse

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func of(job string, version int64, position int) item {
	st := &worker.Status{JobID: job, State: worker.StateRunning, Version: version}
	return item{event: worker.Event{Status: st, Position: fmt.Sprint(position)}}
}

func list(items []item) string {
	var all []string
	for _, it := range items {
		switch st := it.event.Status; {
		case st != nil:
			all = append(all, fmt.Sprintf("%s%d@%s", st.JobID, st.Version, it.event.Position))
		case it.event.Reset:
			all = append(all, "reset")
		default:
			all = append(all, string(it.event.Plain))
		}
	}
	return strings.Join(all, " ")
}

func TestBacklogKeepsAllWhileThereIsRoom(t *testing.T) {
	b := backlog{limit: 3}
	for i := range 3 {
		require.True(t, b.add(of("a", int64(i), i)))
	}
	assert.Equal(t, "a0@0 a1@1 a2@2", list(b.items))
}

func TestFullBacklogKeepsTheNewestOfEachJob(t *testing.T) {
	b := backlog{limit: 4}
	for i, it := range []item{of("a", 1, 1), of("b", 1, 2), of("a", 2, 3), {event: worker.Event{Reset: true}}} {
		require.True(t, b.add(it), i)
	}
	require.True(t, b.add(of("c", 1, 5)))
	assert.Equal(t, "b1@2 a2@3 reset c1@5", list(b.items))
	require.True(t, b.add(of("b", 2, 6)))
	assert.Equal(t, "a2@3 reset c1@5 b2@6", list(b.items))
	require.True(t, b.add(of("a", 1, 7)), "one that is older than what waits")
	assert.Equal(t, "reset c1@5 b2@6 a2@7", list(b.items))
	assert.False(t, b.add(of("d", 1, 8)), "a fifth")
	assert.False(t, b.add(item{event: worker.Event{Plain: []byte("x")}}))
	assert.Equal(t, "reset c1@5 b2@6 a2@7", list(b.items))
}

// A backlog never loses the newest status of a job, and never shows a position before one that it covers.
func TestBacklogOfManyJobs(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b, newest := backlog{limit: 1 + dice.IntN(20)}, map[string]int64{}
		for position := range 200 {
			job, version := fmt.Sprint(dice.IntN(10)), int64(dice.IntN(100))
			if b.add(of(job, version, position)) {
				newest[job] = max(newest[job], version)
			}
			require.LessOrEqual(t, len(b.items), b.limit)
		}
		got, last := map[string]int64{}, -1
		for _, it := range b.items {
			got[it.event.Status.JobID] = max(got[it.event.Status.JobID], it.event.Status.Version)
			position := 0
			_, _ = fmt.Sscan(it.event.Position, &position)
			require.Greater(t, position, last)
			last = position
		}
		require.Equal(t, newest, got)
	}
}

func TestInboxTellsTheWriterOnce(t *testing.T) {
	in := newInbox(2)
	require.True(t, in.add(of("a", 1, 1)))
	require.True(t, in.add(of("b", 1, 2)))
	assert.Len(t, in.wake, 1)
	require.False(t, in.add(of("c", 1, 3)))
	require.False(t, in.add(of("a", 2, 4)), "what follows a loss must not be shown")
	items, err := in.take()
	assert.Equal(t, "a1@1 b1@2", list(items))
	assert.ErrorIs(t, err, errSlowViewer)
}
