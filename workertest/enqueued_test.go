package workertest_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// letter is a payload with defaults, and with a number that a float64 can't hold.
type letter struct {
	To string            `json:"to"`
	N  int64             `json:"n"`
	By map[string]string `json:"by,omitempty"`
}

func (*letter) JobType() string { return "letter" }

func (*letter) JobOptions() []worker.JobOption {
	return []worker.JobOption{worker.OnQueue("mail"), worker.WithHeader("from", "us"),
		worker.WithRetry(worker.Exponential(7, time.Second, time.Hour))}
}

func (l *letter) Validate() error {
	if l.To == "" {
		return errors.New("to is empty")
	}
	return nil
}

// send enqueues a payload.
func send(t *testing.T, q worker.Queue, p worker.Payload, opts ...worker.JobOption) *worker.Job {
	t.Helper()
	client, err := worker.NewClient(worker.Backend{Queue: q})
	require.NoError(t, err)
	job, err := client.Enqueue(t.Context(), p, opts...)
	require.NoError(t, err)
	return job
}

func TestEnqueued(t *testing.T) {
	queue := workertest.NewQueue()
	assert.Empty(t, workertest.Enqueued[greeting](t, queue))
	send(t, queue, greeting{"third"}, worker.After(2*time.Hour))
	send(t, queue, greeting{"second"}, worker.After(time.Hour))
	held := send(t, queue, greeting{"held"})
	for i := range 8 {
		send(t, queue, greeting{fmt.Sprint("held ", i)})
	}
	send(t, queue, greeting{"first"})
	send(t, queue, &letter{To: "Ada"})
	over := send(t, queue, greeting{"over"}, worker.OnQueue("other"))
	queue.EnqueueRaw("default", "garbage", []byte("{"))

	c := consume(t, queue)
	claimed, err := c.Claim(t.Context(), worker.ClaimOptions{Limit: 9})
	require.NoError(t, err)
	require.Equal(t, held.ID, claimed[0].ID)
	other, err := queue.Consume(t.Context(), "other", worker.ConsumeOptions{})
	require.NoError(t, err)
	claimed, err = other.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, over.ID, claimed[0].ID)
	require.NoError(t, other.Settle(t.Context(), worker.Verdict{Job: claimed[0], Action: worker.ActionBury}))

	assert.Equal(t, []greeting{{"held"}, {"held 0"}, {"held 1"}, {"held 2"}, {"held 3"}, {"held 4"}, {"held 5"}, {"held 6"},
		{"held 7"}, {"first"}, {"second"}, {"third"}}, workertest.Enqueued[greeting](t, queue))
	assert.Equal(t, []*letter{{To: "Ada"}}, workertest.Enqueued[*letter](t, queue))
	assert.Equal(t, []greeting{{"second"}}, workertest.Enqueued[greeting](t, queue, worker.After(time.Hour)))
	assert.Equal(t, []greeting{{"held"}}, workertest.Enqueued[greeting](t, queue, worker.WithID(held.ID)))
	assert.Empty(t, workertest.Enqueued[greeting](t, queue, worker.OnQueue("mail")))
}

func TestEnqueuedFailsTheTest(t *testing.T) {
	queue := workertest.NewQueue()
	job := &worker.Job{ID: "1", Type: "letter", Payload: []byte(`{"to":7}`)}
	client, err := worker.NewClient(worker.Backend{Queue: queue})
	require.NoError(t, err)
	require.NoError(t, client.EnqueueMany(t.Context(), job))
	got := failing(t, func(t workertest.T) { workertest.Enqueued[*letter](t, queue) })
	assert.Contains(t, got, `enqueued: decode job "1"`)
}

// Each option that a job was enqueued with finds it, and no other value of that option does.
func TestRequireEnqueued(t *testing.T) {
	due := time.Now().Add(time.Hour + 123456*time.Nanosecond)
	for name, c := range map[string]struct{ right, wrong worker.JobOption }{
		"queue":   {worker.OnQueue("slow"), worker.OnQueue("fast")},
		"id":      {worker.WithID("17"), worker.WithID("18")},
		"topic":   {worker.WithTopic("user:1"), worker.WithTopic("user:2")},
		"key":     {worker.WithKey("a"), worker.WithKey("b")},
		"header":  {worker.WithHeader("lang", "en"), worker.WithHeader("lang", "de")},
		"after":   {worker.After(90 * time.Second), worker.After(91 * time.Second)},
		"at":      {worker.At(due), worker.At(due.Add(time.Second))},
		"expiry":  {worker.ExpireAt(due), worker.ExpireAt(due.Add(time.Second))},
		"life":    {worker.ExpireAfter(time.Hour), worker.ExpireAfter(time.Hour + 2*time.Second)},
		"max":     {worker.MaxAttempts(2), worker.MaxAttempts(3)},
		"timeout": {worker.Timeout(time.Minute), worker.Timeout(time.Hour)},
		"policy": {worker.WithRetry(worker.RetryPolicy{Window: time.Hour}),
			worker.WithRetry(worker.RetryPolicy{Window: time.Minute})},
	} {
		t.Run(name, func(t *testing.T) {
			queue := workertest.NewQueue()
			sent := send(t, queue, &letter{To: "Ada"}, worker.WithHeader("trace", "1"), worker.WithTopic("t"), c.right)
			assert.Equal(t, sent.ID, workertest.RequireEnqueued(t, queue, &letter{To: "Ada"}).ID, "what isn't set may be anything")
			assert.Equal(t, sent.ID, workertest.RequireEnqueued(t, queue, &letter{To: "Ada"}, c.right, nil).ID)
			assert.Len(t, workertest.Enqueued[*letter](t, queue, c.right), 1)
			assert.Empty(t, workertest.Enqueued[*letter](t, queue, c.wrong))
			got := failing(t, func(t workertest.T) { workertest.RequireEnqueued(t, queue, &letter{To: "Ada"}, c.wrong) })
			assert.Contains(t, got, "no such job is enqueued: letter")
		})
	}
}

