package workertest

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// Recorder is a worker.Notifier and worker.Subscriber in memory, for tests and demonstrations. It remembers all that it
// was told. The zero value is ready to use; Fault may be set before the first call.
type Recorder struct {
	// Fault, when set, is called at the start of Notify. An error is returned instead of recording anything.
	Fault func(ctx context.Context, statuses []worker.Status) error

	mu     sync.Mutex
	told   []worker.Status
	topics map[string]*topicLog
}

// topicLog is what was published on one topic. The position of an event is its index in events, counted from 1.
type topicLog struct {
	events  []worker.Event
	newest  map[string]int64 // version by job id
	changed chan struct{}    // closed and replaced when events grew
}

var (
	_ worker.Notifier   = (*Recorder)(nil)
	_ worker.Subscriber = (*Recorder)(nil)
	_ worker.Resetter   = (*Recorder)(nil)
)

// NewNotifier returns a recorder that was told nothing yet.
func NewNotifier() *Recorder { return &Recorder{} }

// Notify implements worker.Notifier. Subscribers don't get a status that is older than the last one of the same job, or
// the same again.
func (r *Recorder) Notify(ctx context.Context, statuses ...worker.Status) error {
	if r.Fault != nil {
		if err := r.Fault(ctx, statuses); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range statuses {
		s := copyStatus(&statuses[i])
		r.told = append(r.told, s)
		log := r.topicLocked(s.Topic)
		if last, ok := log.newest[s.JobID]; ok && s.Version <= last {
			continue
		}
		log.newest[s.JobID] = s.Version
		log.append(worker.Event{Status: &s})
	}
	return nil
}

// Reset implements worker.Resetter.
func (r *Recorder) Reset(ctx context.Context, topics ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, topic := range topics {
		r.topicLocked(topic).append(worker.Event{Reset: true})
	}
	return nil
}

// Publish puts plain bytes on a topic, as another program might.
func (r *Recorder) Publish(topic string, plain []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.topicLocked(topic).append(worker.Event{Plain: slices.Clone(plain)})
}

func (l *topicLog) append(e worker.Event) {
	e.Position = position(len(l.events) + 1)
	l.events = append(l.events, e)
	close(l.changed)
	l.changed = make(chan struct{})
}

// Subscribe implements worker.Subscriber. An empty position is before the first event; one that the topic does not have
// is answered by a Reset, after which only new events follow.
func (r *Recorder) Subscribe(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	next, reset := 0, false
	if after != "" {
		end, _ := r.since(topic, 0)
		n, err := strconv.Atoi(after)
		if reset = err != nil || n < 1 || n > len(end); reset {
			n = len(end)
		}
		next = n
	}
	events := make(chan worker.Event)
	go func() {
		defer close(events)
		if reset && !send(ctx, events, worker.Event{Reset: true}) {
			return
		}
		r.stream(ctx, topic, next, events)
	}()
	return events, nil
}

// stream sends the topic's events from index next on until ctx ends, with CaughtUp after the first batch.
func (r *Recorder) stream(ctx context.Context, topic string, next int, events chan<- worker.Event) {
	for caughtUp := false; ; caughtUp = true {
		batch, changed := r.since(topic, next)
		next += len(batch)
		if !caughtUp {
			batch = append(batch, worker.Event{CaughtUp: true, Position: position(next)})
		}
		for _, e := range batch {
			if !send(ctx, events, e) {
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// position is where a reader is that has read n events.
func position(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func send(ctx context.Context, events chan<- worker.Event, e worker.Event) bool {
	select {
	case events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// since returns the topic's events from an index on, and what is closed when there are more.
func (r *Recorder) since(topic string, index int) ([]worker.Event, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.topicLocked(topic)
	return slices.Clip(log.events[index:]), log.changed
}

// Statuses returns all statuses that the recorder was told, in that order.
func (r *Recorder) Statuses() []worker.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

// Of returns the statuses of one job that the recorder was told, in that order.
func (r *Recorder) Of(id string) []worker.Status {
	return slices.DeleteFunc(r.Statuses(), func(s worker.Status) bool { return s.JobID != id })
}

func (r *Recorder) topicLocked(topic string) *topicLog {
	log := r.topics[topic]
	if log == nil {
		if r.topics == nil {
			r.topics = make(map[string]*topicLog)
		}
		log = &topicLog{newest: make(map[string]int64), changed: make(chan struct{})}
		r.topics[topic] = log
	}
	return log
}
