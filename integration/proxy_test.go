package integration

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy is the network between a worker and Redis. It can be cut.
type proxy struct {
	t      testing.TB
	target string
	listen net.Listener
	done   sync.WaitGroup

	mu   sync.Mutex
	open sync.Cond // signaled when the cut ends
	cut  bool
	over bool
	ends []net.Conn
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{t: t, target: target, listen: listen}
	p.open.L = &p.mu
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.listen.Addr().String() }

func (p *proxy) accept() {
	for {
		near, err := p.listen.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			near.Close()
			continue
		}
		p.mu.Lock()
		p.ends = append(p.ends, near, far)
		p.mu.Unlock()
		p.done.Go(func() { p.forward(near, far) })
		p.done.Go(func() { p.forward(far, near) })
	}
}

// forward carries bytes one way. While the network is cut they are held: nobody is told.
func (p *proxy) forward(from, to net.Conn) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.passable()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				from.Close()
			}
			return
		}
	}
}

func (p *proxy) passable() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.cut && !p.over {
		p.open.Wait()
	}
}

// setCut cuts the network, or mends it: what was held then arrives.
func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	p.open.Broadcast()
}

func (p *proxy) close() {
	p.listen.Close()
	p.mu.Lock()
	p.over = true
	p.open.Broadcast()
	for _, c := range p.ends {
		c.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}
