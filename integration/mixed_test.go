//go:build unix

package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// kind is a kind of jobs in a mixed load. Its name begins their ids.
type kind struct {
	name string
	do   func(i int) task
	opts []worker.JobOption
	ends worker.State
}

const (
	kindRefuses  = "refuses"  // ends as failed, and is requeued
	kindIdle     = "idle"     // waits for a time that never comes, and is canceled
	kindHolds    = "holds"    // is canceled while it runs
	kindSteps    = "steps"    // keeps checkpoints
	kindRetries  = "retries"  // fails some times
	kindSnoozes  = "snoozes"  // puts itself off
	kindDelayed  = "delayed"  // waits for its time
	kindOrdinary = "ordinary" // just runs
)

var kinds = []kind{
	{name: kindOrdinary, do: nap(5, 40), ends: worker.StateSucceeded},
	{name: kindRetries, do: func(i int) task { return task{Do: deedFail, Times: 1 + i%3, Millis: 50 + i%200} }, ends: worker.StateSucceeded},
	{name: kindSnoozes, do: func(i int) task { return task{Do: deedSnooze, Times: 1 + i%2, Millis: 100 + i%200} }, ends: worker.StateSucceeded},
	{name: kindSteps, do: func(i int) task { return task{Do: deedSteps, Times: 3 + i%5, Millis: 10 + i%20} }, ends: worker.StateSucceeded},
	{name: kindDelayed, do: nap(5, 40), opts: []worker.JobOption{worker.After(2 * time.Second)}, ends: worker.StateSucceeded},
	{name: kindRefuses, do: func(int) task { return task{Do: deedRefuse} }, ends: worker.StateSucceeded},
	{name: kindIdle, do: nap(5, 40), opts: []worker.JobOption{worker.After(time.Hour)}, ends: worker.StateCanceled},
	{name: kindHolds, do: hold, ends: worker.StateCanceled},
}

// enqueueMix enqueues n jobs of each kind, in turns, and notes how they must end.
func (r *rig) enqueueMix(n int) []*worker.Job {
	r.t.Helper()
	jobs := make([]*worker.Job, 0, n*len(kinds))
	for i := range n {
		for _, k := range kinds {
			jobs = append(jobs, r.job(fmt.Sprintf("%s-%05d", k.name, i), k.do(i), k.opts...))
		}
	}
	r.enqueue(jobs...)
	for _, k := range kinds {
		r.expect(k.ends, ofKind(k.name, jobs)...)
	}
	return jobs
}

func ofKind(name string, jobs []*worker.Job) []*worker.Job {
	return slices.DeleteFunc(slices.Clone(jobs), func(job *worker.Job) bool { return !strings.HasPrefix(job.ID, name+"-") })
}

// meddler is a client that cancels and requeues the jobs of a mix that are to be, whatever happens meanwhile.
type meddler struct {
	rig     *rig
	idle    []*worker.Job // to be canceled
	holds   []*worker.Job // to be canceled when they run
	refuses []*worker.Job // to be requeued when they have failed
}

// meddle does so from a goroutine, until all is done.
func (r *rig) meddle(jobs []*worker.Job) *sync.WaitGroup {
	m := &meddler{rig: r, idle: ofKind(kindIdle, jobs), holds: ofKind(kindHolds, jobs), refuses: ofKind(kindRefuses, jobs)}
	var meddling sync.WaitGroup
	meddling.Go(m.run)
	r.t.Cleanup(meddling.Wait)
	return &meddling
}

func (m *meddler) run() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for len(m.idle)+len(m.holds)+len(m.refuses) > 0 && ctx.Err() == nil && !m.rig.t.Failed() {
		ran := m.rig.fleet.hist.ran()
		m.idle = slices.DeleteFunc(m.idle, func(job *worker.Job) bool { return m.cancel(ctx, job) })
		m.holds = slices.DeleteFunc(m.holds, func(job *worker.Job) bool { return ran[job.ID] && m.cancel(ctx, job) })
		m.refuses = slices.DeleteFunc(m.refuses, func(job *worker.Job) bool { return ran[job.ID] && m.requeue(ctx, job) })
		time.Sleep(50 * time.Millisecond) // a pace
	}
	if left := len(m.idle) + len(m.holds) + len(m.refuses); left > 0 {
		m.rig.t.Errorf("%d jobs could not be canceled or requeued", left)
	}
}

// cancel reports whether the job is canceled, or will be by its worker.
func (m *meddler) cancel(ctx context.Context, job *worker.Job) bool {
	state, err := m.rig.producer.Cancel(ctx, job.ID)
	return err == nil && (state == worker.StateCanceled || state == worker.StateRunning)
}

// requeue reports whether the job has a new round, or needs none as a worker's death has spared it the failure.
func (m *meddler) requeue(ctx context.Context, job *worker.Job) bool {
	err := m.rig.producer.Requeue(ctx, job.ID)
	finished := (*worker.FinishedError)(nil)
	return err == nil || errors.As(err, &finished) && finished.State == worker.StateSucceeded
}

// Workers die, and producers beside them, in the middle of jobs that fail, put themselves off, wait for their time, keep
// checkpoints, are canceled and requeued. Each ends as it must, and none goes back behind its last checkpoint.
func TestMixedLoad(t *testing.T) {
	const alive = 4
	kills := size(10, 40)
	r, _ := newDatabaseRig(t, workerConfig{Concurrency: 20, MaxCrashes: kills + 1, Lease: time.Second})
	_, err := r.db.Exec(`CREATE TABLE orders (id text PRIMARY KEY)`)
	require.NoError(t, err)
	for range alive {
		r.fleet.start()
	}
	jobs := r.enqueueMix(size(250, 1500))
	meddling := r.meddle(jobs)
	for i := range kills {
		producer := r.produce(producerConfig{Name: fmt.Sprint("order-", i), Orders: 1 << 30})
		r.awaitMore(len(jobs) * 3 / 4 / kills)
		living := r.fleet.living()
		living[rand.IntN(len(living))].kill()
		require.NoError(t, producer.Process.Kill())
		_ = producer.Wait() // it was killed
		r.fleet.start()
	}
	r.acceptOrders()
	meddling.Wait()
	r.awaitEnded()
	r.verify()
	require.Empty(t, r.stepsBack())
	r.report(fmt.Sprintf("mixed load, %d workers and %d producers killed", kills, kills))
}

// stepsBack returns the jobs that went on from before a checkpoint that an earlier claim had kept.
func (r *rig) stepsBack() (found []string) {
	r.t.Helper()
	kept := make(map[string][]event)
	events := r.fleet.hist.all()
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.Token, b.Token) })
	for _, e := range events {
		switch e.Op {
		case opStep:
			kept[e.Job] = append(kept[e.Job], e)
		case opGoOn:
			for _, step := range kept[e.Job] {
				if step.Attempt > e.Attempt && step.Token < e.Token {
					found = append(found, fmt.Sprintf("job %s went on from step %d after step %d", e.Job, e.Attempt, step.Attempt))
				}
			}
		}
	}
	return found
}
