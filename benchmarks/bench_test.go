// Package benchmarks measures the library on a real redis-server that each benchmark starts for itself. Figures are
// comparable within one run only; docs/performance.md says how they were taken.
package benchmarks

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// staging is a payload of the size of a stage:run job's: about 210 bytes.
type staging struct {
	ImageID     string `json:"image_id"`
	OriginalURL string `json:"original_url"`
	RoomType    string `json:"room_type"`
	Style       string `json:"style"`
	Seed        int64  `json:"seed"`
}

func (staging) JobType() string { return "stage:run" }

func payload(i int) staging {
	return staging{
		ImageID: "0190b2c4-7d2e-7c3a-9a4e-3f1d2b5c6a7e", RoomType: "living_room", Style: "scandinavian", Seed: int64(i),
		OriginalURL: "https://uploads.example.com/tenants/42/originals/0190b2c4-7d2e-7c3a-9a4e.jpg",
	}
}

// bench is a queue on a server of its own.
type bench struct {
	b      *testing.B
	redis  rueidis.Client
	queue  *redisqueue.Queue
	client *worker.Client
	store  worker.StatusStore // of the pools; nil: none
}

func newBench(b *testing.B) *bench {
	b.Helper()
	server := redistest.Server(b)
	redis, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr()}, DisableCache: true,
		ForceSingleClient: true})
	must(b, err)
	b.Cleanup(redis.Close)
	queue, err := redisqueue.New(redis, redisqueue.Config{})
	must(b, err)
	client, err := worker.NewClient(worker.Backend{Queue: queue, Logger: quiet})
	must(b, err)
	return &bench{b: b, redis: redis, queue: queue, client: client}
}

var quiet = slog.New(slog.DiscardHandler)

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// fill enqueues n jobs.
func (x *bench) fill(n int) {
	x.b.Helper()
	for done := 0; done < n; {
		jobs := make([]*worker.Job, min(500, n-done))
		for i := range jobs {
			var err error
			jobs[i], err = worker.NewJob(payload(done + i))
			must(x.b, err)
		}
		must(x.b, x.client.EnqueueMany(context.Background(), jobs...))
		done += len(jobs)
	}
}

// pool makes a pool whose handler calls done.
func (x *bench) pool(concurrency int, done func(*worker.Job)) *worker.Pool {
	x.b.Helper()
	reg := worker.NewRegistry()
	worker.Handle(reg, func(_ context.Context, job *worker.Job, _ staging) error {
		done(job)
		return nil
	})
	pool, err := worker.NewPool(worker.Config{
		Backend:  worker.Backend{Queue: x.queue, StatusStore: x.store, Logger: quiet},
		Registry: reg, Concurrency: concurrency,
	})
	must(x.b, err)
	return pool
}

// drain runs a pool until n jobs are done and settled, and returns how long that took.
func (x *bench) drain(concurrency, n int) time.Duration {
	x.b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	finished := make(chan struct{})
	pool := x.pool(concurrency, func(*worker.Job) {
		if left.Add(-1) == 0 {
			close(finished)
		}
	})
	began := time.Now()
	must(x.b, pool.Start(context.Background()))
	<-finished
	took := time.Since(began)
	must(x.b, pool.Stop(context.Background()))
	return took
}

// info reads one number of INFO.
func (x *bench) info(name string) float64 {
	text, err := x.redis.Do(context.Background(), x.redis.B().Info().Section("everything").Build()).ToString()
	must(x.b, err)
	for line := range strings.SplitSeq(text, "\r\n") {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			f, err := strconv.ParseFloat(value, 64)
			must(x.b, err)
			return f
		}
	}
	x.b.Fatalf("INFO has no %s", name)
	return 0
}

func (x *bench) cpu() float64 { return x.info("used_cpu_user") + x.info("used_cpu_sys") }

// BenchmarkDrain drains no-op jobs, b.N of them.
func BenchmarkDrain(b *testing.B) {
	for _, concurrency := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint("concurrency=", concurrency), func(b *testing.B) {
			x := newBench(b)
			x.fill(b.N)
			cpu := x.cpu()
			b.ReportAllocs()
			b.ResetTimer()
			took := x.drain(concurrency, b.N)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/took.Seconds(), "jobs/s")
			b.ReportMetric((x.cpu()-cpu)*1e6/float64(b.N), "redis-µs/job")
		})
	}
}

// BenchmarkBacklog drains the same number of jobs from a queue with few and with a million waiting.
func BenchmarkBacklog(b *testing.B) {
	const measured = 100_000
	for _, waiting := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint("waiting=", waiting), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				x := newBench(b)
				x.fill(waiting)
				b.StartTimer()
				took := time.Duration(0)
				if waiting < measured { // keep the backlog at its size
					for done := 0; done < measured; done += waiting {
						took += x.drain(100, waiting)
						b.StopTimer()
						x.fill(waiting)
						b.StartTimer()
					}
				} else {
					took = x.drain(100, measured)
				}
				b.StopTimer()
				b.ReportMetric(float64(took.Nanoseconds())/measured, "drain-ns/job")
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPickup measures enqueue to start with an idle worker.
func BenchmarkPickup(b *testing.B) {
	x := newBench(b)
	started := make(chan time.Time, 1)
	pool := x.pool(10, func(*worker.Job) { started <- time.Now() })
	must(b, pool.Start(context.Background()))
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		b.StopTimer()
		time.Sleep(3 * time.Millisecond) // let it become idle
		b.StartTimer()
		began := time.Now()
		_, err := x.client.Enqueue(context.Background(), payload(1))
		must(b, err)
		took = append(took, (<-started).Sub(began))
	}
	must(b, pool.Stop(context.Background()))
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkIdle counts what an idle pool sends in 20 seconds.
func BenchmarkIdle(b *testing.B) {
	for b.Loop() {
		x := newBench(b)
		pool := x.pool(100, func(*worker.Job) {})
		must(b, pool.Start(context.Background()))
		time.Sleep(time.Second)
		before := x.sent()
		time.Sleep(20 * time.Second)
		b.ReportMetric((x.sent()-before-1)/20, "commands/s")
		must(b, pool.Stop(context.Background()))
	}
}

// sent counts the commands that clients sent: those that scripts called are not among them.
func (x *bench) sent() float64 {
	text, err := x.redis.Do(context.Background(), x.redis.B().Info().Section("commandstats").Build()).ToString()
	must(x.b, err)
	total := 0.0
	for _, name := range []string{"evalsha", "eval", "blpop", "info"} {
		if _, rest, ok := strings.Cut(text, "cmdstat_"+name+":calls="); ok {
			n, _, _ := strings.Cut(rest, ",")
			f, err := strconv.ParseFloat(n, 64)
			must(x.b, err)
			total += f
		}
	}
	return total
}

// BenchmarkMemory reports what a waiting job costs Redis beyond its payload and headers.
func BenchmarkMemory(b *testing.B) {
	const jobs = 200_000
	for b.Loop() {
		x := newBench(b)
		before := x.info("used_memory")
		x.fill(jobs)
		job, err := worker.NewJob(payload(1))
		must(b, err)
		b.ReportMetric((x.info("used_memory")-before)/jobs-float64(len(job.Payload)), "bytes/job")
	}
}
