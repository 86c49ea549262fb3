package redisnotify_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
)

// What a pool announces: batches of 100 statuses, each about another job. Besides the time that all takes on shared
// cores it reports what of it the server needed. One op is one status.
func BenchmarkNotify(b *testing.B) {
	const size = 100
	for name, topic := range map[string]func(job int) string{
		"a topic each": func(job int) string { return fmt.Sprintf("job:0190b2c4-7d3e-7000-8000-%012d", job) },
		"100 topics":   func(job int) string { return fmt.Sprint("user:", job%size) },
		"one topic":    func(int) string { return "all" },
	} {
		b.Run(name, func(b *testing.B) {
			s := onReal(b)
			n := s.notifier(redisnotify.Config{})
			batch := make([]worker.Status, size)
			for i := range batch {
				batch[i] = worker.Status{
					Type: "stage:run", Queue: "default", State: worker.StateRunning, Attempt: 1, MaxAttempts: 5,
					Progress: 0.5, Message: "half way", At: time.Now(),
				}
			}
			before := s.busy()
			b.ReportAllocs()
			b.ResetTimer()
			for told := 0; told < b.N; told += size {
				b.StopTimer()
				for i := range batch {
					job := (told/2)/size*size + i // each job twice
					batch[i].JobID = fmt.Sprintf("0190b2c4-7d3e-7000-8000-%012d", job)
					batch[i].Topic, batch[i].Version = topic(job), int64(told+1)<<14
				}
				b.StartTimer()
				require.NoError(b, n.Notify(context.Background(), batch...))
			}
			b.ReportMetric(float64((s.busy()-before).Nanoseconds())/float64(b.N), "redis-ns/op")
		})
	}
}
