package faultproxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/faultproxy"
)

const (
	patience = 30 * time.Second
	moment   = 50 * time.Millisecond // in which what must not happen does not
)

// echo is a server that answers every line with the same line.
type echo struct {
	listen net.Listener
	lines  atomic.Int64
	ends   chan error // why each connection ended, nil for an orderly end
	done   sync.WaitGroup
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := &echo{listen: listen, ends: make(chan error, 100)}
	e.done.Go(func() {
		for {
			conn, err := listen.Accept()
			if err != nil {
				return
			}
			e.done.Go(func() { e.ends <- e.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listen.Close()
		e.done.Wait()
	})
	return e
}

func (e *echo) serve(conn net.Conn) error {
	defer conn.Close()
	for in := bufio.NewReader(conn); ; {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e.lines.Add(1)
		if _, err := io.WriteString(conn, line); err != nil {
			return err
		}
	}
}

func (e *echo) addr() string { return e.listen.Addr().String() }

// client is one connection.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, Conn: conn, in: bufio.NewReader(conn)}
}

func (c *client) say(line string) {
	c.t.Helper()
	_, err := io.WriteString(c, line+"\n")
	require.NoError(c.t, err)
}

func (c *client) hears(line string) {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(patience)))
	got, err := c.in.ReadString('\n')
	require.NoError(c.t, err)
	require.Equal(c.t, line+"\n", got)
}

func (c *client) hearsNothing() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(moment)))
	_, err := c.in.Peek(1)
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded)
}

// end reads what is left and returns why the connection ended.
func (c *client) end() (rest string, err error) {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(patience)))
	data, err := io.ReadAll(c.in)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "the connection did not end")
	return string(data), err
}

func next(t *testing.T, ends <-chan error) error {
	t.Helper()
	select {
	case err := <-ends:
		return err
	case <-time.After(patience):
		t.Fatal("no connection ended at the server")
		return nil
	}
}

func TestProxyForwardsBothWaysAndTheEnd(t *testing.T) {
	server := startEcho(t)
	proxy := faultproxy.New(t, server.addr())
	a, b := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	for _, line := range []string{"one", strings.Repeat("long", 100_000), "three"} {
		go a.say(line)
		a.hears(line)
	}
	b.say("hello")
	b.hears("hello")
	a.Close()
	require.NoError(t, next(t, server.ends))
	require.Equal(t, faultproxy.Counts{Connections: 2}, proxy.Counts())
}

func TestHeldBytesArriveInOrderWhenTheNetworkIsMended(t *testing.T) {
	for _, c := range []struct {
		name    string
		way     faultproxy.Way
		reaches int64 // lines that the server gets meanwhile
	}{{"to the server", faultproxy.ToServer, 0}, {"to the client", faultproxy.ToClient, 2}, {"both", faultproxy.BothWays, 0}} {
		t.Run(c.name, func(t *testing.T) {
			server := startEcho(t)
			proxy := faultproxy.New(t, server.addr())
			a := dial(t, proxy.Addr())
			a.say("before")
			a.hears("before")
			proxy.Hold(c.way)
			late := dial(t, proxy.Addr()) // held as well
			a.say("one")
			late.say("two")
			a.hearsNothing()
			late.hearsNothing()
			if c.reaches > 0 {
				require.Eventually(t, func() bool { return server.lines.Load() == 1+c.reaches }, patience, time.Millisecond)
			}
			require.Equal(t, 1+c.reaches, server.lines.Load())
			a.say("three")
			proxy.Hold(0)
			a.hears("one")
			a.hears("three")
			late.hears("two")
		})
	}
}

func TestAHeldEndArrivesLater(t *testing.T) {
	server := startEcho(t)
	proxy := faultproxy.New(t, server.addr())
	a := dial(t, proxy.Addr())
	a.say("one")
	a.hears("one")
	proxy.Hold(faultproxy.BothWays)
	a.Close()
	select {
	case err := <-server.ends:
		t.Fatalf("the server was told of the end: %v", err)
	case <-time.After(moment):
	}
	proxy.Hold(0)
	require.NoError(t, next(t, server.ends))
}

