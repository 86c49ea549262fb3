package redisqueue_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// places says how often each id is in each place that a job can be in, void entries subtracted.
func places(s *server) map[string][]string {
	s.t.Helper()
	where := make(map[string][]string)
	void := s.hash("void")
	for _, name := range []string{"suspects", "pending"} {
		for _, id := range s.list(name) {
			if n, _ := strconv.Atoi(void[id]); n > 0 {
				void[id] = strconv.Itoa(n - 1)
				continue
			}
			where[id] = append(where[id], name)
		}
	}
	for _, name := range []string{"scheduled", "dead"} {
		for id := range s.zset(name) {
			where[id] = append(where[id], name)
		}
	}
	for _, held := range s.inflight() {
		for id := range held {
			where[id] = append(where[id], "held")
		}
	}
	return where
}

// accounted checks invariant 1: each id that was accepted and not settled is in exactly one place, with its body, and
// nothing else is anywhere.
func accounted(t testing.TB, s *server, accepted ...string) {
	t.Helper()
	where := places(s)
	bodies := s.hash("jobs")
	for _, id := range accepted {
		require.Lenf(t, where[id], 1, "job %s is in %v", id, where[id])
		require.Containsf(t, bodies, id, "job %s in %v has no body", id, where[id])
	}
	require.Lenf(t, where, len(accepted), "only %v were accepted", accepted)
	require.Len(t, bodies, len(accepted))
}

// model is what two workers and a producer did to a queue.
type model struct {
	t       *testing.T
	s       *server
	q       *redisqueue.Queue
	dice    *rand.Rand
	workers []worker.Consumer
	held    []map[string]*worker.Job // by worker
	alive   map[string]bool          // accepted and not settled, dead ones included
	next    int
}

// Two workers and a producer do anything in any order; after each step every job is accounted for.
func TestNoSequenceOfStepsLosesAJob(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("WORKER_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("WORKER_SEED=%d", seed)
	for round := range uint64(8) {
		t.Run(fmt.Sprintf("miniredis/%d", round), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) { runModel(t, s, rand.New(rand.NewPCG(seed, round)), 150) })
		})
	}
	t.Run("redis", func(t *testing.T) { runModel(t, onReal(t), rand.New(rand.NewPCG(seed, 99)), 600) })
}

func runModel(t *testing.T, s *server, dice *rand.Rand, steps int) {
	cfg, _ := quiet()
	m := &model{t: t, s: s, q: s.queue(cfg), dice: dice, alive: make(map[string]bool)}
	for range 2 {
		m.workers = append(m.workers, open(t, m.q, 3))
		m.held = append(m.held, make(map[string]*worker.Job))
	}
	moves := []func(){
		m.enqueue, m.enqueue, m.enqueue, m.claim, m.claim, m.claim, m.settle, m.settle, m.settle, m.settle, m.cancel,
		m.remove, m.requeue, m.reopen, m.edit, m.edit, m.forget, m.checkpoint, m.pass, m.replace, m.die,
	}
	for range steps {
		moves[m.dice.IntN(len(moves))]()
		var accepted []string
		for id := range m.alive {
			accepted = append(accepted, id)
		}
		accounted(t, s, accepted...)
		m.listed()
	}
	m.drain()
}

func (m *model) anyID() string { return "j" + strconv.Itoa(m.dice.IntN(m.next+1)) }

func (m *model) enqueue() {
	var jobs []*worker.Job
	for range 1 + m.dice.IntN(4) {
		id := m.anyID()
		if m.dice.IntN(3) > 0 {
			m.next++
			id = "j" + strconv.Itoa(m.next)
		}
		job := newJob(m.t, worker.WithID(id))
		if m.dice.IntN(4) == 0 {
			job.Delay = time.Duration(m.dice.IntN(3000)) * time.Millisecond
		}
		jobs = append(jobs, job)
	}
	err := m.q.Enqueue(context.Background(), jobs...)
	var failed *worker.EnqueueError
	if err != nil {
		require.ErrorAs(m.t, err, &failed)
	}
	for _, job := range jobs {
		if failed != nil && failed.Failed[job.ID] != nil {
			var finished *worker.FinishedError
			require.ErrorAs(m.t, failed.Failed[job.ID], &finished)
			require.True(m.t, m.alive[job.ID], "only dead jobs are refused")
		}
		m.alive[job.ID] = true
	}
}

func (m *model) claim() {
	w := m.dice.IntN(2)
	for _, job := range claim(m.t, m.workers[w], 1+m.dice.IntN(4)) {
		require.True(m.t, m.alive[job.ID], "claimed %s, which nobody enqueued", job.ID)
		m.held[w][job.ID] = job
	}
}

// one picks a job that a worker holds, in an order that does not depend on the map's.
func (m *model) one() (int, *worker.Job) {
	w := m.dice.IntN(2)
	var jobs []*worker.Job
	for _, job := range m.held[w] {
		jobs = append(jobs, job)
	}
	if len(jobs) == 0 {
		return w, nil
	}
	slices.SortFunc(jobs, func(a, b *worker.Job) int { return cmp.Compare(a.Token, b.Token) })
	return w, jobs[m.dice.IntN(len(jobs))]
}

