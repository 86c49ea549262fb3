package workertest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/workertest"
)

// exampleT stands in for a test's *testing.T.
type exampleT struct{}

func (exampleT) Helper()                           {}
func (exampleT) Context() context.Context          { return context.Background() }
func (exampleT) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Welcome greets a new user.
type Welcome struct {
	User string `json:"user"`
}

// JobType names the type of job.
func (Welcome) JobType() string { return "welcome" }

// A handler is tested without a queue and a pool, and judged as by them.
func ExampleRun() {
	t := exampleT{} // a test has its *testing.T
	registry := worker.NewRegistry()
	worker.Handle(registry, func(ctx context.Context, job *worker.Job, w Welcome) error {
		job.Progress(0.5, "writing to "+w.User)
		if err := job.Checkpoint(ctx, "written"); err != nil {
			return err
		}
		if job.Attempt == 1 {
			return worker.RetryAfter(time.Minute, errors.New("the mail server is busy"))
		}
		return job.SetResult("sent")
	})

	first := workertest.Run(t, registry, Welcome{User: "Ada"})
	fmt.Println(first.State, first.Delay, first.Err)
	fmt.Println(first.Progress, string(first.Checkpoints[0]))

	later := workertest.Run(t, registry, Welcome{User: "Ada"}, func(j *worker.Job) { j.Attempt = 2 })
	fmt.Println(later.State, string(later.Job.Result()))
	// Output:
	// retrying 1m0s the mail server is busy
	// [{0.5 writing to Ada}] "written"
	// succeeded "sent"
}

// What a program enqueues is asserted with the call that should have done it.
func ExampleRequireEnqueued() {
	t := exampleT{} // a test has its *testing.T
	queue := workertest.NewQueue()
	client, _ := worker.NewClient(worker.Backend{Queue: queue})
	signUp := func(user string) error {
		_, err := client.Enqueue(t.Context(), Welcome{User: user}, worker.OnQueue("mail"), worker.WithID("welcome-"+user))
		return err
	}

	_ = signUp("Ada")
	job := workertest.RequireEnqueued(t, queue, Welcome{User: "Ada"}, worker.OnQueue("mail"))
	fmt.Println(job.ID)
	workertest.RequireEnqueued(t, queue, Welcome{User: "Bob"}, worker.After(time.Hour)) // fails the test
	// Output:
	// welcome-Ada
	// no such job is enqueued: welcome {"user":"Bob"}, Delay 1h0m0s
	// the queue has 1:
	//   welcome welcome-Ada: Payload is {"user":"Ada"}, Delay is 0s, not 1h0m0s
}

// The payloads of one type, for whatever a test wants to know of them.
func ExampleEnqueued() {
	t := exampleT{} // a test has its *testing.T
	queue := workertest.NewQueue()
	client, _ := worker.NewClient(worker.Backend{Queue: queue})
	_, _ = client.Enqueue(t.Context(), Welcome{User: "Ada"}, worker.OnQueue("mail"))
	_, _ = client.Enqueue(t.Context(), Welcome{User: "Bob"}, worker.OnQueue("mail"), worker.After(time.Hour))

	fmt.Println(workertest.Enqueued[Welcome](t, queue))
	fmt.Println(workertest.Enqueued[Welcome](t, queue, worker.After(time.Hour)))
	fmt.Println(len(workertest.Enqueued[Welcome](t, queue, worker.OnQueue("default"))))
	// Output:
	// [{Ada} {Bob}]
	// [{Bob}]
	// 0
}

// A queue is run until nothing is left, retries and scheduled jobs included, in no time.
func ExampleDrain() {
	t := exampleT{} // a test has its *testing.T
	queue := workertest.NewQueue()
	queue.Clock = workertest.NewClock() // in a testing/synctest bubble none is needed
	client, _ := worker.NewClient(worker.Backend{Queue: queue})
	_, _ = client.Enqueue(t.Context(), Welcome{User: "Ada"}, worker.After(24*time.Hour))

	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, job *worker.Job, _ Welcome) error {
		if job.Attempt < 3 {
			return worker.RetryAfter(time.Hour, errors.New("the mail server is busy"))
		}
		return nil
	})
	config := worker.Config{Backend: worker.Backend{Queue: queue}, Registry: registry}

	fmt.Println(len(workertest.Drain(t, config, 0)), "due now")
	for _, run := range workertest.Drain(t, config, 48*time.Hour) {
		fmt.Println(run.Job.Attempt, run.State, run.Delay)
	}
	// Output:
	// 0 due now
	// 1 retrying 1h0m0s
	// 2 retrying 1h0m0s
	// 3 succeeded 0s
}

// A handler may be called again though it has done its work. This one sees to it that nobody pays twice.
func ExampleRunThroughCrash() {
	t := exampleT{} // a test has its *testing.T
	mails := make(map[string]int)
	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, job *worker.Job, w Welcome) error {
		if mails[job.ID] == 0 { // the mail server's own memory, say, asked with job.ID as the idempotency key
			mails[job.ID]++
		}
		return nil
	})

	for _, point := range []workertest.CrashPoint{workertest.BeforeSave, workertest.BeforeSettle} {
		result := workertest.RunThroughCrash(t, registry, point, Welcome{User: "Ada"})
		fmt.Println(result.State, "run again:", result.Ran, "mails:", mails[result.Job.ID])
	}
	// Output:
	// succeeded run again: true mails: 1
	// succeeded run again: false mails: 1
}

// A clock moves the queue's time where a bubble is not possible, as with a real database.
func ExampleClock() {
	clock := workertest.NewClock()
	queue := workertest.NewQueue()
	queue.Clock = clock
	ctx := context.Background()
	job, _ := worker.NewJob(Welcome{User: "Ada"}, worker.After(time.Hour))
	_ = queue.Enqueue(ctx, job)
	consumer, _ := queue.Consume(ctx, job.Queue, worker.ConsumeOptions{})

	claimed, _ := consumer.Claim(ctx, worker.ClaimOptions{Limit: 1})
	fmt.Println(len(claimed))
	clock.Advance(time.Hour)
	claimed, _ = consumer.Claim(ctx, worker.ClaimOptions{Limit: 1})
	fmt.Println(len(claimed))
	// Output:
	// 0
	// 1
}

// A test server follows the clock, too.
func ExampleClock_OnMove() {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Close()
	clock := workertest.NewClock()
	clock.OnMove(func(now time.Time, by time.Duration) {
		server.SetTime(now)    // what the queue's scripts read
		server.FastForward(by) // what keys expire by
	})

	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DisableCache: true, ForceSingleClient: true,
	})
	if err != nil {
		panic(err)
	}
	defer client.Close()
	queue, _ := redisqueue.New(client, redisqueue.Config{})
	ctx := context.Background()
	job, _ := worker.NewJob(Welcome{User: "Ada"}, worker.After(time.Hour))
	_ = queue.Enqueue(ctx, job)
	clock.Advance(time.Hour)
	consumer, _ := queue.Consume(ctx, job.Queue, worker.ConsumeOptions{})
	claimed, _ := consumer.Claim(ctx, worker.ClaimOptions{Limit: 1})
	fmt.Println(len(claimed))
	_ = consumer.Close(ctx)
	// Output: 1
}
