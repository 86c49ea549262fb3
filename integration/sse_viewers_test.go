package integration

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// BenchmarkSSEViewers has 4,000 viewers (SSE_VIEWERS says otherwise) of one topic, or of a topic each, in one process
// with their readers. It reports how long an event takes to reach all of them, from Notify to the last reader's
// having parsed it, and what a viewer costs, both ends of its connection together.
func BenchmarkSSEViewers(b *testing.B) {
	viewers := 4000
	if n, err := strconv.Atoi(os.Getenv("SSE_VIEWERS")); err == nil {
		viewers = n
	}
	b.Run("one topic", func(b *testing.B) { benchViewers(b, viewers, 1) })
	b.Run("topic each", func(b *testing.B) { benchViewers(b, viewers, viewers) })
}

func benchViewers(b *testing.B, viewers, topics int) {
	recorder := workertest.NewNotifier()
	server, _ := stand(b, recorder, sse.Config{Heartbeat: time.Hour})
	before := memory()
	a := &audience{arrived: make(chan struct{}, viewers)}
	defer a.leave()
	for i := range viewers {
		a.join(b, server, fmt.Sprint("topic", i%topics))
	}
	tell := func(n int64) {
		for topic := range topics {
			name := fmt.Sprint("topic", topic)
			require.NoError(b, recorder.Notify(context.Background(), moment(name, name, n)))
		}
		for range viewers {
			<-a.arrived
		}
	}
	tell(0) // all are there
	after := memory()
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		tell(int64(len(took) + 1))
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
	b.ReportMetric(float64(after-before)/float64(viewers)/1024, "KiB/viewer")
	b.ReportMetric(0, "ns/op")
}

// memory is what the process holds: heap and stacks in use.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// audience is viewers with plain connections, which cost no more than they must.
type audience struct {
	conns   []net.Conn
	reading sync.WaitGroup
	arrived chan struct{}
}

func (a *audience) join(t testing.TB, server *httptest.Server, topic string) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)
	a.conns = append(a.conns, conn)
	_, err = fmt.Fprintf(conn, "GET /?topic=%s HTTP/1.1\r\nHost: site\r\n\r\n", topic)
	require.NoError(t, err)
	a.reading.Go(func() {
		lines := bufio.NewReaderSize(conn, 1024)
		for {
			line, err := lines.ReadSlice('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(string(line), "data: ") {
				a.arrived <- struct{}{}
			}
		}
	})
}

func (a *audience) leave() {
	for _, conn := range a.conns {
		conn.Close()
	}
	a.reading.Wait()
}
