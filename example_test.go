package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// Greeting is a payload.
type Greeting struct {
	Name string `json:"name"`
}

// JobType names the type of job.
func (Greeting) JobType() string { return "greeting" }

// Validate is called at enqueue and again after decoding.
func (g Greeting) Validate() error {
	if g.Name == "" {
		return errors.New("name is empty")
	}
	return nil
}

// A pool runs until its context ends; here the handler ends it.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, _ *worker.Job, g Greeting) error {
		fmt.Printf("Hello, %s!\n", g.Name)
		stop()
		return nil
	})
	pool, err := worker.NewPool(worker.Config{
		Backend:  worker.Backend{Queue: workertest.NewQueue()}, // redisqueue.New in a program
		Registry: registry,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := pool.Client().Enqueue(ctx, Greeting{Name: "Ada"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pool.Run(ctx))
	// Output:
	// Hello, Ada!
	// <nil>
}

// The host can insert its own row under the job's id before the job is enqueued.
func ExampleNewJob() {
	job, err := worker.NewJob(Greeting{Name: "Ada"}, worker.WithID("order-17"), worker.After(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.ID, job.Type, job.Queue, job.Topic, string(job.Payload))
	_, err = worker.NewJob(Greeting{})
	fmt.Println(err)
	// Output:
	// order-17 greeting default job:order-17 {"name":"Ada"}
	// new job greeting: payload: name is empty
}

// Enqueueing an id again is no error while the job waits or runs, and a FinishedError when it has ended.
func ExampleClient_Enqueue() {
	store := workertest.NewStatusStore()
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue(), StatusStore: store})
	for range 2 {
		job, err := client.Enqueue(context.Background(), Greeting{Name: "Ada"}, worker.WithID("once"))
		fmt.Println(job.ID, err)
	}
	fmt.Println(store.States("once"))
	// Output:
	// once <nil>
	// once <nil>
	// [queued]
}

// One job of a key waits or runs at a time; a later one that replaces takes the place of one that waits.
func ExampleUniqueBy() {
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue()})
	one := worker.UniqueBy("greet:ada", worker.UniquePolicy{})
	first, _ := client.Enqueue(context.Background(), Greeting{Name: "Ada"}, worker.WithID("first"), one)

	_, err := client.Enqueue(context.Background(), Greeting{Name: "Ada L."}, worker.WithID("second"), one)
	var duplicate *worker.DuplicateError
	fmt.Println(errors.As(err, &duplicate), duplicate.Holder)

	debounced := worker.UniqueBy("greet:ada", worker.UniquePolicy{Replace: true})
	third, err := client.Enqueue(context.Background(), Greeting{Name: "Ada L."}, worker.After(time.Second), debounced)
	fmt.Println(third.ID == first.ID, err)
	// Output:
	// true first
	// true <nil>
}

// An operator frees a key that outlives its job.
func ExampleClient_ReleaseUnique() {
	ctx := context.Background()
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue()})
	daily := worker.UniqueBy("greet:ada", worker.UniquePolicy{Until: worker.ForPeriod, For: 24 * time.Hour})
	_, _ = client.Enqueue(ctx, Greeting{Name: "Ada"}, worker.WithID("first"), daily)
	_, _ = client.Cancel(ctx, "first")

	fmt.Println(client.ReleaseUnique(ctx, worker.DefaultQueue, "greet:ada"))
	_, err := client.Enqueue(ctx, Greeting{Name: "Ada"}, daily)
	fmt.Println(err)
	// Output:
	// first <nil>
	// <nil>
}

// What waits is canceled at once; what runs is told to stop.
func ExampleClient_Cancel() {
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue()})
	job, _ := client.Enqueue(context.Background(), Greeting{Name: "Ada"})
	fmt.Println(client.Cancel(context.Background(), job.ID))
	// Output: canceled <nil>
}