func (m *model) settle() {
	w, job := m.one()
	if job == nil {
		return
	}
	v := worker.Verdict{Job: job, Action: worker.Action(1 + m.dice.IntN(6)), Cause: errors.New("a cause")}
	if m.dice.IntN(2) == 0 {
		v.Delay = time.Duration(m.dice.IntN(2000)) * time.Millisecond
	}
	for range 1 + m.dice.IntN(2) { // repeating it changes nothing
		require.NoError(m.t, m.workers[w].Settle(context.Background(), v))
	}
	if m.dice.IntN(4) == 0 { // the other worker does not hold it
		require.NoError(m.t, m.workers[1-w].Settle(context.Background(), v))
	}
	delete(m.held[w], job.ID)
	if v.Action == worker.ActionComplete {
		delete(m.alive, job.ID)
	}
}

func (m *model) cancel() {
	_, err := m.q.MarkCanceled(context.Background(), "default", m.anyID())
	require.NoError(m.t, err)
}

func (m *model) remove() {
	_, err := m.q.RemoveCanceled(context.Background(), "default", m.anyID())
	require.NoError(m.t, err)
}

func (m *model) requeue() {
	_, _, err := m.q.DrawToken(context.Background(), "default", m.anyID())
	if err != nil {
		require.ErrorIs(m.t, err, worker.ErrJobActive)
	}
}

func (m *model) reopen() {
	id := m.anyID()
	if err := m.q.Reopen(context.Background(), newJob(m.t, worker.WithID(id))); err != nil {
		require.ErrorIs(m.t, err, worker.ErrJobActive)
	}
	m.alive[id] = true
}

// edit changes a waiting job, and perhaps its time.
func (m *model) edit() {
	ctx, id := context.Background(), m.anyID()
	info, err := m.q.Find(ctx, "default", id)
	if !m.alive[id] {
		require.ErrorIs(m.t, err, worker.ErrJobNotFound)
		return
	}
	require.NoError(m.t, err)
	after := newJob(m.t, worker.WithID(id))
	after.Delay = time.Duration(m.dice.IntN(3)) * time.Duration(m.dice.IntN(2000)) * time.Millisecond
	_, err = m.q.Edit(ctx, info.Job, after, worker.Move(m.dice.IntN(3)))
	switch {
	case info.Place == worker.PlaceHeld:
		require.ErrorIs(m.t, err, worker.ErrJobActive)
	case info.Place == worker.PlaceDead:
		require.ErrorAs(m.t, err, new(*worker.FinishedError))
	case info.Canceled:
		require.ErrorIs(m.t, err, worker.ErrCanceled)
	default:
		require.NoError(m.t, err)
	}
}

func (m *model) forget() {
	id := m.anyID()
	n, err := m.q.Forget(context.Background(), "default", id)
	require.NoError(m.t, err)
	if n > 0 {
		delete(m.alive, id)
	}
}

// listed checks that pages list every job where it is. One with entries that don't count may be listed twice.
func (m *model) listed() {
	listed := make(map[string][]string)
	void := m.s.hash("void")
	for place, names := range map[worker.Place][]string{
		worker.PlaceWaiting: {"suspects", "pending"}, worker.PlaceScheduled: {"scheduled"}, worker.PlaceHeld: {"held"},
		worker.PlaceDead: {"dead"},
	} {
		for _, info := range pages(m.t, m.q, worker.ListOptions{Place: place, Limit: 1 + m.dice.IntN(4)}) {
			if void[info.ID] != "" && len(listed[info.ID]) > 0 {
				require.Contains(m.t, listed[info.ID], names[0])
				continue
			}
			listed[info.ID] = append(listed[info.ID], names...)
		}
	}
	where := places(m.s)
	for id, names := range where {
		require.Subset(m.t, listed[id], names, "job %s", id)
		require.Less(m.t, len(listed[id]), 3, "job %s is listed as %v", id, listed[id])
	}
	require.Len(m.t, listed, len(where))
}

func (m *model) checkpoint() {
	w, job := m.one()
	if job != nil {
		require.NoError(m.t, m.workers[w].(worker.Checkpointer).Checkpoint(context.Background(), job, []byte("1")))
	}
}

// pass lets time pass: scheduled jobs become due, heartbeats come.
func (m *model) pass() {
	if m.s.mini != nil {
		time.Sleep(time.Duration(m.dice.IntN(3000)) * time.Millisecond) // fake time
		synctest.Wait()
	}
}

// replace ends a session and opens another.
func (m *model) replace() {
	w := m.dice.IntN(2)
	require.NoError(m.t, m.workers[w].Close(context.Background()))
	m.workers[w], m.held[w] = open(m.t, m.q, 3), make(map[string]*worker.Job)
}

// die ends a session without a word, and lets the other take over.
func (m *model) die() {
	if m.s.mini == nil {
		return
	}
	w := m.dice.IntN(2)
	redisqueue.Kill(m.workers[w])
	m.workers[w], m.held[w] = open(m.t, m.q, 3), make(map[string]*worker.Job)
	time.Sleep(20 * time.Second) // fake time
	synctest.Wait()
	require.Len(m.t, m.s.zset("workers"), 2, "the dead worker was removed")
}

// drain settles everything and checks that nothing of it is left.
func (m *model) drain() {
	ctx := context.Background()
	for w := range m.workers {
		require.NoError(m.t, m.workers[w].Close(ctx))
	}
	c := open(m.t, m.q, 3)
	for len(places(m.s)) > len(m.s.zset("dead")) {
		jobs, err := c.Claim(ctx, worker.ClaimOptions{Limit: 100, Wait: time.Second})
		require.NoError(m.t, err)
		settle(m.t, c, worker.ActionComplete, jobs...)
	}
	require.NoError(m.t, c.Close(ctx))
	require.Subset(m.t, []string{"checkpoints", "dead", "history", "jobs", "rates", "token", "wake"}, m.s.keyNames())
}