func TestResetReachesBothEndsOfAllConnections(t *testing.T) {
	server := startEcho(t)
	proxy := faultproxy.New(t, server.addr())
	clients := []*client{dial(t, proxy.Addr()), dial(t, proxy.Addr())}
	for _, c := range clients {
		c.say("hello")
		c.hears("hello")
	}
	require.Equal(t, 2, proxy.Reset())
	for _, c := range clients {
		_, err := c.end()
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.ErrorIs(t, next(t, server.ends), syscall.ECONNRESET)
	}
	c := dial(t, proxy.Addr())
	c.say("again")
	c.hears("again")
	require.Equal(t, 1, proxy.Reset())
	require.Equal(t, faultproxy.Counts{Connections: 3, Resets: 3}, proxy.Counts())
}

func TestACutReplyIsNeverWhole(t *testing.T) {
	server := startEcho(t)
	proxy := faultproxy.New(t, server.addr())
	const line, cuts = "a reply that is long enough", 20
	proxy.CutReplies(cuts)
	partly := 0
	for range cuts {
		c := dial(t, proxy.Addr())
		c.say(line)
		rest, _ := c.end()
		require.Less(t, len(rest), len(line)+1)
		require.True(t, strings.HasPrefix(line, rest))
		if rest != "" {
			partly++
		}
	}
	assert.Positive(t, partly, "nothing of any reply was forwarded")
	require.EqualValues(t, cuts, server.lines.Load(), "requests were cut")
	c := dial(t, proxy.Addr())
	c.say(line)
	c.hears(line)
	require.Equal(t, faultproxy.Counts{Connections: cuts + 1, CutReplies: cuts}, proxy.Counts())
}

func TestABlackHoleSwallowsAndTellsNobody(t *testing.T) {
	server := startEcho(t)
	proxy := faultproxy.New(t, server.addr())
	old := dial(t, proxy.Addr())
	old.say("before")
	old.hears("before")
	idle := dial(t, proxy.Addr())
	proxy.BlackHole(true)
	late := dial(t, proxy.Addr())
	old.say("swallowed")
	late.say("swallowed")
	old.hearsNothing()
	late.hearsNothing()
	require.EqualValues(t, 1, server.lines.Load())

	proxy.BlackHole(false)
	old.say("still swallowed")
	idle.say("nothing was lost here")
	idle.hears("nothing was lost here")
	old.hearsNothing()
	c := dial(t, proxy.Addr())
	c.say("after")
	c.hears("after")
	require.Equal(t, faultproxy.Counts{Connections: 4, Swallowed: 2}, proxy.Counts())
}

func TestDelayIsThereAndKeepsTheOrder(t *testing.T) {
	server := startEcho(t)
	proxy := faultproxy.New(t, server.addr())
	const mean, jitter, lines = 30 * time.Millisecond, 20 * time.Millisecond, 50
	proxy.Delay(mean, jitter)
	c := dial(t, proxy.Addr())
	for range 5 {
		began := time.Now()
		c.say("round")
		c.hears("round")
		require.GreaterOrEqual(t, time.Since(began), mean-jitter)
	}
	text := func(i int) string { return strings.Repeat("x", i) }
	for i := range lines {
		c.say(text(i)) // nearly each a chunk of its own
		time.Sleep(time.Millisecond)
	}
	for i := range lines {
		c.hears(text(i))
	}
}

func TestAServerThatIsNotThereIsAnError(t *testing.T) {
	server := startEcho(t)
	server.listen.Close()
	proxy := faultproxy.New(t, server.addr())
	conn, err := net.Dial("tcp", proxy.Addr())
	if err == nil { // the reset was slower
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Equal(t, faultproxy.Counts{Refused: 1}, proxy.Counts())
}

// Close ends what is held, delayed and swallowed, too; goleak sees whether anything is left.
func TestCloseEndsEverything(t *testing.T) {
	server := startEcho(t)
	proxy := faultproxy.New(t, server.addr())
	delayed := dial(t, proxy.Addr())
	proxy.Delay(time.Hour, 0)
	delayed.say("never")
	held := dial(t, proxy.Addr())
	proxy.Delay(0, 0)
	proxy.Hold(faultproxy.BothWays)
	held.say("never")
	swallowed := dial(t, proxy.Addr())
	proxy.BlackHole(true)
	swallowed.say("never")
	require.Eventually(t, func() bool { return proxy.Counts().Swallowed > 0 }, patience, time.Millisecond)
	proxy.Close()
	for _, c := range []*client{delayed, held, swallowed} {
		_, _ = c.end()
	}
	proxy.Close()
}
