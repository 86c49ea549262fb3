package sse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// stream is one viewer's. All of it belongs to the goroutine that serves the request, but for the inbox, which one
// goroutine per topic fills.
type stream struct {
	handler *Handler
	config  *Config
	request *http.Request
	out     *response
	ctx     context.Context
	cancel  context.CancelFunc
	readers sync.WaitGroup

	topics   []string
	places   []place // by topic
	finished bool    // the viewer's id says that it has seen the end
	jobs     *jobs
	inbox    *inbox
	told     string // the id that was written last
	ends     time.Time

	soon   bool      // rows are kept back, to be looked at again soon
	looked time.Time // when topics whose jobs are all final were looked at last

	reading *reading // of a snapshot, under way; nil if there is none
	readFor int      // the topic of reading
}

// place is where a stream is in one of its topics.
type place struct {
	events <-chan worker.Event
	// position is what the viewer has been sent all up to.
	position string
	// owed says that the viewer needs a snapshot before position is true.
	owed bool
	// check says that a snapshot is to be read.
	check bool
	// awaited has the rows, by job, that are kept back of the snapshot that was read last.
	awaited map[string]awaited
}

func newStream(h *Handler, out *response, r *http.Request, topics []string) *stream {
	now := time.Now()
	s := &stream{
		handler: h, config: &h.config, request: r, out: out,
		topics: topics, places: make([]place, len(topics)),
		jobs: newJobs(len(topics)), inbox: newInbox(h.config.Backlog),
		ends: now.Add(vary(h.config.MaxAge, 0.8, 1)), looked: now,
	}
	s.ctx, s.cancel = context.WithCancel(r.Context())
	if h.snapshots != nil {
		h.snapshots.join(topics)
	}
	return s
}

// vary returns a random duration between two fractions of d.
func vary(d time.Duration, from, to float64) time.Duration {
	return time.Duration(float64(d) * (from + (to-from)*rand.Float64()))
}

// close releases all that the stream holds, and returns when its goroutines have ended.
func (s *stream) close() {
	s.cancel()
	if s.handler.snapshots != nil {
		s.handler.snapshots.leave(s.topics)
	}
	s.readers.Wait()
}

