package redisqueue_test

import (
	"context"
	"strconv"
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
