package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/internal/model"
)

// stage is a world of package model on the real code: who is there, and every step of theirs in turn.
type stage struct {
	*world
	model model.World
	jobs  []*worker.Job
	early map[earlyStep]bool // steps that were taken before their time
	moves int                // takeovers until a lease last ran out
}

// earlyStep is a save that had to be made before another one that the schedule has first: a pool makes one at a time.
type earlyStep struct {
	process   *process
	step, job string
}

// setupSlot is where what happened before is done from, without turns.
const setupSlot = "setup"

func newStage(w *world, m model.World) *stage {
	s := &stage{world: w, model: m, early: make(map[earlyStep]bool)}
	w.turns = &turns{}
	for i := range m.Jobs {
		o := &order{id: fmt.Sprintf("job-%d", i+1), kind: directed}
		w.plan.orders = append(w.plan.orders, o)
		s.jobs = append(s.jobs, o.job())
	}
	if m.Poison > 0 {
		w.poison = s.jobs[m.Poison-1].ID
	}
	return s
}

// planOf is the plan of a model's world: no faults, and sweeps by its clients alone.
func planOf(m model.World) *plan {
	p := &plan{lease: 10 * time.Second, sweep: -1, maxCrashes: 3}
	if m.Poison > 0 {
		p.maxCrashes = 2
	}
	for range m.Workers {
		p.pools = append(p.pools, m.Slots)
	}
	return p
}

// prepare does what has happened before, and brings everybody to their first step.
func (s *stage) prepare() {
	setup := newProcess(s.world, setupSlot, 1)
	setup.exempt = true
	setup.produce()
	for _, j := range slices.Concat(s.model.Waiting, s.model.Dead) {
		s.enqueue(setup, s.jobs[j-1])
	}
	if len(s.model.Dead) > 0 {
		setup.work(1)
		for slices.ContainsFunc(s.model.Dead, func(j int) bool { return s.stateOf(s.jobs[j-1].ID) != worker.StateFailed }) {
			time.Sleep(100 * time.Millisecond)
		}
	}
	_ = setup.stop()
	if s.model.Suspect {
		s.suspect()
	}
	for i := range s.model.Workers {
		s.spawn(workerSlot(i))
	}
	s.awaits(5*time.Second, s.allBeat)
	for i := range s.model.Clients {
		slot := clientSlot(i)
		s.spawn(slot)
		s.tasks.Go(func() { s.act(slot) })
	}
}

func clientSlot(i int) string { return fmt.Sprintf("c%d", i+1) }

// suspect makes suspects of all jobs that wait.
func (s *stage) suspect() {
	s.direct(func(ctx context.Context, c *inspector) {
		for _, j := range s.model.Waiting {
			id := s.jobs[j-1].ID
			c.client.Do(ctx, c.client.B().Lrem().Key(prefix+"pending").Count(0).Element(id).Build())
			c.client.Do(ctx, c.client.B().Rpush().Key(prefix+"suspects").Element(id).Build())
			c.client.Do(ctx, c.client.B().Hset().Key(prefix+"history").FieldValue().FieldValue(id, "0 2").Build())
		}
	})
	for range 2 { // whose crashes have to be somebody's
		s.scribe.Write(history.Event{Proc: "w0", Op: history.OpPause, Until: time.Now().UnixNano()})
	}
}

func (s *stage) enqueue(p *process, job *worker.Job) {
	err := p.client().EnqueueMany(context.Background(), job)
	s.scribe.Write(history.Event{Proc: p.name, Op: history.OpEnqueue, Job: job.ID, Result: history.ResultOf(err, job.ID),
		Sum: history.Sum(job.Payload)})
	s.tell(p, "enqueue %s: %v", job.ID, err)
}

// act is what the client in a slot does, once; a sweep goes on for ever.
func (s *stage) act(slot string) {
	var i int
	_, _ = fmt.Sscanf(slot, "c%d", &i)
	spec := s.model.Clients[i-1]
	p := s.process(slot)
	for p.client() == nil && !p.isDead() {
		time.Sleep(10 * time.Millisecond)
	}
	if p.isDead() {
		return
	}
	if spec.Kind == model.Sweeps {
		for !p.isDead() && !s.isOver() {
			n, err := p.client().Sweep(context.Background())
			s.tell(p, "sweep: %d %v", n, err)
			s.turns.rest()
		}
		return
	}
	job := (&order{id: s.jobs[spec.Job-1].ID, kind: directed}).job() // its own: who is repeated runs beside itself
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	switch spec.Kind {
	case model.Enqueues:
		s.enqueue(p, job)
	case model.Pushes:
		s.push(ctx, p, job)
	case model.Cancels:
		state, err := p.client().Cancel(ctx, job.ID)
		s.tell(p, "cancel %s: %s %v", job.ID, state, err)
		s.scribe.Write(history.Event{Proc: p.name, Op: history.OpCancel, Job: job.ID, Result: history.ResultOfControl(err), State: state})
	case model.Requeues:
		err := p.client().Requeue(ctx, job.ID)
		s.tell(p, "requeue %s: %v", job.ID, err)
	}
}

