package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// expectation is what is known of an accepted job: its payload, and how it must end.
type expectation struct {
	sum  uint32
	ends worker.State // succeeded, or failed for a job that takes its workers down
	may  bool         // Redis may have lost it before it ran
	at   int          // its place in the order of all
}

// checker is what a rig knows of its run, for the judgement of package history.
type checker struct {
	accepted map[string]expectation
	stored   bool    // there is a status store
	oneSlot  bool    // there is never more than one slot
	lossy    bool    // Redis lost acknowledged writes, so that a job may be claimed again for no other reason: see loseData
	events   []event // what all did, once the run is over

	// notice is how long a worker that was paused or cut off may take to see that its lease is gone.
	notice time.Duration

	verdict *history.Verdict // once it is judged
}

// forgive says that Redis may have lost an accepted job.
func (c *checker) forgive(id string) {
	want := c.accepted[id]
	want.may = true
	c.accepted[id] = want
}

// loseData notes that Redis loses acknowledged writes from now on: call it right before what makes it do so.
func (r *rig) loseData() {
	r.checker.lossy = true
	r.fleet.hist.write(event{Op: history.OpDataLost})
}

// judge judges a run that is over: its history, what is left in Redis and, unless it is nil, the status table.
func (c *checker) judge(maxCrashes int, left history.Redis, rows map[string]history.Row) []history.Violation {
	judge := history.Checker{
		Events: c.events, Redis: left, Rows: rows, Ends: make(map[string]worker.State, len(c.accepted)),
		MaxCrashes: maxCrashes, Announced: !c.stored, OneSlot: c.oneSlot, Notice: c.notice,
	}
	for id, want := range c.accepted {
		enqueue := event{At: int64(want.at), Op: history.OpEnqueue, Job: id, Result: history.ResultOK, Sum: want.sum}
		if want.may {
			enqueue.Result = history.ResultUnknown
		}
		judge.Events = append(judge.Events, enqueue)
		judge.Ends[id] = want.ends
	}
	verdict := judge.Check()
	c.verdict = &verdict
	return verdict.Violations
}

// status returns the rows of the status table, nil if there is none, and the final states that were ever stored there.
func (r *rig) status() (rows map[string]history.Row, finals []event) {
	r.t.Helper()
	switch {
	case r.db != nil:
		return r.rows(), r.finals()
	case r.checker.stored:
		ledger := newLedgerStore(r.client)
		return ledger.rows(r.t), ledger.finals(r.t)
	}
	return nil, nil
}

// namesNoJobs are the hashes whose fields are no ids of jobs.
var namesNoJobs = map[string]bool{"info": true, "rates": true, "ticks": true, "paused": true}

// left returns what all queues hold, by the keys' names behind the prefix.
func (r *rig) left() history.Redis {
	r.t.Helper()
	left := history.Redis{Keys: make(map[string][]string), Void: make(map[string]int)}
	for _, q := range r.fleet.base.Queues {
		for _, key := range r.keys(prefix(q) + "*") {
			name := strings.TrimPrefix(key, prefix(q))
			if namesNoJobs[name] {
				continue
			}
			left.Keys[name] = append(left.Keys[name], r.members(key)...)
		}
		for id, text := range r.fields(prefix(q) + "void") {
			n, err := strconv.Atoi(text)
			require.NoError(r.t, err)
			left.Void[id] += n
		}
	}
	return left
}

// fields returns a whole hash.
func (r *rig) fields(key string) map[string]string {
	r.t.Helper()
	fields, err := r.client.Do(context.Background(), r.client.B().Hgetall().Key(key).Build()).AsStrMap()
	require.NoError(r.t, err)
	return fields
}

// explain words violations for people, the first 20 of them.
func explain(violations []history.Violation) (found []string) {
	for i, v := range violations {
		if i == 20 {
			return append(found, fmt.Sprintf("and %d more", len(violations)-i))
		}
		found = append(found, v.String())
	}
	return found
}
