package simulation

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

var (
	errStore    = errors.New("simulation: the store is down")
	errNotifier = errors.New("simulation: the notifier is down")
)

// storeFault is how the status store, or the notifier, fails everybody.
type storeFault string

const (
	works    storeFault = ""
	refuses  storeFault = "refuses"  // nothing is done
	forgets  storeFault = "forgets"  // all is done and an error answered
	dawdles  storeFault = "dawdles"  // the caller gives up; it is done later all the same
	flickers storeFault = "flickers" // all three in turn, with calls that work
)

// trouble is the state of the store and the notifier, which all processes share.
type trouble struct {
	mu    sync.Mutex
	fault storeFault
	turn  int
	mute  bool // the notifier fails
}

func (t *trouble) set(f storeFault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
}

func (t *trouble) next() storeFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault != flickers {
		return t.fault
	}
	t.turn++
	return []storeFault{works, refuses, forgets, dawdles}[t.turn%4]
}

func (t *trouble) setMute(mute bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mute = mute
}

func (t *trouble) isMute() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mute
}

// store is one process's way to the status store.
type store struct {
	process *process
	rows    *workertest.MemoryStatusStore
}

var (
	_ worker.StatusStore = (*store)(nil)
	_ worker.Getter      = (*store)(nil)
	_ worker.Unfinished  = (*store)(nil)
	_ worker.SweepLock   = (*store)(nil)
)

// Save implements worker.StatusStore. It is the steps save-queued, save-running and save-outcome, after what is saved.
func (s *store) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	step := s.process.saveStep(statuses)
	cue := s.process.world.turns.wait(ctx, s.process, step, jobsOf(statuses))
	if cue.err != nil {
		return nil, cue.err
	}
	s.process.at(step, before)
	if !s.process.pass() {
		return nil, errDead
	}
	fault := s.process.world.trouble.next()
	switch fault {
	case refuses:
		return nil, errStore
	case dawdles:
		time.AfterFunc(20*time.Second, func() { _, _ = s.save(context.Background(), statuses) })
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	saved, err := s.save(ctx, statuses)
	s.process.at(step, after)
	switch {
	case !s.process.pass():
		return nil, errDead
	case err == nil && fault == forgets:
		return nil, errStore
	case err == nil && cue.lost != nil:
		return nil, cue.lost
	}
	return saved, err
}

// save is what the server of the store does.
func (s *store) save(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
	saved, err := s.rows.Save(ctx, statuses...)
	if err == nil {
		s.process.world.saved(s.process, statuses, saved)
	}
	return saved, err
}

func jobsOf(statuses []worker.Status) string {
	ids := make([]string, len(statuses))
	for i := range statuses {
		ids[i] = statuses[i].JobID
	}
	return strings.Join(ids, ",")
}

// saveStep names what a batch is about: outcomes, which only workers have, rank first, as they are what must not be lost.
func (p *process) saveStep(statuses []worker.Status) string {
	step := "save-queued"
	for i := range statuses {
		switch {
		case statuses[i].State != worker.StateRunning && statuses[i].Attempt > 0 && p.slot[0] == 'w':
			return "save-outcome"
		case statuses[i].State == worker.StateRunning:
			step = "save-running"
		case statuses[i].State.Final():
			step = "save-final"
		}
	}
	return step
}

func (s *store) down() error {
	switch {
	case !s.process.pass():
		return errDead
	case s.process.world.trouble.next() != works:
		return errStore
	}
	return nil
}

// Get implements worker.Getter.
func (s *store) Get(ctx context.Context, id string) (*worker.Status, error) {
	if o := s.process.world.turns.wait(ctx, s.process, "get", ""); o.err != nil {
		return nil, o.err
	}
	if err := s.down(); err != nil {
		return nil, err
	}
	return s.rows.Get(ctx, id)
}

// Unfinished implements worker.Unfinished.
func (s *store) Unfinished(
	ctx context.Context, idle time.Duration, cursor string, limit int,
) ([]worker.Status, string, error) {
	if w := s.process.world; w.turns != nil {
		if o := w.turns.wait(ctx, s.process, "sweep-list", ""); o.err != nil {
			return nil, "", o.err
		}
		idle = 0 // nothing may be so slow
	}
	s.process.at("sweep-list", before)
	if err := s.down(); err != nil {
		return nil, "", err
	}
	rows, next, err := s.rows.Unfinished(ctx, idle, cursor, limit)
	s.process.at("sweep-list", after)
	if !s.process.pass() {
		return nil, "", errDead
	}
	return rows, next, err
}

// LockSweep implements worker.SweepLock.
func (s *store) LockSweep(ctx context.Context, owner string, lease, rest time.Duration) (bool, error) {
	if err := s.down(); err != nil {
		return false, err
	}
	return s.rows.LockSweep(ctx, owner, lease, rest)
}

// UnlockSweep implements worker.SweepLock.
func (s *store) UnlockSweep(ctx context.Context, owner string) error {
	if err := s.down(); err != nil {
		return err
	}
	return s.rows.UnlockSweep(ctx, owner)
}

// notifier is one process's way to the notifier.
type notifier struct{ process *process }

var (
	_ worker.Notifier = (*notifier)(nil)
	_ worker.Resetter = (*notifier)(nil)
)

func (n *notifier) down() error {
	switch {
	case !n.process.pass():
		return errDead
	case n.process.world.trouble.isMute():
		return errNotifier
	}
	return nil
}

// Notify implements worker.Notifier.
func (n *notifier) Notify(ctx context.Context, statuses ...worker.Status) error {
	n.process.at("notify", before)
	if err := n.down(); err != nil {
		return err
	}
	err := n.process.world.notes.Notify(ctx, statuses...)
	n.process.at("notify", after)
	if !n.process.pass() {
		return errDead
	}
	return err
}

// Reset implements worker.Resetter.
func (n *notifier) Reset(ctx context.Context, topics ...string) error {
	if err := n.down(); err != nil {
		return err
	}
	return n.process.world.notes.Reset(ctx, topics...)
}