// push enqueues a job whose row a host has committed.
func (s *stage) push(ctx context.Context, p *process, job *worker.Job) {
	st, err := worker.InitialStatus(job)
	if err == nil {
		_, err = s.rows.Save(ctx, st)
	}
	if err != nil {
		s.blame("commit: %v", err)
	}
	s.scribe.Write(history.Event{Proc: p.name, Op: history.OpEnqueue, Job: job.ID, Result: history.ResultOK,
		Sum: history.Sum(job.Payload)})
	s.tell(p, "push %s: %v", job.ID, p.client().Push(ctx, job))
}

func (w *world) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// directed is the handler of the jobs of a stage. Without a word it succeeds.
func (p *process) directed(ctx context.Context, job *worker.Job) error {
	if p.exempt {
		return worker.Permanent(errTask)
	}
	cue := p.world.turns.wait(ctx, p, "handler", job.ID)
	switch {
	case cue.err != nil:
		return cue.err
	case cue.result == killsWorker || p.world.poison == job.ID:
		p.kill()
		return errDead
	case cue.result == "fails":
		return errTask
	case cue.result == "fails for good":
		return worker.Permanent(errTask)
	case cue.result == "stops":
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return nil
}

const killsWorker = "kills its worker"

// take takes one step of a schedule on the real code, if it comes to it. It tells whether it did.
func (s *stage) take(step model.Step) bool {
	synctest.Wait()
	p := s.process(step.Actor)
	switch step.Op {
	case model.WorkerDies, model.ClientDies:
		p.kill()
		s.revive(step.Actor)
	case model.WorkerStops:
		s.tasks.Go(func() { _ = p.stop() })
		s.pass(8 * time.Second)
		s.revive(step.Actor)
	case model.WorkerPauses:
		s.scribe.Write(history.Event{Proc: p.name, Op: history.OpPause})
		p.halt()
	case model.WorkerResume:
		p.resume()
		s.scribe.Write(history.Event{Proc: p.name, Op: history.OpResume})
		s.pass(time.Millisecond)
	case model.ClientRepeats:
		s.tasks.Go(func() { s.act(step.Actor) })
	case model.LeaseExpires:
		s.moves = s.takeovers()
		s.pass(s.plan.lease)
	case model.GracePasses:
		s.pass(s.plan.lease/2 - time.Second)
	case model.WorkerClaimed, model.BeatReply:
		p.wire.replies.open()
		s.pass(time.Millisecond)
	case model.WorkerOpen:
		if p.isDead() {
			s.spawn(step.Actor)
		}
		s.pass(time.Millisecond)
	case model.Beat:
		s.fault(p, step, "heartbeat")
		beats := func() int { return s.count(stepKey{step.Actor, "heartbeat", before}) } // its reply may be held
		n := beats()
		return s.awaits(3*time.Second, func() bool { return beats() > n })
	case model.Takeover: // by whoever comes first, and of all jobs at once
		return s.awaits(5*time.Second, func() bool { return s.takeovers() > s.moves })
	case model.QueueAway:
		s.scribe.Write(history.Event{Op: history.OpOutage, Until: time.Now().Add(s.plan.lease + 2*time.Second).UnixNano()})
		s.redis.away.close()
		s.pass(s.plan.lease + 2*time.Second)
		s.redis.away.open()
	case model.QueueEmpty:
		s.empty()
	case model.WorkerClaim:
		return s.claim(p, step)
	default:
		return s.turn(step)
	}
	return true
}

// claim gives turns to claim until one has brought a job, which may not be due yet. With a fault it is one turn.
func (s *stage) claim(p *process, step model.Step) bool {
	for before, start := p.claimed.Load(), time.Now(); s.turn(step); {
		if step.Fault != "" || p.claimed.Load() > before {
			return true
		}
		if time.Since(start) > 3*time.Second {
			break
		}
	}
	return false
}

// turn gives a process the turn that a step is.
func (s *stage) turn(step model.Step) bool {
	name := stepNames[step.Op]
	if name == "" {
		s.t.Fatalf("no step %s in the simulation", step.Op)
	}
	cue := cue{result: step.Result}
	switch step.Fault {
	case model.NotSent:
		cue.err = errCut
	case model.Refused:
		cue.err = worker.Permanent(errStore)
	case model.LostReply:
		if strings.HasPrefix(name, "save-") {
			cue.lost = errStore
		}
	}
	job := s.jobs[step.Job-1].ID
	p := s.process(step.Actor)
	if mine := (earlyStep{p, name, job}); s.early[mine] {
		delete(s.early, mine)
		return true
	}
	s.clear(p, name, job)
	return s.turns.give(3*time.Second, cue, func(t *turn) bool {
		found := t.process == p && t.step == name && t.concerns(job)
		if found {
			s.fault(t.process, step, name)
		}
		return found
	})
}

// clear makes the saves that stand before the one of a job: a pool makes the next one when it has the answer to the last.
func (s *stage) clear(p *process, name, job string) {
	ahead := func(t *turn) bool { return t.process == p && t.step == name && !t.concerns(job) }
	for name == "save-running" || name == "save-outcome" {
		ready := s.turns.ready()
		i := slices.IndexFunc(ready, ahead)
		if i < 0 {
			return
		}
		s.turns.give(0, cue{}, func(t *turn) bool { return t == ready[i] })
		for id := range strings.SplitSeq(ready[i].job, ",") {
			s.early[earlyStep{p, name, id}] = true
		}
	}
}

// fault prepares what becomes of a call to Redis.
func (s *stage) fault(p *process, step model.Step, name string) {
	switch step.Fault {
	case model.LostReply:
		p.wire.lose(name)
	case model.Slow:
		p.wire.replies.close()
	case model.NoMemory:
		p.wire.refuse(name, outOfMemory)
		s.tasks.Go(func() {
			time.Sleep(time.Millisecond)
			p.wire.refuse(name, "")
		})
	}
}

// stepNames are the seams of the model's steps.
var stepNames = map[model.Op]string{
	model.ProducerSave: "save-queued", model.ProducerPush: "enqueue", model.ProducerRead: "get",
	model.ProducerRefused: "save-final", model.CancelRead: "get", model.CancelMark: "cancel_mark",
	model.CancelSave: "save-final", model.CancelRemove: "cancel_remove", model.RequeueRead: "get",
	model.RequeueDraw: "requeue_draw", model.RequeueSave: "save-queued", model.RequeueMove: "requeue_move",
	model.SweepList: "sweep-list", model.SweepAsk: "know", model.SweepRead: "get", model.SweepPush: "enqueue",
	model.SweepReopen: "requeue_move", model.SweepRecord: "save-final", model.WorkerClaim: "claim",
	model.WorkerSaveRunning: "save-running", model.WorkerHandler: "handler", model.WorkerSaveOutcome: "save-outcome",
	model.WorkerSettle: "settle",
}

// pass lets time pass.
func (s *stage) pass(d time.Duration) { time.Sleep(d) }

// awaits waits until something has happened.
func (s *stage) awaits(patience time.Duration, happened func() bool) bool {
	for start := time.Now(); time.Since(start) < patience; time.Sleep(50 * time.Millisecond) {
		if happened() {
			time.Sleep(time.Millisecond)
			return true
		}
	}
	return false
}

// count returns how often a step was taken.
func (s *stage) count(key stepKey) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken[key]
}

