package redisqueue_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// monitor returns a function that ends the monitoring and returns the commands that Redis executed for scripts.
func monitor(t *testing.T, s *server) func() [][]string {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = fmt.Fprint(conn, "MONITOR\r\n")
	require.NoError(t, err)
	lines := bufio.NewReaderSize(conn, 1<<20)
	_, err = lines.ReadString('\n')
	require.NoError(t, err)
	word := regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
	return func() [][]string {
		s.ok("ECHO", "the end")
		var commands [][]string
		for {
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			if strings.Contains(line, `"the end"`) {
				return commands
			}
			if !strings.Contains(line, " lua] ") {
				continue
			}
			var command []string
			for _, m := range word.FindAllStringSubmatch(line, -1) {
				command = append(command, m[1])
			}
			commands = append(commands, command)
		}
	}
}

// elements is how many elements of a list, hash or set a command handles.
func elements(t *testing.T, c []string) int {
	t.Helper()
	number := func(i int) int {
		n, err := strconv.Atoi(c[i])
		require.NoError(t, err)
		return n
	}
	switch c[0] {
	case "RPUSH", "LPUSH", "HMGET", "HDEL", "ZREM":
		return len(c) - 2
	case "HSET", "ZADD":
		return (len(c) - 2) / 2
	case "LRANGE":
		return number(3) - number(2) + 1
	case "LPOP":
		if len(c) > 2 {
			return number(2)
		}
	}
	return 1
}

// A plain job costs at most nine element operations from enqueue to settle, and a batch three scripts.
func TestElementOperationsOfAJob(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{Lease: time.Hour}) // no heartbeat in between
	c := open(t, q, 0)
	const n = 500
	done := monitor(t, s)
	enqueue(t, q, newJobs(t, n)...)
	settle(t, c, worker.ActionComplete, claim(t, c, n)...)
	total, calls := 0, 0
	for _, command := range done() {
		calls++
		total += elements(t, command)
	}
	t.Logf("%d element operations in %d calls for %d jobs: %.2f a job", total, calls, n, float64(total)/n)
	require.LessOrEqual(t, total, 9*n+40, "nine a job, and a few a batch")
}

// The memory of a waiting job beyond its payload and headers.
func TestMemoryOfAWaitingJob(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{})
	const n, payload = 50_000, 224
	body := []byte(`"` + strings.Repeat("x", payload-2) + `"`)
	used := func() int {
		info := s.text("INFO", "memory")
		m := regexp.MustCompile(`used_memory:(\d+)`).FindStringSubmatch(info)
		require.Len(t, m, 2)
		bytes, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		return bytes
	}
	before := used()
	for range n / 500 {
		jobs := newJobs(t, 500)
		for _, job := range jobs {
			job.Payload = body
		}
		enqueue(t, q, jobs...)
	}
	each := float64(used()-before)/n - payload
	t.Logf("%.0f bytes a job beyond its payload", each)
	require.LessOrEqual(t, each, 300.0, "the budget is 240 for a million jobs; a hash that grows may stand empty by half")
}

// Producers, workers and people who cancel meet on one queue: every job ends once, completed or among the dead.
func TestManyAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		n := 2000
		if s.mini != nil {
			n = 300
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		jobs := newJobs(t, n)
		var mu sync.Mutex
		ended := make(map[string]int)
		var all, workers sync.WaitGroup
		finished := make(chan struct{})
		for p := range 4 {
			all.Go(func() {
				for i := p; i < n; i += 4 {
					if err := q.Enqueue(ctx, jobs[i]); err != nil {
						t.Errorf("enqueue: %v", err)
					}
				}
			})
		}
		all.Go(func() {
			for i := 0; i < n; i += 7 {
				m, err := q.MarkCanceled(ctx, "default", jobs[i].ID)
				if err != nil {
					t.Errorf("mark: %v", err)
				}
				place, err := q.RemoveCanceled(ctx, "default", jobs[i].ID)
				if err != nil {
					t.Errorf("remove: %v", err)
				}
				if place == worker.PlaceWaiting && m.Place != worker.PlaceUnknown { // else it came after the mark, and stays
					mu.Lock()
					ended[jobs[i].ID]++
					mu.Unlock()
				}
			}
		})
		for range 4 {
			c := open(t, q, 0)
			workers.Go(func() { work(ctx, t, c, finished, func(id string) { mu.Lock(); ended[id]++; mu.Unlock() }) })
		}
		all.Wait()
		over := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(ended) == n
		}
		for !over() && ctx.Err() == nil {
			<-time.After(5 * time.Millisecond)
		}
		close(finished)
		workers.Wait()
		require.Len(t, ended, n)
		for id, times := range ended {
			require.Equal(t, 1, times, id)
		}
		accounted(t, s, keysOf(s.zset("dead"))...)
	})
}

// work claims and settles at random until finished is closed.
func work(ctx context.Context, t *testing.T, c worker.Consumer, finished chan struct{}, end func(id string)) {
	for {
		select {
		case <-finished:
			return
		default:
		}
		jobs, err := c.Claim(ctx, worker.ClaimOptions{Limit: 1 + rand.IntN(20), Wait: 20 * time.Millisecond})
		if err != nil {
			t.Errorf("claim: %v", err)
			return
		}
		var vs []worker.Verdict
		for _, job := range jobs {
			action := worker.Action(1 + rand.IntN(6))
			if job.Reject != nil {
				action = worker.ActionCancel
			}
			vs = append(vs, worker.Verdict{Job: job, Action: action, Delay: time.Duration(rand.IntN(3)) * time.Millisecond})
			if action == worker.ActionComplete || action == worker.ActionBury || action == worker.ActionCancel {
				end(job.ID)
			}
		}
		if err := c.Settle(ctx, vs...); err != nil {
			t.Errorf("settle: %v", err)
			return
		}
	}
}
