package redisqueue_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// BenchmarkBatch takes jobs through a queue on a real server: enqueued, claimed and settled in batches.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 10, 100, 500} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchmarkBatch(b, size) })
	}
}

func benchmarkBatch(b *testing.B, size int) {
	s := onReal(b)
	q := s.queue(redisqueue.Config{})
	ctx := context.Background()
	c, err := q.Consume(ctx, "default", worker.ConsumeOptions{})
	require.NoError(b, err)
	defer c.Close(ctx)
	waiting := newJobs(b, size) // a completed job's id is free again
	verdicts := make([]worker.Verdict, 0, size)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += size {
		require.NoError(b, q.Enqueue(ctx, waiting[:size]...))
		jobs, err := c.Claim(ctx, worker.ClaimOptions{Limit: size})
		if err != nil || len(jobs) != size {
			b.Fatalf("claimed %d jobs: %v", len(jobs), err)
		}
		verdicts = verdicts[:0]
		for _, job := range jobs {
			verdicts = append(verdicts, worker.Verdict{Job: job, Action: worker.ActionComplete})
		}
		if err := c.Settle(ctx, verdicts...); err != nil {
			b.Fatal(err)
		}
	}
}

// room is a payload of the size of a stage:run job's.
type room struct {
	ImageID     string `json:"image_id"`
	OriginalURL string `json:"original_url"`
	RoomType    string `json:"room_type"`
	Style       string `json:"style"`
	Seed        int    `json:"seed"`
}

func (room) JobType() string { return "test:room" }

func newRoom(i int) room {
	return room{"0190b2c4-7d2e-7c3a-9a4e-3f1d2b5c6a7e", "https://uploads.example.com/" + strings.Repeat("x", 70),
		"living_room", "scandinavian", i}
}

func benchClient(b *testing.B, s *server) *worker.Client {
	b.Helper()
	q, err := redisqueue.New(s.client, redisqueue.Config{})
	require.NoError(b, err)
	client, err := worker.NewClient(worker.Backend{Queue: q})
	require.NoError(b, err)
	return client
}

// BenchmarkEnqueue enqueues one job a call, from one goroutine and from 64.
func BenchmarkEnqueue(b *testing.B) {
	for _, producers := range []int{1, 64} {
		b.Run(strconv.Itoa(producers), func(b *testing.B) {
			client := benchClient(b, onReal(b))
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var all sync.WaitGroup
			for range producers {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if _, err := client.Enqueue(context.Background(), newRoom(int(i))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// BenchmarkDrain runs a pool over b.N jobs that do nothing, from the start to the settlement of the last.
func BenchmarkDrain(b *testing.B) {
	for _, concurrency := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(concurrency), func(b *testing.B) {
			s := onReal(b)
			client := benchClient(b, s)
			for first := 0; first < b.N; first += 500 {
				jobs := make([]*worker.Job, min(500, b.N-first))
				for i := range jobs {
					var err error
					jobs[i], err = worker.NewJob(newRoom(first + i))
					require.NoError(b, err)
				}
				require.NoError(b, client.EnqueueMany(context.Background(), jobs...))
			}
			drained := make(chan struct{})
			var left atomic.Int64
			left.Store(int64(b.N))
			registry := worker.NewRegistry()
			worker.Handle(registry, func(context.Context, *worker.Job, room) error {
				if left.Add(-1) == 0 {
					close(drained)
				}
				return nil
			})
			q, err := redisqueue.New(s.client, redisqueue.Config{})
			require.NoError(b, err)
			pool, err := worker.NewPool(worker.Config{
				Backend: worker.Backend{Queue: q}, Registry: registry, Concurrency: concurrency,
			})
			require.NoError(b, err)
			b.ReportAllocs()
			b.ResetTimer()
			require.NoError(b, pool.Start(context.Background()))
			<-drained
			require.NoError(b, pool.Stop(context.Background()))
		})
	}
}
