package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// list returns the ids of all pages.
func (r *sqlRig) list(t testing.TB, f sqlstatus.Filter, limit int) (ids []string) {
	t.Helper()
	page := sqlstatus.Page{Limit: limit}
	for range 10_000 {
		rows, next, err := r.List(context.Background(), f, page)
		require.NoError(t, err)
		require.LessOrEqual(t, len(rows), limit)
		for _, row := range rows {
			ids = append(ids, row.JobID)
		}
		if next == "" {
			return ids
		}
		require.Len(t, rows, limit, "only the last page is short")
		page.Cursor = next
	}
	t.Fatalf("the pages don't end")
	return nil
}

// Rows that came at the same time are on one page each, newest first, whatever the limit.
func TestSQLStatusPagesAreComplete(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		var want []string
		for call := range 3 {
			var statuses []worker.Status
			for i := range 11 {
				id := fmt.Sprintf("%d-%02d", call, i)
				statuses = append(statuses, waitingFor(t, newSQLJob(t, id)))
				want = append(want, id)
			}
			rand.Shuffle(len(statuses), func(i, k int) { statuses[i], statuses[k] = statuses[k], statuses[i] })
			r.saved(t, statuses...)
			r.sooner(t, 1000, "true") // each call's rows come a second apart, and at one time
		}
		slices.Reverse(want)
		for _, limit := range []int{1, 3, 11, 12, 33, 1000} {
			require.Equal(t, want, r.list(t, sqlstatus.Filter{}, limit), "limit %d", limit)
		}
	})
}

func TestSQLStatusFilters(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		one := waitingFor(t, newSQLJob(t, "1", worker.WithTopic("user:1"), worker.OnQueue("photos")))
		two := waitingFor(t, newSQLJob(t, "2", worker.WithTopic("user:1")))
		three := waitingFor(t, newSQLJob(t, "3", worker.WithTopic("user:2")))
		three.Type = "another:type"
		four := waitingFor(t, newSQLJob(t, "4"))
		five := waitingFor(t, newSQLJob(t, "5"))
		for i, st := range []worker.Status{
			later(one, worker.StateSucceeded, 1, phaseFinal, 0), later(two, worker.StateRunning, 1, phaseRunning, 0),
			later(three, worker.StateFailed, 1, phaseFinal, 0), four, later(five, worker.StateCanceled, 1, phaseFinal, 0),
		} {
			r.saved(t, st)
			r.sooner(t, 3600_000*(5-i), "id = '"+st.JobID+"'") // 1 came 5 hours ago, 5 one hour ago
		}
		hoursAgo := func(h float64) time.Time { return time.Now().Add(-time.Duration(h * float64(time.Hour))) }
		for _, c := range []struct {
			filter sqlstatus.Filter
			want   []string
		}{
			{sqlstatus.Filter{}, []string{"5", "4", "3", "2", "1"}},
			{sqlstatus.Filter{Topic: "user:1"}, []string{"2", "1"}},
			{sqlstatus.Filter{Topic: "job:4"}, []string{"4"}},
			{sqlstatus.Filter{Queue: "photos"}, []string{"1"}},
			{sqlstatus.Filter{Type: "another:type"}, []string{"3"}},
			{sqlstatus.Filter{States: []worker.State{worker.StateQueued, worker.StateRunning}}, []string{"4", "2"}},
			{sqlstatus.Filter{States: []worker.State{worker.StateFailed, worker.StateCanceled}}, []string{"5", "3"}},
			{sqlstatus.Filter{States: []worker.State{worker.StateFailed}}, []string{"3"}},
			{sqlstatus.Filter{States: []worker.State{worker.StateSucceeded, worker.StateRunning}}, []string{"2", "1"}},
			{sqlstatus.Filter{States: []worker.State{worker.StateFailed, worker.StateQueued}}, []string{"4", "3"}},
			{sqlstatus.Filter{States: []worker.State{worker.StateScheduled}}, nil},
			{sqlstatus.Filter{Topic: "user:1", States: []worker.State{worker.StateRunning}}, []string{"2"}},
			{sqlstatus.Filter{Since: hoursAgo(2.5)}, []string{"5", "4"}},
			{sqlstatus.Filter{Until: hoursAgo(2.5)}, []string{"3", "2", "1"}},
			{sqlstatus.Filter{Since: hoursAgo(4.5), Until: hoursAgo(2.5), Type: "sql:note"}, []string{"2"}},
		} {
			require.Equal(t, c.want, r.list(t, c.filter, 1), "%+v", c.filter)
			counts, err := r.Count(ctx, c.filter)
			require.NoError(t, err)
			total := 0
			for _, n := range counts {
				total += n
			}
			require.Equal(t, len(c.want), total, "%+v: %v", c.filter, counts)
		}
		rows, next, err := r.List(ctx, sqlstatus.Filter{Topic: "user:1"}, sqlstatus.Page{Limit: 1})
		require.NoError(t, err)
		require.NotEmpty(t, next)
		require.Equal(t, worker.StateRunning, rows[0].State)
		require.Nil(t, rows[0].Job)
	})
}