// A job that expires so long after its enqueue does so whenever one looks.
func TestRequireEnqueuedComparesLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := workertest.NewQueue()
		sent := send(t, queue, greeting{"Ada"}, worker.ExpireAfter(time.Hour))
		time.Sleep(10 * time.Minute)
		workertest.RequireEnqueued(t, queue, greeting{"Ada"}, worker.ExpireAfter(time.Hour))
		workertest.RequireEnqueued(t, queue, greeting{"Ada"}, worker.ExpireAt(sent.ExpiresAt))
		assert.Len(t, workertest.Enqueued[greeting](t, queue, worker.ExpireAfter(time.Hour)), 1)
		assert.Empty(t, workertest.Enqueued[greeting](t, queue, worker.ExpireAfter(50*time.Minute)))
		assert.Empty(t, workertest.Enqueued[greeting](t, queue, worker.ExpireAt(time.Now().Add(time.Hour))))
		send(t, queue, greeting{"Bob"})
		lasting := workertest.Enqueued[greeting](t, queue, worker.ExpireAfter(500*time.Millisecond))
		assert.Empty(t, lasting, "one that never expires doesn't live for a moment")
	})
}

func TestRequireEnqueuedReturnsTheFirst(t *testing.T) {
	queue := workertest.NewQueue()
	first := send(t, queue, greeting{"Ada"})
	send(t, queue, greeting{"Ada"})
	assert.Equal(t, first.ID, workertest.RequireEnqueued(t, queue, greeting{"Ada"}).ID)
}

// What a claim sets is nothing that a producer could have enqueued.
func TestRequireEnqueuedIgnoresWhatClaimsSet(t *testing.T) {
	queue := workertest.NewQueue()
	send(t, queue, greeting{"Ada"})
	past := func(j *worker.Job) { j.Attempt, j.Crashes = 3, 1 }
	workertest.RequireEnqueued(t, queue, greeting{"Ada"}, past)
	assert.Len(t, workertest.Enqueued[greeting](t, queue, past), 1)
}

func TestRequireEnqueuedComparesJSON(t *testing.T) {
	queue := workertest.NewQueue()
	client, err := worker.NewClient(worker.Backend{Queue: queue})
	require.NoError(t, err)
	byHand := &worker.Job{Type: "letter", Payload: []byte(`{"n": 9007199254740993, "to": "Ada"}`)}
	require.NoError(t, client.EnqueueMany(t.Context(), byHand))
	workertest.RequireEnqueued(t, queue, &letter{To: "Ada", N: 9007199254740993})
	got := failing(t, func(t workertest.T) { workertest.RequireEnqueued(t, queue, &letter{To: "Ada", N: 9007199254740992}) })
	assert.NotEmpty(t, got, "as floats the two are equal")
}

func TestRequireEnqueuedSaysWhatThereIs(t *testing.T) {
	queue := workertest.NewQueue()
	complaint := func(opts ...worker.JobOption) string {
		return failing(t, func(t workertest.T) { workertest.RequireEnqueued(t, queue, greeting{"Ada"}, opts...) })
	}
	assert.Equal(t, "no such job is enqueued: greeting {\"name\":\"Ada\"}\nthe queue is empty", complaint())

	send(t, queue, &letter{To: "Ada"}, worker.WithID("l"))
	send(t, queue, greeting{"Ada"}, worker.WithID("a"), worker.MaxAttempts(3))
	send(t, queue, greeting{"Bob"}, worker.WithID("b"), worker.OnQueue("mail"))
	assert.Equal(t, `no such job is enqueued: greeting {"name":"Ada"}, Queue "mail", Delay 1m0s
the queue has 3:
  greeting a: Queue is "default", not "mail", Delay is 0s, not 1m0s
  greeting b: Payload is {"name":"Bob"}, Delay is 0s, not 1m0s
  letter l: Type is letter`, complaint(worker.OnQueue("mail"), worker.After(time.Minute)))

	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	assert.Contains(t, complaint(worker.At(at), worker.MaxAttempts(4), worker.WithHeader("lang", "en")),
		"greeting a: Headers is map[], not map[lang:en], "+
			"Retry is {MaxAttempts:3 Base:0s Max:0s Window:0s}, not {MaxAttempts:4 Base:0s Max:0s Window:0s}, "+
			"RunAt is not set, not 2030-01-02T03:04:05.000Z")

	for i := range 12 {
		send(t, queue, greeting{fmt.Sprint(i)})
	}
	assert.Contains(t, complaint(worker.OnQueue("x")), "\n  and 5 more")
}

func TestRequireEnqueuedChecksThePayload(t *testing.T) {
	got := failing(t, func(t workertest.T) { workertest.RequireEnqueued(t, workertest.NewQueue(), &letter{}) })
	assert.Equal(t, "require enqueued: new job letter: payload: to is empty", got)
}

// A job that is to be retried is still enqueued.
func TestRequireEnqueuedFindsRetries(t *testing.T) {
	queue := workertest.NewQueue()
	send(t, queue, greeting{"Ada"})
	again := worker.RetryAfter(time.Hour, errors.New("flaky"))
	workertest.Drain(t, config(queue, greetings(returns(again))), 0)
	workertest.RequireEnqueued(t, queue, greeting{"Ada"})
}
