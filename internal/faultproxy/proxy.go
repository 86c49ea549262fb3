package faultproxy

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Way is the way that bytes go, or both ways.
type Way uint8

// The ways.
const (
	ToServer Way = 1 << iota
	ToClient
	BothWays = ToServer | ToClient
)

// Counts are what a Proxy has done so far.
type Counts struct {
	Connections int // forwarded
	Refused     int // as the server could not be reached
	Resets      int // connections
	CutReplies  int
	Swallowed   int // connections that lost bytes in a black hole
}

// Proxy forwards TCP connections to a server. Its methods may be called at any time, from any goroutine.
type Proxy struct {
	target string
	listen net.Listener
	done   sync.WaitGroup

	mu            sync.Mutex
	changed       *sync.Cond // held, links or closed did
	links         map[*link]struct{}
	held          Way
	swallows      bool
	cuts          int // replies that are still to be cut
	delay, jitter time.Duration
	counts        Counts
	closed        bool
}

// New starts a proxy to the server at target, a TCP address, which need not listen yet. It is closed with the test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start a fault proxy: %v", err)
	}
	p := &Proxy{target: target, listen: listen, links: make(map[*link]struct{})}
	p.changed = sync.NewCond(&p.mu)
	p.done.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Addr returns the address that clients connect to.
func (p *Proxy) Addr() string { return p.listen.Addr().String() }

// Hold cuts the network: bytes on the given ways are held, connections stay open, nobody is told. A way that was held
// and is not given is open again: what was held on it arrives now, in order. Zero holds nothing.
func (p *Proxy) Hold(way Way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = way
	p.changed.Broadcast()
}

// BlackHole makes the proxy accept connections and swallow all bytes, until it is called with false. A connection that
// has lost bytes stays a black hole for ever, as its two ends no longer agree on what was said; it closes when one of
// them closes it.
func (p *Proxy) BlackHole(swallows bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallows = swallows
}

// CutReplies cuts the next n replies: a part of what the server sends is forwarded, perhaps nothing, never all, then the
// connection is closed.
func (p *Proxy) CutReplies(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts += n
}

// Delay makes every way to the server and back together take longer, by mean ± jitter. Zero values make it as fast as it
// can be.
func (p *Proxy) Delay(mean, jitter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.jitter = mean, jitter
}

// Reset resets all connections, at both ends, and returns how many there were.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.links)
	for l := range p.links {
		p.endLocked(l, true)
	}
	p.counts.Resets += n
	return n
}

// Counts returns what the proxy has done so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Close ends the proxy and all its connections, and returns when nothing of it is left.
func (p *Proxy) Close() {
	_ = p.listen.Close()
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		p.endLocked(l, false)
	}
	p.mu.Unlock()
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		near, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.connect(near) })
	}
}

// connect makes a link of a client's connection.
func (p *Proxy) connect(near net.Conn) {
	far, err := net.Dial("tcp", p.target)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		closeAll(near, far)
	case err != nil:
		p.counts.Refused++
		reset(near)
	default:
		l := newLink(near, far)
		p.links[l] = struct{}{}
		p.counts.Connections++
		for _, s := range []*stream{{way: ToServer, from: near, to: far}, {way: ToClient, from: far, to: near}} {
			s.proxy, s.link, s.queue = p, l, make(chan chunk, maxChunks)
			p.done.Go(s.read)
			p.done.Go(s.write)
		}
	}
}

// endLocked closes a link, once.
func (p *Proxy) endLocked(l *link, withReset bool) {
	if _, open := p.links[l]; !open {
		return
	}
	delete(p.links, l)
	l.end(withReset)
	p.changed.Broadcast()
}

func (p *Proxy) end(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked(l, false)
}

// oneWay is how much longer one way takes this time.
func (p *Proxy) oneWay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.delay
	if p.jitter > 0 {
		d += rand.N(2*p.jitter+1) - p.jitter
	}
	return max(d, 0) / 2
}

// swallow reports whether bytes of a link are lost.
func (p *Proxy) swallow(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.swallows && !l.swallowed {
		l.swallowed = true
		p.counts.Swallowed++
	}
	return l.swallowed
}

// passable waits while a way is held. It reports whether the link is still there.
func (p *Proxy) passable(l *link, way Way) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held&way != 0 && p.openLocked(l) {
		p.changed.Wait()
	}
	return p.openLocked(l)
}

func (p *Proxy) openLocked(l *link) bool {
	_, open := p.links[l]
	return open
}

// cutShort returns what of n bytes of a reply is forwarded, and whether it is to be cut.
func (p *Proxy) cutShort(n int) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cuts == 0 {
		return n, false
	}
	p.cuts--
	p.counts.CutReplies++
	return rand.IntN(n), true
}