// While a queue is paused no worker starts any of its jobs; producers go on.
func ExampleClient_Pause() {
	ctx := context.Background()
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue()})
	fmt.Println(client.Pause(ctx, "emails"))
	_, err := client.Enqueue(ctx, Greeting{Name: "Ada"}, worker.OnQueue("emails"))
	fmt.Println(err)
	fmt.Println(client.Resume(ctx, "emails"))
	// Output:
	// <nil>
	// <nil>
	// <nil>
}

// Pages of a queue's jobs, for a dashboard: any Queue that is an Inspector has them.
func ExampleInspector() {
	ctx := context.Background()
	var queue worker.Queue = workertest.NewQueue() // redisqueue.New in a program
	client, _ := worker.NewClient(worker.Backend{Queue: queue})
	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		_, _ = client.Enqueue(ctx, Greeting{Name: name})
	}
	inspector := queue.(worker.Inspector)
	opts := worker.ListOptions{Place: worker.PlaceWaiting, Limit: 2}
	for {
		page, err := inspector.List(ctx, worker.DefaultQueue, opts)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, info := range page.Jobs {
			fmt.Println(info.Job.Type, string(info.Job.Payload))
		}
		if opts.Cursor = page.Next; page.Next == "" {
			break
		}
		fmt.Println("next page")
	}
	// Output:
	// greeting {"name":"Ada"}
	// greeting {"name":"Grace"}
	// next page
	// greeting {"name":"Barbara"}
}

// A job that waits gets another payload and another time; the next line makes it due at once.
func ExampleClient_Edit() {
	ctx := context.Background()
	store := workertest.NewStatusStore()
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue(), StatusStore: store})
	job, _ := client.Enqueue(ctx, Greeting{Name: "Ada"})
	err := client.Edit(ctx, job.ID, func(job *worker.Job) (err error) {
		job.Delay = time.Hour
		job.Payload, err = json.Marshal(Greeting{Name: "Grace"})
		return err
	})
	fmt.Println(err, client.RunNow(ctx, job.ID))
	fmt.Println(store.States(job.ID))
	// Output:
	// <nil> <nil>
	// [queued scheduled queued]
}

// What failed for a reason that is mended is run again.
func ExampleClient_RequeueDead() {
	ctx, stop := context.WithCancel(context.Background())
	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, _ *worker.Job, g Greeting) error {
		if g.Name == "Ada" {
			return worker.Permanent(errors.New("mail server: connection refused"))
		}
		stop()
		return worker.Permanent(errors.New("nobody has this name"))
	})
	pool, _ := worker.NewPool(worker.Config{
		Backend:     worker.Backend{Queue: workertest.NewQueue(), Logger: slog.New(slog.DiscardHandler)},
		Registry:    registry,
		Concurrency: 1,
	})
	client := pool.Client()
	_, _ = client.Enqueue(ctx, Greeting{Name: "Ada"})
	_, _ = client.Enqueue(ctx, Greeting{Name: "Rumpelstiltskin"})
	_ = pool.Run(ctx) // both fail

	n, err := client.RequeueDead(context.Background(), worker.DefaultQueue, func(info *worker.JobInfo) bool {
		return info.State == worker.StateFailed && strings.Contains(info.Cause, "connection refused")
	})
	fmt.Println(n, err)
	// Output: 1 <nil>
}

// A handler says more than "it failed" with the verbs.
func ExamplePermanent() {
	errNotFound := errors.New("no such picture")
	handler := func(_ context.Context, _ *worker.Job, g Greeting) error {
		switch g.Name {
		case "nobody":
			return worker.Permanent(errNotFound) // fails now
		case "busy":
			return worker.RetryAfter(time.Minute, errors.New("429")) // the service said when
		case "early":
			return worker.Snooze(time.Hour) // not yet: no attempt is counted
		}
		return nil
	}
	err := handler(context.Background(), nil, Greeting{Name: "nobody"})
	fmt.Println(worker.IsPermanent(err), errors.Is(err, errNotFound))
	// Output: true true
}

