package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// twins are the model's queue and the one in memory, which passes the same conformance suite as Redis's: whatever is done
// to both, they answer alike.
type twins struct {
	t        *testing.T
	ctx      context.Context
	dice     *rand.Rand
	m        machine
	s        State
	queue    *workertest.MemoryQueue
	consumer worker.Consumer
	held     [maxJobs]*worker.Job
}

func TestTheQueueAnswersAsTheOneInMemory(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := &twins{t: t, ctx: t.Context(), dice: rand.New(rand.NewPCG(seed, 1)), queue: workertest.NewQueue()}
			w.m.world = World{Jobs: maxJobs, Workers: 1, Slots: maxSlots}
			w.s = w.m.world.begin()
			w.open()
			moves := []func(job int){w.enqueue, w.claim, w.claim, w.settle, w.settle, w.mark, w.remove, w.requeue, w.replace}
			for range 300 {
				moves[w.dice.IntN(len(moves))](w.dice.IntN(maxJobs))
				w.compare()
			}
			require.NoError(t, w.consumer.Close(context.Background()))
		})
	}
}

func id(job int) string { return "j" + strconv.Itoa(job) }

func job(t *testing.T, n int) *worker.Job {
	j := &worker.Job{ID: id(n), Type: "t", Payload: []byte("1")}
	status, err := worker.InitialStatus(j) // fills in the rest
	require.NoError(t, err)
	require.Equal(t, worker.StateQueued, status.State)
	return j
}

func (w *twins) open() {
	c, err := w.queue.Consume(w.ctx, worker.DefaultQueue, worker.ConsumeOptions{MaxCrashes: 3})
	require.NoError(w.t, err)
	w.consumer = c
}

// compare holds the two to the same places.
func (w *twins) compare() {
	w.s.normalize()
	for j := range maxJobs {
		want := map[place]worker.Place{
			unknown: worker.PlaceUnknown, waits: worker.PlaceWaiting, held: worker.PlaceHeld, dead: worker.PlaceDead,
		}[w.s.placeOf(j)]
		require.Equal(w.t, want, w.queue.Place(worker.DefaultQueue, id(j)))
	}
	require.Equal(w.t, sound, w.m.judge(&w.s))
}

func (w *twins) enqueue(j int) {
	err := w.queue.Enqueue(w.ctx, job(w.t, j))
	w.m.enqueue(&w.s, j)
	finished := (*worker.FinishedError)(nil)
	require.Equal(w.t, w.s.jobs[j].dead != none, errors.As(err, &finished), fmt.Sprint(err))
	if finished != nil {
		require.Equal(w.t, map[rowState]worker.State{failed: worker.StateFailed, canceled: worker.StateCanceled}[w.s.jobs[j].dead],
			finished.State)
	}
}

func (w *twins) claim(int) {
	jobs, err := w.consumer.Claim(w.ctx, worker.ClaimOptions{Limit: 1})
	require.NoError(w.t, err)
	if len(jobs) == 0 {
		for j := range maxJobs {
			_, ok := w.m.take(&w.s, 0, j, 0, true)
			require.False(w.t, ok)
		}
		return
	}
	n, err := strconv.Atoi(jobs[0].ID[1:])
	require.NoError(w.t, err)
	a, ok := w.m.take(&w.s, 0, n, 0, true)
	require.True(w.t, ok)
	require.EqualValues(w.t, a.number, jobs[0].Attempt)
	require.Equal(w.t, a.rejected == canceled, errors.Is(jobs[0].Reject, worker.ErrCanceled))
	w.held[n] = jobs[0]
}

func (w *twins) settle(j int) {
	if w.held[j] == nil {
		return
	}
	actions := map[verdict]worker.Action{
		complete: worker.ActionComplete, release: worker.ActionRelease, bury: worker.ActionBury, cancel: worker.ActionCancel,
		retry: worker.ActionRetry,
	}
	v := complete + verdict(w.dice.IntN(len(actions)))
	if v == retry && w.s.jobs[j].attempts == maxAttempts {
		v = bury // the model counts no further
	}
	require.NoError(w.t, w.consumer.Settle(w.ctx, worker.Verdict{Job: w.held[j], Action: actions[v]}))
	outcome := failed
	if v == cancel {
		outcome = canceled
	}
	require.True(w.t, w.m.settle(&w.s, 0, j, w.s.sessions[0].held[j], v, outcome, false))
	w.held[j] = nil
}

func (w *twins) mark(j int) {
	_, err := w.queue.MarkCanceled(w.ctx, worker.DefaultQueue, id(j))
	require.NoError(w.t, err)
	w.m.markCanceled(&w.s, j)
}

func (w *twins) remove(j int) {
	_, err := w.queue.RemoveCanceled(w.ctx, worker.DefaultQueue, id(j))
	require.NoError(w.t, err)
	w.m.removeCanceled(&w.s, j, unknown)
}

func (w *twins) requeue(j int) {
	err := w.queue.Reopen(w.ctx, job(w.t, j))
	require.Equal(w.t, !w.m.reopen(&w.s, j), errors.Is(err, worker.ErrJobActive))
}

// replace ends the session and opens another.
func (w *twins) replace(int) {
	require.NoError(w.t, w.consumer.Close(w.ctx))
	w.held = [maxJobs]*worker.Job{}
	p := &w.s.workers[0]
	for j, t := range w.s.sessions[0].held { // what it holds, it knows
		if t > 0 {
			p.slots[j] = attempt{at: claimed, job: uint8(j), token: t, inQueue: t}
		}
	}
	w.m.closeSession(&w.s, 0)
	w.open()
	w.s.sessions[0].lease = leaseFresh
	w.s.workers[0] = process{power: up, session: 1}
}
