package simulation

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/workertest"
)

// world is one simulated system: Redis, a status store, a notifier, and processes that come and go.
type world struct {
	t       testing.TB
	plan    *plan
	began   time.Time
	redis   *redis
	rows    *workertest.MemoryStatusStore
	notes   *workertest.Recorder
	trouble trouble
	remains sync.WaitGroup // of processes that were killed
	tasks   sync.WaitGroup // producers and viewers
	lasting sync.WaitGroup // faults that are not over

	turns  *turns // nil: everybody takes steps at will
	events history.Memory
	scribe *history.Scribe // for what befalls everybody

	mu      sync.Mutex
	calm    bool // no more faults
	slots   map[string]*process
	born    map[string]int // processes that a slot has had
	taken   map[stepKey]int
	struck  []*fault
	wrong   []string // broken promises that were seen on the way
	memory  map[string]*memory
	over    bool             // everybody is about to stop
	drained bool             // nothing waits or runs any more
	poison  string           // the id of a job that kills its worker
	silent  map[string]span  // the last time that a slot, or everybody (""), was out of touch
	entries map[string]entry // of unique jobs that are in, by their ids
	met     map[kind]int     // duplicates that were turned away, by their kinds, and those that took another's place
	obeyed  map[string]int   // controls that were answered, by what they were and what the answer was
	deaths  int              // of processes that poisonous jobs killed
	offsets time.Duration    // the furthest that Redis's clock was ahead
	moved   time.Time        // when it was moved last

	redisLeft history.Redis   // in the end
	figures   history.Figures // of the run, once it is judged
}

type stepKey struct {
	slot, step string
	when       moment
}

// memory is what the test knows of a job.
type memory struct {
	snoozes int
	rounds  int
	kept    int   // the last checkpoint that was acknowledged
	keptBy  int64 // the token of the claim that it was acknowledged to

	requeued time.Time        // when a producer was told so
	opened   bool             // its store has a new round
	edits    int              // that were tried
	lists    map[uint32][]int // edits that payloads have gone through, by their sums
	doubtful bool             // an enqueue had no clear answer
}

func newWorld(t testing.TB, p *plan) *world {
	w := &world{
		t: t, plan: p, began: time.Now(), redis: newRedis(), rows: workertest.NewStatusStore(), notes: workertest.NewNotifier(),
		slots: make(map[string]*process), born: make(map[string]int), taken: make(map[stepKey]int),
		memory: make(map[string]*memory), silent: make(map[string]span),
	}
	w.scribe = history.NewScribe("", &w.events, time.Now)
	return w
}

// spawn puts a new process into a slot.
func (w *world) spawn(slot string) {
	w.mu.Lock()
	if w.over { // who sees to it that there are enough may come upon those that were stopped
		w.mu.Unlock()
		return
	}
	w.born[slot]++
	p := newProcess(w, slot, w.born[slot])
	w.slots[slot] = p
	w.mu.Unlock()
	w.tasks.Go(func() {
		if slot[0] != 'w' {
			p.produce()
			return
		}
		var i int
		_, _ = fmt.Sscanf(slot, "w%d", &i)
		p.work(w.plan.pools[i-1])
	})
}

func (w *world) process(slot string) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slots[slot]
}

func (w *world) processes() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*process, 0, len(w.slots))
	for _, p := range w.slots {
		all = append(all, p)
	}
	return all
}

