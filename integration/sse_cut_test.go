package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gosse "github.com/tmaxmax/go-sse"

	"github.com/real-staging-ai/go-worker/sse"
)

const streamsPoll = 20 * time.Millisecond

// cutter is a transport whose connections can all be cut.
type cutter struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	cuts  int
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conns[conn] = true
	}
	return conn, err
}

// open returns how many connections there are.
func (c *cutter) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// cut cuts all connections, without a farewell.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		c.cuts++
	}
	clear(c.conns)
}

// 200 viewers whose connections are cut every second miss no state: each sees every status of its topic's jobs, in
// order, coming back by Last-Event-ID. The logs hold all, so that it doesn't matter how long a viewer is away.
func TestSSECutConnections(t *testing.T) {
	const viewers, topics, rounds, each = 200, 10, 6, 40
	overNews(t, rounds*each, func(t *testing.T, n news) {
		server, h := stand(t, n.subscriber, sse.Config{})
		lines := &cutter{conns: make(map[net.Conn]bool)}
		transport := &http.Transport{DialContext: lines.dial, MaxIdleConnsPerHost: viewers}
		defer transport.CloseIdleConnections()
		ctx := patient(t)
		var watching sync.WaitGroup
		for i := range viewers {
			topic := fmt.Sprint("user:", i%topics)
			b := &browser{client: &http.Client{Transport: transport}, url: server.URL + "?topic=" + topic}
			watching.Go(func() { watchAll(ctx, t, b, rounds*each) })
		}
		beat := time.NewTicker(time.Second / each)
		defer beat.Stop()
		for i := range int64(rounds * each) {
			<-beat.C
			for topic := range topics {
				st := moment(fmt.Sprint("user:", topic), fmt.Sprint("job", topic), i)
				if i == rounds*each-1 {
					st = ended(st.Topic, st.JobID)
				}
				require.NoError(t, n.notifier.Notify(ctx, st))
			}
			if i%each == each/2 {
				until(t, "all viewers to be back", func() bool { return lines.open() >= viewers })
				lines.cut()
			}
		}
		watching.Wait()
		assert.GreaterOrEqual(t, lines.cuts, rounds*viewers, "all were cut every time")
		t.Log("connections cut:", lines.cuts)
		require.Eventually(t, func() bool { return h.Streams() == 0 }, patience, streamsPoll)
	})
}

// watchAll fails the test unless b sees count statuses, the last of them final, each following the one before.
func watchAll(ctx context.Context, t *testing.T, b *browser, count int) {
	next := int64(0)
	assert.NoError(t, b.watch(ctx, func(e gosse.Event) bool {
		st := statusOf(t, e)
		if st.State.Final() {
			assert.Equal(t, int64(count-1), next, "a status was missed")
			return false
		}
		assert.Equal(t, next, st.Version&4095, "a status was missed or came twice")
		next = st.Version&4095 + 1
		return true
	}))
}