// allBeat reports whether each worker has renewed its lease: until then Redis may not know the script.
func (s *stage) allBeat() bool {
	for i := range s.model.Workers {
		if s.count(stepKey{workerSlot(i), "heartbeat", after}) == 0 {
			return false
		}
	}
	return true
}

// takeovers returns how many there were.
func (s *stage) takeovers() (n int) {
	for i := range s.model.Workers {
		n += s.count(stepKey{workerSlot(i), "retire", after})
	}
	return n
}

// revive puts a new process in the place of one that has died: a worker, or a client that goes on for ever.
func (s *stage) revive(slot string) {
	if slot[0] == 'w' {
		s.spawn(slot)
		return
	}
	var i int
	_, _ = fmt.Sscanf(slot, "c%d", &i)
	if s.model.Clients[i-1].Kind == model.Sweeps {
		s.spawn(slot)
		s.tasks.Go(func() { s.act(slot) })
	}
}

// empty makes Redis lose all data, and its time, too, if the world is such.
func (s *stage) empty() {
	s.scribe.Write(history.Event{Op: history.OpDataLost})
	s.direct(func(ctx context.Context, c *inspector) { c.client.Do(ctx, c.client.B().Flushall().Build()) })
	if s.model.ClockBack {
		s.redis.step(-time.Hour)
	}
}

// finish lets everybody go on at will, until all has drained, and stops them.
func (s *stage) finish() {
	s.turns.release()
	for _, p := range s.processes() {
		p.resume()
	}
	s.tasks.Go(func() { s.supervise(s.model.Workers) })
	s.model.Clients = append(s.model.Clients, model.ClientSpec{Kind: model.Sweeps})
	sweep := clientSlot(len(s.model.Clients) - 1)
	s.spawn(sweep)
	s.tasks.Go(func() { s.sweepOn(sweep) })
	s.drain()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.stopAll()
	s.end()
}

// sweepOn sweeps every few seconds.
func (s *stage) sweepOn(slot string) {
	for !s.isOver() {
		if c := s.process(slot).client(); c != nil {
			n, err := c.Sweep(context.Background())
			s.tell(s.process(slot), "sweep: %d %v", n, err)
		}
		time.Sleep(5 * time.Second)
	}
}