// subscribe opens the subscriptions, each where the viewer's last id says.
func (s *stream) subscribe() error {
	s.told = lastEventID(s.request)
	positions, finished := parseID(s.told, s.topics)
	s.finished = finished
	for i := range s.places {
		s.places[i].position = positions[i]
		err := s.subscribeTo(i, positions[i])
		if err != nil && positions[i] != "" && s.ctx.Err() == nil {
			err = s.subscribeTo(i, "") // the position may be what is wrong
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// subscribeTo opens the subscription to a topic. One that it replaces, which happens once at most, ends with the stream.
func (s *stream) subscribeTo(i int, after string) error {
	events, err := s.handler.subscriber.Subscribe(s.ctx, s.topics[i], after)
	if err == nil && events == nil {
		err = errSubscriber
	}
	if err != nil {
		return fmt.Errorf("subscribe to %q: %w", s.topics[i], err)
	}
	s.places[i].events, s.places[i].position = events, after
	return nil
}

// errEnded is how the parts of a stream tell run that it has come to its end.
var errEnded = errors.New("the stream has ended")

// run serves the stream. A refusal says that nothing was written.
func (s *stream) run() error {
	err := s.serve()
	if errors.Is(err, errEnded) || s.ctx.Err() != nil {
		err = nil
	}
	s.out.end()
	return err
}

func (s *stream) serve() error {
	if s.config.EndAfterFinal {
		return s.serveUntilFinal()
	}
	if err := s.begin(); err != nil {
		return err
	}
	missed, err := s.catchUp()
	if err != nil {
		return err
	}
	if err := s.deliver(missed); err != nil {
		return err
	}
	return s.follow()
}

// serveUntilFinal looks first, as there may be nothing to stream.
func (s *stream) serveUntilFinal() error {
	missed, err := s.catchUp()
	if err == nil {
		missed, err = s.addRows(missed)
	}
	switch {
	case errors.Is(err, errEnded):
		if s.ctx.Err() == nil {
			_ = s.begin() // a browser comes back after a stream that was opened
		}
		return err
	case err != nil:
		return &refusal{code: http.StatusServiceUnavailable, err: err}
	case s.finished && s.nothingNew(missed):
		s.out.w.Header().Set("Cache-Control", "no-store")
		s.out.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.deliver(missed); err != nil {
		return err
	}
	return s.follow()
}

// begin opens the response.
func (s *stream) begin() error {
	s.out.begin()
	return encoded(func(b []byte) []byte {
		b = appendRetry(b, vary(s.config.Retry, 0.5, 1.5))
		if s.config.Connected != nil {
			b = appendMessage(b, "", s.config.Connected(slices.Clone(s.topics)))
		}
		return b
	}, func(b []byte) error { return s.out.write(b, false) })
}

// follow streams what is new.
func (s *stream) follow() error {
	beat := time.NewTimer(s.untilBeat())
	defer beat.Stop()
	for {
		if err := s.endIfFinal(); err != nil {
			return err
		}
		s.read()
		var err error
		select {
		case <-s.ctx.Done():
			return errEnded
		case <-s.handler.closing:
			return errEnded
		case <-s.inbox.wake:
			items, ended := s.inbox.take()
			if err = s.deliver(items); err == nil {
				err = ended
			}
		case <-s.readingDone():
			err = s.deliverSnapshot()
			if s.owes() || s.soon {
				beat.Reset(s.untilBeat())
			}
		case <-beat.C:
			err = s.beat()
			beat.Reset(s.untilBeat())
		}
		if err != nil {
			return err
		}
	}
}

// owedRetry is how soon a snapshot that the viewer needs is asked for again.
const owedRetry = 2 * time.Second

// untilBeat is the time until the next heartbeat, or the stream's end. Each stream's rhythm varies, so that the viewers
// of a process don't all beat at once. A snapshot that is waited for makes it shorter.
func (s *stream) untilBeat() time.Duration {
	beat := vary(s.config.Heartbeat, 0.8, 1)
	if s.owes() {
		beat = min(beat, vary(owedRetry, 0.5, 1))
	}
	if s.soon {
		beat = min(beat, announceLag)
	}
	return min(beat, max(time.Until(s.ends), 0))
}

// beat sends a heartbeat, and looks whether jobs have gone on unheard.
func (s *stream) beat() error {
	if !time.Now().Before(s.ends) {
		return errEnded
	}
	if s.handler.snapshots != nil {
		s.look()
	}
	if !s.config.HeartbeatMessage.isZero() {
		return s.send(s.config.HeartbeatMessage, s.id(true), false)
	}
	return s.out.write([]byte(":\n\n"), false)
}

// quietBeats is how many heartbeats' time passes before topics whose jobs are all final are looked at again: one that
// was requeued, or is new there, may have begun unheard. As each heartbeat comes a little early, the fourth does it.
const quietBeats = 3

// look notes which snapshots are to be read at a heartbeat.
func (s *stream) look() {
	all := time.Since(s.looked) >= quietBeats*s.config.Heartbeat
	if all {
		s.looked = time.Now()
	}
	for i := range s.places {
		p := &s.places[i]
		p.check = p.check || all || p.owed || !s.jobs.topics[i].finished() || len(p.awaited) > 0
	}
}

// read asks for a snapshot that is wanted, one at a time.
func (s *stream) read() {
	if s.reading != nil {
		return
	}
	for i := range s.places {
		p := &s.places[i]
		if !p.check {
			continue
		}
		maxAge := s.config.Heartbeat / 2 // less than a heartbeat: what viewers saw before they came back is older
		switch {
		case p.owed:
			maxAge = 0
		case s.soon:
			maxAge = min(maxAge, announceLag/2)
		}
		p.check, s.soon = false, false
		s.reading, s.readFor = s.handler.snapshots.ask(s.ctx, s.topics[i], maxAge), i
		return
	}
}

func (s *stream) readingDone() <-chan struct{} {
	if s.reading == nil {
		return nil
	}
	return s.reading.done
}

// deliverSnapshot sends what is new in the snapshot that was read.
func (s *stream) deliverSnapshot() error {
	r, i := s.reading, s.readFor
	s.reading = nil
	if r.err == nil { // a failure is logged there, and it is asked for again
		if err := s.deliver(snapshotItems(i, s.settled(i, r.rows))); err != nil {
			return err
		}
		p := &s.places[i]
		p.owed = p.owed && p.check // with check it was owed anew while this one was read
	}
	return s.tell(s.id(true))
}

// owes reports whether the viewer waits for a snapshot that is neither read nor about to be.
func (s *stream) owes() bool {
	for i := range s.places {
		if s.places[i].owed && !s.places[i].check {
			return true
		}
	}
	return false
}
