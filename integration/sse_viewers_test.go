//go:build unix

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// BenchmarkSSEViewers has 4,000 viewers (SSE_VIEWERS says otherwise) of one topic, or of a topic each, on one process;
// another one reads their streams. It reports how long an event takes to reach all of them, from Notify to the last
// reader's having parsed it, and what a viewer costs the process that serves it.
func BenchmarkSSEViewers(b *testing.B) {
	viewers := 4000
	if n, err := strconv.Atoi(os.Getenv("SSE_VIEWERS")); err == nil {
		viewers = n
	}
	b.Run("redis/one topic", func(b *testing.B) { benchViewers(b, redisNews(b, redistest.Server(b), 0), viewers, 1) })
	recorder := workertest.NewNotifier()
	inMemory := news{notifier: recorder, subscriber: recorder}
	b.Run("memory/one topic", func(b *testing.B) { benchViewers(b, inMemory, viewers, 1) })
	b.Run("memory/topic each", func(b *testing.B) { benchViewers(b, inMemory, viewers, viewers) })
}

func benchViewers(b *testing.B, n news, viewers, topics int) {
	server, _ := stand(b, n.subscriber, sse.Config{Heartbeat: time.Hour})
	before := memory()
	reached := startAudience(b, audience{Addr: server.Listener.Addr().String(), Viewers: viewers, Topics: topics})
	tell := func(number int64) {
		for topic := range topics {
			name := fmt.Sprint("topic", topic)
			require.NoError(b, n.notifier.Notify(context.Background(), moment(name, name, number)))
		}
		reached()
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

// audienceEnv is the environment variable that makes this binary an audience: an audience as JSON.
const audienceEnv = "WORKER_INTEGRATION_AUDIENCE"

// audience is viewers with plain connections, which cost no more than they must.
type audience struct {
	Addr            string
	Viewers, Topics int
}

// startAudience starts the process of an audience, and returns what waits until one more event has reached all of it.
func startAudience(b *testing.B, a audience) (reached func()) {
	b.Helper()
	spec, err := json.Marshal(a)
	require.NoError(b, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), audienceEnv+"="+string(spec))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	lines := bufio.NewScanner(out)
	return func() { require.True(b, lines.Scan(), "the audience has left") }
}

// runAudience writes a line whenever as many events were read as there are viewers, until it is killed.
func runAudience(a audience) error {
	arrived, failed := make(chan struct{}, a.Viewers), make(chan error, a.Viewers)
	for i := range a.Viewers {
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(conn, "GET /?topic=topic%d HTTP/1.1\r\nHost: site\r\n\r\n", i%a.Topics); err != nil {
			return err
		}
		go func() {
			for lines := bufio.NewReaderSize(conn, 1024); ; {
				line, err := lines.ReadSlice('\n')
				if err != nil {
					failed <- err
					return
				}
				if strings.HasPrefix(string(line), "data: ") {
					arrived <- struct{}{}
				}
			}
		}()
	}
	for count := 1; ; count++ {
		select {
		case <-arrived:
		case err := <-failed:
			return err
		}
		if count%a.Viewers == 0 {
			fmt.Println("reached all")
		}
	}
}