func TestSQLStatusRefusesSenselessQuestions(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		_, _, err := r.List(ctx, sqlstatus.Filter{}, sqlstatus.Page{Limit: 1001})
		require.EqualError(t, err, "list: Limit is 1001: it must lie between 1 and 1000, or be 0")
		_, _, err = r.List(ctx, sqlstatus.Filter{}, sqlstatus.Page{Limit: -1})
		require.ErrorContains(t, err, "Limit is -1")
		_, _, err = r.List(ctx, sqlstatus.Filter{}, sqlstatus.Page{Cursor: "'; DROP TABLE"})
		require.ErrorContains(t, err, "cursor")
		_, _, err = r.Unfinished(ctx, 0, "nonsense", 1)
		require.ErrorContains(t, err, "cursor")
		injected := worker.State("queued') OR ('' = '")
		_, _, err = r.List(ctx, sqlstatus.Filter{States: []worker.State{injected}}, sqlstatus.Page{})
		require.ErrorContains(t, err, "there is no state")
		_, err = r.Count(ctx, sqlstatus.Filter{States: []worker.State{injected}})
		require.ErrorContains(t, err, "there is no state")
	})
}

func TestSQLStatusPrunes(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		var done []worker.Status
		for i := range 2300 { // more than two batches
			done = append(done, later(waitingFor(t, newSQLJob(t, fmt.Sprintf("done-%04d", i))), worker.StateSucceeded, 1, phaseFinal, 0))
		}
		r.saved(t, done...)
		failed := waitingFor(t, newSQLJob(t, "failed"))
		canceled := waitingFor(t, newSQLJob(t, "canceled"))
		running := waitingFor(t, newSQLJob(t, "running"))
		r.saved(t, later(failed, worker.StateFailed, 1, phaseFinal, 0), later(canceled, worker.StateCanceled, 1, phaseFinal, 0),
			later(running, worker.StateRunning, 1, phaseRunning, 0))
		r.sooner(t, 3600_000, "true")
		late := later(waitingFor(t, newSQLJob(t, "late")), worker.StateSucceeded, 1, phaseFinal, 0)
		r.saved(t, late)
		r.sooner(t, 3600_000, "id = 'late'")
		r.saved(t, later(waitingFor(t, newSQLJob(t, "new")), worker.StateSucceeded, 1, phaseFinal, 0))
		// It came an hour ago, and has just ended.
		r.exec(t, "UPDATE {t} SET changed_at = (SELECT created_at FROM {t} WHERE id = 'new') WHERE id = 'late'")

		n, err := r.Prune(ctx, 30*time.Minute, worker.StateSucceeded)
		require.NoError(t, err)
		require.Equal(t, 2300, n)
		require.Equal(t, []string{"canceled", "failed", "late", "new", "running"}, slices.Sorted(slices.Values(r.list(t, sqlstatus.Filter{}, 100))))
		n, err = r.Prune(ctx, 2*time.Hour)
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = r.Prune(ctx, 30*time.Minute)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		n, err = r.Prune(ctx, 0)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.Equal(t, []string{"running"}, r.list(t, sqlstatus.Filter{}, 100))

		_, err = r.Prune(ctx, time.Hour, worker.StateSucceeded, worker.StateRunning)
		require.EqualError(t, err, `prune: state "running" is not final: only jobs that have ended are pruned`)
		_, err = r.Prune(ctx, -time.Second, "nonsense")
		require.ErrorContains(t, err, "olderThan")
		require.ErrorContains(t, err, `"nonsense"`)
	})
}

// A row that another transaction holds is passed over and pruned the next time.
func TestSQLStatusPrunesAroundWriters(t *testing.T) {
	r := onPostgres(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, id := range []string{"a", "b", "c"} {
		r.saved(t, later(waitingFor(t, newSQLJob(t, id)), worker.StateFailed, 1, phaseFinal, 0))
	}
	holder, err := r.db.Begin()
	require.NoError(t, err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.Exec("UPDATE " + r.table() + " SET message = 'held' WHERE id = 'b'")
	require.NoError(t, err)
	n, err := r.Prune(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.NoError(t, holder.Commit())
	n, err = r.Prune(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// Times are the database's own: rows that it says are old enough are swept, and the page is bounded.
func TestSQLStatusSweepsByTheDatabasesClock(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		var statuses []worker.Status
		for i := range 1200 {
			statuses = append(statuses, waitingFor(t, newSQLJob(t, fmt.Sprintf("job-%04d", i))))
		}
		r.saved(t, statuses...)
		rows, next, err := r.Unfinished(ctx, time.Minute, "", 10)
		require.NoError(t, err)
		require.Empty(t, rows)
		require.Empty(t, next)
		r.sooner(t, 61_000, "id < 'job-1100'")
		rows, next, err = r.Unfinished(ctx, time.Minute, "", 5000)
		require.NoError(t, err)
		require.Len(t, rows, 1000)
		require.Nil(t, rows[0].Job)
		rows, next, err = r.Unfinished(ctx, time.Minute, next, 5000)
		require.NoError(t, err)
		require.Len(t, rows, 100)
		require.Empty(t, next)
		rows, _, err = r.Unfinished(ctx, time.Minute, "", 0)
		require.NoError(t, err)
		require.Len(t, rows, 100)
		_, err = r.LockSweep(ctx, "", time.Second, 0)
		require.ErrorContains(t, err, "owner")
		require.ErrorContains(t, r.UnlockSweep(ctx, ""), "owner")
	})
}

// The end of a sweep that nobody noted, as its process died, keeps nobody from sweeping.
func TestSQLStatusSweepsAfterADeadSweeper(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		mine, err := r.LockSweep(ctx, "dead", time.Hour, time.Hour)
		require.NoError(t, err)
		require.True(t, mine)
		past := "held_until - 7200000"
		if r.dialect == sqlstatus.Postgres {
			past = "held_until - interval '2 hours'"
		}
		r.exec(t, "UPDATE {t}_sweep SET held_until = "+past)
		mine, err = r.LockSweep(ctx, "alive", time.Hour, time.Hour)
		require.NoError(t, err)
		require.True(t, mine)
	})
}
