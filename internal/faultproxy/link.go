package faultproxy

import (
	"net"
	"slices"
	"time"
)

const (
	chunkSize = 64 << 10
	maxChunks = 1024 // on their way at once; a sender of more has to wait
)

// link is one connection of a client and the one to the server that belongs to it.
type link struct {
	near, far net.Conn
	over      chan struct{} // closed by end
	swallowed bool          // bytes were lost; guarded by the proxy's lock
}

func newLink(near, far net.Conn) *link {
	return &link{near: near, far: far, over: make(chan struct{})}
}

// end is called once.
func (l *link) end(withReset bool) {
	close(l.over)
	if withReset {
		reset(l.near)
		reset(l.far)
		return
	}
	closeAll(l.near, l.far)
}

// reset closes a connection so that the other end is told of an error.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0) // the close does it
	_ = conn.Close()
}

func closeAll(conns ...net.Conn) {
	for _, conn := range conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// chunk is what was read at once.
type chunk struct {
	data []byte
	due  time.Time // when it arrives
}

// stream is one way of a link.
type stream struct {
	proxy    *Proxy
	link     *link
	way      Way
	from, to net.Conn
	queue    chan chunk // on the way; closed when from has ended
}

// read takes in what one end sends, until it ends.
func (s *stream) read() {
	defer close(s.queue)
	buffer := make([]byte, chunkSize)
	last := time.Time{}
	for {
		n, err := s.from.Read(buffer)
		if n > 0 && !s.proxy.swallow(s.link) {
			due := time.Now().Add(s.proxy.oneWay())
			if due.Before(last) { // no chunk overtakes another
				due = last
			}
			last = due
			select {
			case s.queue <- chunk{slices.Clone(buffer[:n]), due}:
			case <-s.link.over:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// write forwards it to the other end. The link ends when one of its ways does, after all that was on this way.
func (s *stream) write() {
	defer s.proxy.end(s.link)
	for c := range s.queue {
		if !s.arrive(c) {
			return
		}
	}
	s.proxy.passable(s.link, s.way) // the end of what is held is held, too
}

// arrive reports whether the link goes on.
func (s *stream) arrive(c chunk) bool {
	if !s.wait(time.Until(c.due)) || !s.proxy.passable(s.link, s.way) {
		return false
	}
	data, cut := c.data, false
	if s.way == ToClient {
		var n int
		n, cut = s.proxy.cutShort(len(data))
		data = data[:n]
	}
	_, err := s.to.Write(data)
	return err == nil && !cut
}

func (s *stream) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.link.over:
		return false
	}
}
