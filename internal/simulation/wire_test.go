package simulation

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker/internal/history"
)

// moment is one of the two sides of a step.
type moment string

const (
	before moment = "before"
	after  moment = "after"
)

var errCut = errors.New("simulation: connection cut")

// redis is the one server of a simulation, whose clock may be off.
type redis struct {
	mini *miniredis.Miniredis

	mu      sync.Mutex
	scripts map[string]string // names by SHA-1, of those that were seen
	off     time.Duration
	moved   bool
	gone    bool // there is nobody to connect to

	away gate // holds all requests of all processes
}

func newRedis() *redis {
	r := &redis{mini: miniredis.NewMiniRedis(), scripts: make(map[string]string)}
	r.mini.ClockTTL(true)
	return r
}

// step moves the server's clock against everybody else's.
func (r *redis) step(off time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off, r.moved = off, true
	r.tickLocked()
}

// tick shows the server the time: its clock stands still once it was set.
func (r *redis) tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.moved {
		r.tickLocked()
	}
}

func (r *redis) tickLocked() { r.mini.SetTime(time.Now().Add(r.off)) }

// leave makes the server unreachable for everybody.
func (r *redis) leave(gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = gone
}

func (r *redis) isGone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone
}

// stepOf names the step of the protocol that a command is: "claim" for the script of that name, else the command. A script
// has its name from its header, which Redis is shown when it doesn't know the script.
func (r *redis) stepOf(words []string) string {
	step := strings.TrimSuffix(strings.ToLower(words[0]), "_ro") // as scripts are called that only read
	if len(words) < 2 || step != "evalsha" && step != "eval" {
		return step
	}
	sha := words[1]
	r.mu.Lock()
	defer r.mu.Unlock()
	if step == "eval" {
		sum := sha1.Sum([]byte(words[1]))
		sha = hex.EncodeToString(sum[:])
		if header := scriptHeader.FindStringSubmatch(words[1]); header != nil {
			r.scripts[sha] = header[1]
		}
	}
	if name := r.scripts[sha]; name != "" {
		return name
	}
	return step
}

// scriptHeader tells a script's header from other comments by the line about includes or keys that follows in it.
var scriptHeader = regexp.MustCompile(`(?m)^-- ([a-z_]+): .*\n(?:-- .*\n)*?-- (?:Includes: |KEYS\[)`)

// wire is all that one process has to reach Redis by: what goes over it can be held, cut, delayed or answered by
// somebody else. A request that was held arrives late, also when who sent it has given up.
type wire struct {
	redis    *redis
	at       func(step string, when moment) // called around each command
	requests gate                           // holds what goes to Redis
	replies  gate                           // holds what comes back
	note     func(history.Event)            // of claims that were lost and verdicts that were executed; nil: nobody's

	mu     sync.Mutex
	links  map[*link]bool
	broken bool // for good
	errors map[string]string
	lost   map[string]int // replies to lose, by step: the connection ends with them
	delay  func() time.Duration
}

func newWire(r *redis, at func(string, moment)) *wire {
	return &wire{redis: r, at: at, links: make(map[*link]bool), errors: make(map[string]string), lost: make(map[string]int)}
}

// connect returns a client on the wire.
func (w *wire) connect() (rueidis.Client, error) { return connect(w.dial) }

type dialer func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)

func connect(dial dialer) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"redis:6379"}, DisableCache: true, ForceSingleClient: true, DialCtxFn: dial,
		ReadBufferEachConn: 16 << 10, WriteBufferEachConn: 16 << 10, RingScaleEachConn: 7,
	})
}

func (w *wire) dial(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken || w.redis.isGone() {
		return nil, errCut
	}
	server, err := w.redis.mini.Dial()
	if err != nil {
		return nil, err
	}
	client, near := net.Pipe()
	l := &link{
		wire: w, client: near, server: server, over: make(chan struct{}), left: make(chan struct{}),
		sent: make(chan request, 4096), expected: make(chan expected, 4096), replied: make(chan []byte, 4096),
	}
	w.links[l] = true
	go l.listen()
	go l.forward()
	go l.drain()
	go l.answer()
	return client, nil
}

// cut ends all connections.
func (w *wire) cut() {
	w.mu.Lock()
	links := w.links
	w.links = make(map[*link]bool)
	w.mu.Unlock()
	for l := range links {
		l.end()
	}
}

// sever ends all connections for good. Nothing that is on its way arrives.
func (w *wire) sever() {
	w.mu.Lock()
	w.broken = true
	w.mu.Unlock()
	w.cut()
	w.requests.open()
	w.replies.open()
}

