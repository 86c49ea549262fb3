package sqlstatus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func someRows(n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{Status: &worker.Status{JobID: fmt.Sprint(i)}}
	}
	return rows
}

// Every batch has the same statement in Postgres, and as many arguments as placeholders in both.
func TestUpsertHasItsArguments(t *testing.T) {
	small, args := postgres{}.upsert(someRows(1))
	large, _ := postgres{}.upsert(someRows(700))
	require.Equal(t, small, large)
	require.Contains(t, small, fmt.Sprintf("$%d::", len(args)))
	require.NotContains(t, small, fmt.Sprintf("$%d", len(args)+1))
	for n := 1; n <= sqliteRows; n++ {
		statement, args := sqlite{}.upsert(someRows(n))
		require.Len(t, args, strings.Count(statement, "?"))
	}
	n := len(strings.Split(columns, ","))
	require.Len(t, args, n+1)
}

func TestRowsAreSorted(t *testing.T) {
	rows, err := sortRows([]worker.Status{{JobID: "b"}, {JobID: "a"}, {JobID: "ä"}, {JobID: "Z"}})
	require.NoError(t, err)
	order := ""
	for _, r := range rows {
		order += fmt.Sprint(r.JobID, r.index, " ")
	}
	require.Equal(t, "Z3 a1 b0 ä2 ", order, "by bytes, as the databases have them")
	_, err = sortRows([]worker.Status{{JobID: "a"}, {JobID: "b"}, {JobID: "a"}})
	require.ErrorContains(t, err, `job "a" is in the call twice`)
	_, err = sortRows([]worker.Status{{JobID: "a", RunAt: time.Unix(1<<50, 0)}})
	require.ErrorContains(t, err, "RunAt")
}

// A statement carries so many rows and bytes, one row at least.
func TestParts(t *testing.T) {
	b := &batch{store: &Store{dialect: sqlite{}}}
	require.Len(t, b.part(someRows(5)), 5)
	require.Len(t, b.part(someRows(40)), sqliteRows)
	rows := someRows(3)
	for i := range rows {
		rows[i].envelope = make([]byte, 3<<20)
	}
	require.Len(t, b.part(rows), 1)
}

// The job goes with the statuses that open a round or were made by an edit, as it is from then on; never with one that has succeeded.
func TestEnvelopesGoWithTheFirstStatus(t *testing.T) {
	job := &worker.Job{ID: "a", Type: "t", Queue: "default", Topic: "x", Payload: []byte("{}"), EnqueuedAt: time.Now()}
	for _, c := range []struct {
		status worker.Status
		want   bool
	}{
		{worker.Status{State: worker.StateQueued, Version: 0, Job: job}, true},
		{worker.Status{State: worker.StateQueued, Version: 9 << 14, Job: job}, true},
		{worker.Status{State: worker.StateQueued, Version: 9<<14 | 2<<12, Job: job}, false},
		{worker.Status{State: worker.StateRetrying, Version: 9<<14 | 2<<12 | 1, Job: job}, true},
		{worker.Status{State: worker.StateRunning, Version: 9<<14 | 1<<12, Job: job}, false},
		{worker.Status{State: worker.StateSucceeded, Version: 0, Job: job}, false},
		{worker.Status{State: worker.StateQueued, Version: 0}, false},
		{worker.Status{State: worker.StateQueued, Version: 0, Job: &worker.Job{ID: "broken"}}, false},
	} {
		c.status.JobID = "a"
		rows, err := sortRows([]worker.Status{c.status})
		require.NoError(t, err)
		require.Equal(t, c.want, rows[0].envelope != nil, "%+v", c.status)
	}
}

func TestSpansAreNeverCutShort(t *testing.T) {
	require.Equal(t, int64(2), sqlite{}.span(1500*time.Microsecond))
	require.Equal(t, int64(1), sqlite{}.span(time.Nanosecond))
	require.InDelta(t, 1500.0, postgres{}.span(1500*time.Microsecond), 0)
}
