package integration

import (
	"context"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// A planned failover under load, with producers that don't wait for the replica, and with such that do. Sentinel makes
// the replica a master first and tells clients a moment later: whatever the old master acknowledges in between is lost,
// but nothing that the replica has confirmed. What is unknown can be pushed again, and is there once.
func TestPushesOutliveAPlannedFailover(t *testing.T) {
	for name, wait := range map[string]bool{"not replicated": false, "replicated": true} {
		t.Run(name, func(t *testing.T) {
			for range size(1, 5) {
				p := pushThrough(t, wait)
				lost, lasted := p.lost(t)
				t.Logf("%d replicas waited for: %d pushes acknowledged, %d of them in the %v of the failover, %d lost in the course of %v; "+
					"%d unknown", p.replicas, len(p.acked), p.meanwhile(), p.ended.Sub(p.began).Round(time.Millisecond), lost,
					lasted.Round(time.Millisecond), len(p.unknown))
				if wait {
					require.Zero(t, lost)
				}
				p.repeat(t)
			}
		})
	}
}

// pushes are what producers were told about their pushes.
type pushes struct {
	client   rueidis.Client
	replicas int // that are waited for
	queue    *redisqueue.Queue

	began, ended time.Time // of the failover: from the order until the producers have followed

	mu      sync.Mutex
	acked   []*worker.Job
	at      []time.Time // when each was acknowledged
	unknown []*worker.Job
}

// pushThrough pushes from several producers while the master changes.
func pushThrough(t *testing.T, wait bool) *pushes {
	t.Helper()
	const producers, before, after = 8, 1000, 200
	s := startSentinels(t)
	client, err := endpoint{Addrs: s.addrs, MasterSet: masterSet}.connect()
	require.NoError(t, err)
	t.Cleanup(client.Close)
	p := &pushes{client: client}
	if wait {
		p.replicas = len(s.servers) - 1 // whichever becomes the master
	}
	p.queue, err = redisqueue.New(client, redisqueue.Config{WaitReplicas: p.replicas, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	var acked atomic.Int64
	var pushing sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	defer pushing.Wait()
	defer stop()
	for range producers {
		pushing.Go(func() {
			for ctx.Err() == nil {
				if p.push(t) {
					acked.Add(1)
				}
			}
		})
	}
	until(t, "pushes before the failover", func() bool { return acked.Load() > before })
	old := s.master()
	p.began = time.Now()
	s.planned(old)
	until(t, "the failover", func() bool { return s.master() != old })
	until(t, "the client to follow", func() bool { return servedAt(p.client) == portOf(s.master()) })
	p.ended = time.Now()
	enough := acked.Load() + after
	until(t, "pushes after the failover", func() bool { return acked.Load() > enough })
	stop()
	pushing.Wait()
	return p
}

// servedAt is the port of the server that the client takes for the master.
func servedAt(client rueidis.Client) string {
	info, _ := client.Do(context.Background(), client.B().Info().Section("server").Build()).ToString()
	return strings.TrimPrefix(regexp.MustCompile(`tcp_port:\d+`).FindString(info), "tcp_port:")
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// push enqueues one job, and reports whether that was acknowledged.
func (p *pushes) push(t *testing.T) bool {
	job, err := worker.NewJob(nap(5, 5)(0))
	if err != nil {
		t.Error(err)
		return false
	}
	err = p.queue.Enqueue(context.Background(), job)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.unknown = append(p.unknown, job)
		return false
	}
	p.acked, p.at = append(p.acked, job), append(p.at, time.Now())
	return true
}

// meanwhile counts what was acknowledged during the failover.
func (p *pushes) meanwhile() (n int) {
	for _, at := range p.at {
		if at.After(p.began) && at.Before(p.ended) {
			n++
		}
	}
	return n
}

// lost counts the acknowledged jobs that the new master lacks, and returns the time between the first and the last.
func (p *pushes) lost(t *testing.T) (n int, lasted time.Duration) {
	t.Helper()
	there := make(map[string]bool)
	for _, id := range p.pending(t) {
		there[id] = true
	}
	var first, last time.Time
	for i, job := range p.acked {
		if there[job.ID] {
			continue
		}
		if n++; n == 1 {
			first = p.at[i]
		}
		last = p.at[i]
	}
	return n, last.Sub(first)
}

// pending returns the ids that wait.
func (p *pushes) pending(t *testing.T) []string {
	t.Helper()
	list := p.client.B().Lrange().Key(prefix(worker.DefaultQueue) + "pending").Start(0).Stop(-1).Build()
	waiting, err := p.client.Do(context.Background(), list).AsStrSlice()
	require.NoError(t, err)
	return waiting
}

// repeat pushes again whatever is unknown, until it is acknowledged: each job is there once.
func (p *pushes) repeat(t *testing.T) {
	t.Helper()
	for _, job := range p.unknown {
		until(t, "a repeated push", func() bool { return p.queue.Enqueue(context.Background(), job) == nil })
	}
	times := make(map[string]int)
	for _, id := range p.pending(t) {
		times[id]++
		require.Equal(t, 1, times[id], id)
	}
	for _, job := range p.unknown {
		require.Equal(t, 1, times[job.ID], job.ID)
	}
}