// refuse makes the wire answer an error to a step, or to every one for "*", without Redis hearing of it. An empty text
// ends that.
func (w *wire) refuse(step, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text == "" {
		delete(w.errors, step)
	} else {
		w.errors[step] = text
	}
}

// lose makes the next reply to a step get lost: the connection ends instead.
func (w *wire) lose(step string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost[step]++
}

// slow delays each command by what d says; nil ends it.
func (w *wire) slow(d func() time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

// refusal returns the error to answer to a step, if any.
func (w *wire) refusal(step string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := w.errors[step]; text != "" {
		return text
	}
	return w.errors["*"]
}

func (w *wire) losing(step string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost[step] == 0 {
		return false
	}
	w.lost[step]--
	return true
}

func (w *wire) lag() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.delay == nil {
		return 0
	}
	return w.delay()
}

// link is one connection. What either end sends is taken at once, as by a socket's buffer: a server in memory that cannot
// get rid of a reply holds its lock over that, and nothing in the bubble goes on.
type link struct {
	wire           *wire
	client, server net.Conn
	sent           chan request
	expected       chan expected
	replied        chan []byte
	once           sync.Once
	over           chan struct{} // nothing is forwarded any more
	left           chan struct{} // the client has gone
}

type request struct {
	step string
	raw  []byte
}

// expected is a reply that the client waits for.
type expected struct {
	request
	answer string // an error text in place of Redis's reply
}

// end cuts the connection. Redis goes on with what it has been sent, and answer hears what it replies.
func (l *link) end() {
	l.once.Do(func() {
		close(l.over)
		l.client.Close()
	})
}

// listen takes in what the client sends.
func (l *link) listen() {
	defer close(l.left)
	defer close(l.sent)
	for r := bufio.NewReader(l.client); ; {
		raw, words, err := readCommand(r, 2)
		if err != nil || len(words) == 0 {
			return
		}
		select {
		case l.sent <- request{l.wire.redis.stepOf(words), raw}:
		case <-l.over:
			return
		}
	}
}

// forward brings the commands to Redis.
func (l *link) forward() {
	defer close(l.expected)
	for r := range l.sent {
		l.wire.at(r.step, before)
		l.wire.requests.pass(l.over)
		l.wire.redis.away.pass(l.over)
		if d := l.wire.lag(); d > 0 {
			time.Sleep(d)
		}
		if l.isOver() {
			return
		}
		text := l.wire.refusal(r.step)
		l.expected <- expected{r, text}
		if text != "" {
			continue
		}
		l.wire.redis.tick()
		if _, err := l.server.Write(r.raw); err != nil {
			return
		}
	}
}

// drain takes in what the server replies.
func (l *link) drain() {
	defer close(l.replied)
	for r := bufio.NewReader(l.server); ; {
		raw, err := readReply(r)
		if err != nil {
			return
		}
		l.replied <- raw
	}
}

// answer brings the replies to the client. A reply that nobody takes is dropped.
func (l *link) answer() {
	for e := range l.expected {
		raw := []byte("-" + e.answer + "\r\n")
		if e.answer == "" {
			var ok bool
			if raw, ok = l.reply(e.step); !ok {
				break
			}
			l.wire.executed(e.request, raw)
			l.wire.at(e.step, after)
		}
		if l.wire.losing(e.step) {
			l.wire.missed(e.request, raw)
			break
		}
		l.wire.replies.pass(l.over)
		if _, err := l.client.Write(raw); err != nil {
			l.wire.missed(e.request, raw)
			continue // what comes behind is executed all the same
		}
	}
	l.end()
	l.wire.mu.Lock()
	delete(l.wire.links, l)
	l.wire.mu.Unlock()
	for e := range l.expected { // until forward has gone
		if e.answer != "" {
			continue
		}
		if raw, ok := l.reply(e.step); ok {
			l.wire.executed(e.request, raw)
			l.wire.missed(e.request, raw)
		}
	}
	l.server.Close()
	for range l.replied { // and drain
	}
}

// reply returns what Redis replies to a step. One that waits for something is forgotten with its client.
func (l *link) reply(step string) ([]byte, bool) {
	left := l.left
	if step != "blpop" {
		left = nil
	}
	select {
	case raw, ok := <-l.replied:
		return raw, ok
	case <-left:
		l.server.Close()
		raw, ok := <-l.replied
		return raw, ok
	}
}

func (l *link) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}