func (w *world) log(p *process) io.Writer {
	if !*logs {
		return discard
	}
	return writerFunc(func(line []byte) (int, error) {
		fmt.Printf("%v %s %s", time.Since(w.began), p.name, line)
		return len(line), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// blame keeps a promise that was seen to be broken.
func (w *world) blame(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf("%v: ", time.Since(w.began))+fmt.Sprintf(format, args...))
}

// alarmed is told that a process thinks that Redis lost data. A clock that was ahead and has come back may have let others take
// over from one that was cut off meanwhile.
func (w *world) alarmed(p *process, l redisqueue.DataLoss) {
	if l.Sign == redisqueue.SignSessionGone && w.clockMoved(w.plan.lease+w.plan.lease/2) {
		return
	}
	lost := func(e history.Event) bool { return e.Op == history.OpDataLost }
	if !slices.ContainsFunc(w.events.Events(), lost) {
		w.blame("%s: a false alarm: %+v", p.name, l)
	}
}

// reached counts a step and lets the faults strike that wait for it.
func (w *world) reached(p *process, step string, when moment) {
	w.mu.Lock()
	key := stepKey{p.slot, step, when}
	w.taken[key]++
	n, all, calm := w.taken[key], 0, w.calm
	if p.slot[0] == 'w' {
		key.slot = anyWorker
		w.taken[key]++
		all = w.taken[key]
	}
	if !calm {
		w.lasting.Add(1) // before it is calm, or the wait for what lasts could begin meanwhile
		defer w.lasting.Done()
	}
	w.mu.Unlock()
	if calm {
		return
	}
	for _, f := range w.plan.faults {
		mine := f.slot == p.slot && f.nth == n || f.slot == anyWorker && f.nth == all
		if mine && f.step == step && f.when == when {
			w.strike(f, p)
		}
	}
}

// strikes lets those faults of the plan happen that have a time.
func (w *world) strikes() {
	timed := slices.DeleteFunc(slices.Clone(w.plan.faults), func(f *fault) bool { return f.step != "" })
	slices.SortStableFunc(timed, func(a, b *fault) int { return cmp.Compare(a.at, b.at) })
	for _, f := range timed {
		if d := f.at - time.Since(w.began); d > 0 {
			time.Sleep(d)
		}
		w.strike(f, w.process(f.slot))
	}
}

// tell writes a line of the log that -logs shows.
func (w *world) tell(p *process, format string, args ...any) {
	if !*logs {
		return
	}
	name := "-"
	if p != nil {
		name = p.name
	}
	fmt.Printf("%v %s %s\n", time.Since(w.began), name, fmt.Sprintf(format, args...))
}

// direct is a client that no fault concerns.
func (w *world) direct(do func(ctx context.Context, c *inspector)) {
	client, err := connect(func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
		return w.redis.mini.Dial()
	})
	if err != nil {
		w.blame("inspect: %v", err)
		return
	}
	defer client.Close()
	do(context.Background(), &inspector{client: client})
}

func (w *world) flushScripts() {
	w.direct(func(ctx context.Context, c *inspector) {
		_ = c.client.Do(ctx, c.client.B().ScriptFlush().Build()).Error()
	})
}

// What handlers and stores tell the world follows.

func (w *world) memoryOf(id string) *memory {
	m := w.memory[id]
	if m == nil {
		m = &memory{}
		w.memory[id] = m
	}
	return m
}

// again counts how often it was asked about a job, from 0.
func (w *world) again(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.memoryOf(id)
	m.snoozes++
	return m.snoozes - 1
}

func (w *world) round(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.memoryOf(id).rounds
}

// opened notes that the store has a new round of a job.
func (w *world) opened(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.memoryOf(id).opened = true
}

func (w *world) nextRound(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.memoryOf(id).rounds++
}

// killed counts a process that is about to be killed by its job.
func (w *world) killed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaths++
}

// supervise sees to it that there are so many workers, also when they die by themselves.
func (w *world) supervise(workers int) {
	for !w.isOver() {
		for i := range workers {
			slot := workerSlot(i)
			if p := w.process(slot); p == nil || p.isDead() {
				w.spawn(slot)
			}
		}
		time.Sleep(time.Second)
	}
}

// resumed says where a run goes on: no later than at a checkpoint that an earlier claim of the job was promised to be kept.
func (w *world) resumed(job *worker.Job, at int) {
	w.mu.Lock()
	m := *w.memoryOf(job.ID)
	w.mu.Unlock()
	if job.Token > m.keptBy && at < m.kept {
		w.blame("job %s resumed at checkpoint %d after %d was acknowledged", job.ID, at, m.kept)
	}
}

func (w *world) checkpointed(job *worker.Job, at int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.memoryOf(job.ID); job.Token >= m.keptBy {
		m.kept, m.keptBy = at, job.Token
	}
}

// saved hears of what the store has accepted.
func (w *world) saved(p *process, statuses []worker.Status, saved []worker.Saved) {
	for i := range statuses {
		st := &statuses[i]
		if saved[i].OK && st.State == worker.StateRunning {
			w.alone(st)
		}
		switch {
		case !saved[i].OK || saved[i].Repeated:
		case opensRound(st):
			w.opened(st.JobID)
			w.scribe.Write(history.Event{Proc: p.name, Op: history.OpRequeue, Job: st.JobID, Token: st.Token(),
				Result: history.ResultOK})
		case st.State.Final():
			w.scribe.Write(history.Event{Proc: p.name, Op: history.OpFinal, Job: st.JobID, State: st.State, Token: st.Token(),
				Crashes: st.Crashes, Text: st.Error})
		}
	}
}