// A checkpoint lets the next attempt go on where the last one was.
func ExampleJob_Checkpoint() {
	job, _ := worker.NewJob(Greeting{Name: "Ada"})
	_ = job.Checkpoint(context.Background(), map[string]string{"prediction": "p-1"})
	var last struct{ Prediction string }
	fmt.Println(job.LastCheckpoint(&last))
	fmt.Println(last.Prediction)
	// Output:
	// true <nil>
	// p-1
}

// A delay is a share, from 0 to 1, of the doubling bound.
func ExampleRetryPolicy_Delay() {
	policy := worker.Exponential(5, 2*time.Second, 10*time.Minute)
	fmt.Println(policy.Delay(1, 1), policy.Delay(2, 1), policy.Delay(3, 0.5))
	// Output: 2s 4s 4s
}

// A job may be tried again for a time instead of a number of attempts.
func ExampleRetryFor() {
	job, err := worker.NewJob(Greeting{Name: "Ada"}, worker.RetryFor(24*time.Hour))
	fmt.Println(job.Retry.Window, job.Retry.MaxAttempts, err) // as many as its delays allow
	// Output: 24h0m0s 0 <nil>
}

// What is late may be of no use any more: a job that has not started by then fails with ErrExpired.
func ExampleExpireAt() {
	noon := time.Date(2030, time.May, 1, 12, 0, 0, 0, time.UTC)
	job, err := worker.NewJob(Greeting{Name: "Ada"}, worker.At(noon), worker.ExpireAt(noon.Add(time.Hour)))
	fmt.Println(job.RunAt.Format(time.Kitchen), job.ExpiresAt.Format(time.Kitchen), err)
	// Output: 12:00PM 1:00PM <nil>
}

// Of two queues that have jobs one has nine tenths of the slots' time, the other one a tenth, and two slots at most.
func ExampleQueueConfig() {
	_, err := worker.NewPool(worker.Config{
		Backend:  worker.Backend{Queue: workertest.NewQueue()},
		Registry: worker.NewRegistry(),
		Queues:   map[string]worker.QueueConfig{"mails": {Weight: 9}, "reports": {Weight: 1, Concurrency: 2}},
		Strict:   false, // true: reports only while there are no mails
	})
	fmt.Println(err)
	// Output: <nil>
}

// Queues come and go while the pool runs.
func ExamplePool_SetQueue() {
	ctx := context.Background()
	pool, err := worker.NewPool(worker.Config{
		Backend: worker.Backend{Queue: workertest.NewQueue()}, Registry: worker.NewRegistry(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pool.Start(ctx))
	fmt.Println(pool.SetQueue(ctx, "customer-17", worker.QueueConfig{}))
	fmt.Println(pool.SetQueue(ctx, "customer-17", worker.QueueConfig{Weight: 3})) // from now on
	fmt.Println(pool.RemoveQueue(ctx, "customer-17"))                             // its jobs wait for another pool
	fmt.Println(pool.Stop(ctx))
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// <nil>
}

// Middleware wraps every handler of a registry.
func ExampleRegistry_Use() {
	registry := worker.NewRegistry()
	registry.Use(func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, job *worker.Job) error {
			defer fmt.Println("done with", job.Type)
			return next(ctx, job)
		}
	})
	registry.Handle("raw", func(context.Context, *worker.Job) error { return nil })
}

// A pool's handlers serve the probes of an orchestrator.
func ExamplePool_Health() {
	registry := worker.NewRegistry()
	worker.Handle(registry, func(context.Context, *worker.Job, Greeting) error { return nil })
	pool, err := worker.NewPool(worker.Config{Backend: worker.Backend{Queue: workertest.NewQueue()}, Registry: registry})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/healthz", pool.LiveHandler())
	mux.Handle("/readyz", pool.ReadyHandler())

	h := pool.Health(context.Background())
	fmt.Println(h.Live, h.Ready, h.Problems[0].Code)
	// Output: true false not_started
}
