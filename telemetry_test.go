package worker_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	apimetric "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// recorded is what a test's SDK hears.
type recorded struct {
	spans    *tracetest.SpanRecorder
	provider *sdktrace.TracerProvider
	reader   *metric.ManualReader
	log      strings.Builder
	all      map[string]metricdata.Metrics // what eventful has collected
}

func record() *recorded {
	r := &recorded{spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	r.provider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	return r
}

// by makes a pool tell r.
func (r *recorded) by(c *worker.Config) {
	c.TracerProvider = r.provider
	c.MeterProvider = metric.NewMeterProvider(metric.WithReader(r.reader))
	c.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	c.Logger = slog.New(slog.NewJSONHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// ended returns the spans of a name, the first to end first.
func (r *recorded) ended(name string) (spans []sdktrace.ReadOnlySpan) {
	for _, s := range r.spans.Ended() {
		if s.Name() == name {
			spans = append(spans, s)
		}
	}
	return spans
}

// metrics collects.
func (r *recorded) metrics(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &rm))
	all := make(map[string]metricdata.Metrics)
	for _, scope := range rm.ScopeMetrics {
		require.Equal(t, "github.com/real-staging-ai/go-worker", scope.Scope.Name)
		for _, m := range scope.Metrics {
			all[m.Name] = m
		}
	}
	return all
}

func attrsOf(s sdktrace.ReadOnlySpan) map[string]string {
	attrs := make(map[string]string)
	for _, kv := range s.Attributes() {
		attrs[string(kv.Key)] = kv.Value.String()
	}
	return attrs
}

func linked(s sdktrace.ReadOnlySpan) (ids []trace.SpanID) {
	for _, l := range s.Links() {
		ids = append(ids, l.SpanContext.SpanID())
	}
	return ids
}

func TestTraceFollowsTheJobByLinks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		var inHandler trace.SpanContext
		var tenant string
		r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
			inHandler = trace.SpanContextFromContext(ctx)
			tenant = baggage.FromContext(ctx).Member("tenant").Value()
			return failUntil(3)(job.Attempt)
		}, rec.by).start()
		member, err := baggage.NewMember("tenant", "42")
		require.NoError(t, err)
		bag, err := baggage.New(member)
		require.NoError(t, err)
		ctx, root := rec.provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), bag), "request")
		job, err := r.pool.Client().Enqueue(ctx, ping{1})
		require.NoError(t, err)
		root.End()
		r.after(time.Hour)
		r.stop()

		require.Len(t, rec.ended("send default"), 1)
		send := rec.ended("send default")[0]
		assert.Equal(t, root.SpanContext().SpanID(), send.Parent().SpanID())
		attempts := rec.ended("process default")
		require.Len(t, attempts, 3, "one span an attempt")
		before := []trace.SpanID{send.SpanContext().SpanID()}
		for i, s := range attempts {
			assert.False(t, s.Parent().IsValid(), "a new root")
			assert.Equal(t, before, linked(s), "what enqueued it, and the attempt before")
			assert.Equal(t, job.ID, attrsOf(s)["messaging.message.id"])
			assert.Equal(t, []string{"retrying", "retrying", "succeeded"}[i], attrsOf(s)["worker.job.outcome"])
			assert.Equal(t, []codes.Code{codes.Error, codes.Error, codes.Unset}[i], s.Status().Code)
			before = []trace.SpanID{send.SpanContext().SpanID(), s.SpanContext().SpanID()}
		}
		assert.Equal(t, "*errors.errorString", attempts[0].Events()[0].Attributes[0].Value.AsString(), "the handler's own")
		assert.Equal(t, attempts[2].SpanContext().SpanID(), inHandler.SpanID())
		assert.Equal(t, "42", tenant)
	})
}

func TestTraceParentMakesOneTrace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			return failUntil(2)(job.Attempt)
		}, rec.by, func(c *worker.Config) { c.TraceParent, c.TraceCalls = true, true }).start()
		r.enqueue(1)
		r.after(time.Hour)
		r.stop()
		send, attempts := rec.ended("send default")[0].SpanContext(), rec.ended("process default")
		assert.Equal(t, send.SpanID(), attempts[0].Parent().SpanID())
		assert.Equal(t, send.TraceID(), attempts[0].SpanContext().TraceID())
		assert.Equal(t, []trace.SpanID{send.SpanID()}, linked(attempts[0]))
		assert.False(t, attempts[1].Parent().IsValid(), "a later attempt is a trace of its own")
		settled := rec.ended("settle default")
		assert.Len(t, settled, 2)
		for i, s := range settled {
			assert.Equal(t, []trace.SpanID{attempts[i].SpanContext().SpanID()}, linked(s), "the attempt that it settles")
		}
		assert.Len(t, rec.ended("save statuses"), 4, "running and outcome of both attempts")
	})
}

// A worker without an SDK hands on what it was given, and adds nothing of its own.
func TestWithoutAnSDKTheContextTravelsOn(t *testing.T) {
	for _, parent := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			rec := record()
			var inHandler []trace.SpanContext
			var before []string
			r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
				inHandler = append(inHandler, trace.SpanContextFromContext(ctx))
				before = append(before, job.PreviousTrace)
				return failUntil(3)(job.Attempt)
			}, rec.by, func(c *worker.Config) {
				c.TracerProvider, c.TraceParent = notrace.NewTracerProvider(), parent
			}).start()
			ctx, request := rec.provider.Tracer("test").Start(t.Context(), "request")
			_, err := r.pool.Client().Enqueue(ctx, ping{1})
			require.NoError(t, err)
			r.after(time.Hour)
			r.stop()
			require.Len(t, inHandler, 3)
			for _, sc := range inHandler {
				assert.Equal(t, request.SpanContext().SpanID(), sc.SpanID())
			}
			assert.Equal(t, []string{"", "", ""}, before)
		})
	}
}

// Of what doesn't fit into the headers baggage is left out first, and the host's own headers never.
func TestTraceContextIsCapped(t *testing.T) {
	rec := record()
	cfg := worker.Config{Backend: worker.Backend{Queue: workertest.NewQueue()}}
	rec.by(&cfg)
	client, err := worker.NewClient(cfg.Backend)
	require.NoError(t, err)
	member, err := baggage.NewMember("much", strings.Repeat("x", 4080))
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		bag  baggage.Baggage
		host int
		want []string
	}{
		{"all fits", baggage.Baggage{}, 10, []string{"host", "traceparent"}},
		{"baggage is too much", bag, 10, []string{"host", "traceparent"}},
		{"the host has left no room", baggage.Baggage{}, worker.MaxHeadersSize - 10, []string{"host"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, span := rec.provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), c.bag), "request")
			defer span.End()
			job, err := client.Enqueue(ctx, ping{1}, worker.WithHeader("host", strings.Repeat("h", c.host)))
			require.NoError(t, err)
			require.Equal(t, c.want, slices.Sorted(maps.Keys(job.Headers)))
		})
	}
}

// countingPropagator counts how often it is asked.
type countingPropagator struct {
	propagation.TraceContext
	injected int
}

func (p *countingPropagator) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	p.injected++
	p.TraceContext.Inject(ctx, c)
}

func TestACallForSeveralQueuesIsOneSpan(t *testing.T) {
	rec, asked := record(), &countingPropagator{}
	cfg := worker.Config{Backend: worker.Backend{Queue: workertest.NewQueue()}}
	rec.by(&cfg)
	cfg.Propagator = asked
	client, err := worker.NewClient(cfg.Backend)
	require.NoError(t, err)
	jobs := make([]*worker.Job, 3)
	for i, queue := range []string{"a", "b", "b"} {
		jobs[i], err = worker.NewJob(ping{i}, worker.OnQueue(queue))
		require.NoError(t, err)
	}
	require.NoError(t, client.EnqueueMany(t.Context(), jobs...))
	require.Len(t, rec.ended("send"), 1, "no queue is that of all")
	assert.Equal(t, map[string]string{"messaging.system": "redis", "messaging.operation.name": "send",
		"messaging.operation.type": "send", "messaging.batch.message_count": "3"}, attrsOf(rec.ended("send")[0]))
	assert.Equal(t, 1, asked.injected)
	for _, job := range jobs {
		assert.Contains(t, job.Headers["traceparent"], rec.ended("send")[0].SpanContext().SpanID().String())
	}
	jobs[0].Headers["traceparent"] = "its own"
	assert.NotEqual(t, "its own", jobs[1].Headers["traceparent"])

	require.Error(t, client.EnqueueMany(t.Context(), &worker.Job{Type: "ping", Queue: "a b"}))
	assert.Len(t, rec.spans.Ended(), 1, "what is not in order is not sent")
}

func TestPanicsAreRecordedWithTheirStack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(context.Context, *worker.Job, ping) error { panic("oh") }, rec.by).start()
		r.enqueue(1, worker.MaxAttempts(1))
		r.after(time.Minute)
		r.stop()
		span := rec.ended("process default")[0]
		require.Len(t, span.Events(), 1)
		event := attribute.NewSet(span.Events()[0].Attributes...)
		stack, _ := event.Value("exception.stacktrace")
		assert.Contains(t, stack.AsString(), "telemetry_test.go")
		text, _ := event.Value("exception.message")
		assert.Equal(t, "panic: oh", text.AsString())
		assert.Equal(t, "panic", attrsOf(span)["error.type"])
	})
}

// Whatever a handler says when its time is up, it is a timeout; and a job that can't be read is counted on its queue.
func TestMetricsTellWhyAttemptsFailed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(ctx context.Context, _ *worker.Job, p ping) error {
			if p.N == 0 {
				return worker.Permanent(errFlaky)
			}
			<-ctx.Done()
			return errFlaky
		}, rec.by).start()
		r.enqueue(0)
		r.enqueue(1, worker.Timeout(time.Second), worker.MaxAttempts(1))
		r.queue.EnqueueRaw("default", "garbage", []byte("{"))
		r.after(time.Minute)
		r.stop()
		failed := map[string]int64{}
		for _, p := range rec.metrics(t)["worker.job.finished"].Data.(metricdata.Sum[int64]).DataPoints {
			queue, _ := p.Attributes.Value("messaging.destination.name")
			jobType, _ := p.Attributes.Value("worker.job.type")
			class, _ := p.Attributes.Value("error.type")
			failed[queue.AsString()+" "+jobType.AsString()+" "+class.AsString()] = p.Value
		}
		assert.Equal(t, map[string]int64{
			"default ping permanent": 1, "default ping timeout": 1, "default unknown decode": 1}, failed)
	})
}

// An error whose own methods panic is still the handler's panic, whatever telemetry asks of it.
func TestErrorsThatPanicAreClassed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return angryError{} }, rec.by).start()
		job := r.enqueue(1, worker.MaxAttempts(1))
		r.after(time.Minute)
		r.stop()
		assert.Equal(t, failed, r.last(job.ID).State)
		assert.Equal(t, "panic", attrsOf(rec.ended("process default")[0])["error.type"])
	})
}

type angryError struct{}

func (angryError) Error() string { return "angry" }
func (angryError) Is(error) bool { panic("don't ask") }

func TestLogsSayWhichJobAndTrace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			return failUntil(2)(job.Attempt)
		}, rec.by).start()
		job := r.enqueue(1)
		r.after(time.Hour)
		r.stop()
		type line struct {
			Level, Msg, Job, Type, Queue string
			Attempt                      int
			TraceID                      string `json:"trace_id"`
			Error                        string
		}
		var lines []line
		for text := range strings.Lines(rec.log.String()) {
			var l line
			require.NoError(t, json.Unmarshal([]byte(text), &l))
			if l.Job != "" {
				require.Equal(t, job.ID, l.Job)
				require.Equal(t, "ping", l.Type)
				require.NotEmpty(t, l.TraceID)
				lines = append(lines, line{Level: l.Level, Msg: l.Msg, Attempt: l.Attempt, Error: l.Error})
			}
		}
		enqueued := line{Level: "DEBUG", Msg: "job enqueued"}
		assert.Contains(t, lines, enqueued, "before the first attempt or beside it")
		lines = slices.DeleteFunc(lines, func(l line) bool { return l == enqueued })
		assert.Equal(t, []line{
			{Level: "DEBUG", Msg: "attempt started", Attempt: 1},
			{Level: "WARN", Msg: "attempt failed, the job will run again", Attempt: 1, Error: errFlaky.Error()},
			{Level: "DEBUG", Msg: "attempt started", Attempt: 2},
			{Level: "DEBUG", Msg: "attempt ended", Attempt: 2},
		}, lines)
	})
}

// What could be told of each job at once is told once a minute: a store that refuses all data floods no log.
func TestRefusedStatusesAreToldOnceAMinute(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil }, rec.by)
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			if statuses[0].State == worker.StateQueued {
				return nil
			}
			return worker.Permanent(errFlaky)
		}
		r.start()
		for i := range 20 {
			r.enqueue(i)
		}
		r.after(time.Second)
		told := func() int { return strings.Count(rec.log.String(), "the status store refuses a status") }
		assert.Equal(t, 1, told())
		r.after(time.Minute)
		r.enqueue(1)
		r.after(time.Second)
		assert.Equal(t, 2, told())
		r.stop()
	})
}

func TestLogsTellWhatClientsDo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, nil, rec.by)
		job := r.enqueue(1)
		_, err := r.pool.Client().Cancel(t.Context(), job.ID)
		require.NoError(t, err)
		require.NoError(t, r.pool.Client().Requeue(t.Context(), job.ID))
		assert.Contains(t, rec.log.String(), `"msg":"job canceled","state":"canceled","job":"`+job.ID)
		assert.Contains(t, rec.log.String(), `"msg":"job requeued","job":"`+job.ID)
	})
}

// statsQueue counts how often it is asked for stats.
type statsQueue struct {
	*workertest.MemoryQueue
	asked int // read when all is quiet
}

func (q *statsQueue) Stats(ctx context.Context, queue string) (worker.QueueStats, error) {
	q.asked++
	return q.MemoryQueue.Stats(ctx, queue)
}

// Who collects nothing pays for no samples; who does finds one at the first collection, and none of a pool that has ended.
func TestGaugesAreSampledWhileSomebodyCollects(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		idle := &statsQueue{MemoryQueue: workertest.NewQueue()}
		r := newRig(t, nil, func(c *worker.Config) { c.Queue = idle }).start()
		r.after(time.Hour)
		r.stop()
		assert.Zero(t, idle.asked)

		rec := record()
		watched := &statsQueue{MemoryQueue: workertest.NewQueue()}
		r = newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			<-ctx.Done()
			return ctx.Err()
		}, rec.by, func(c *worker.Config) { c.Queue, c.Concurrency = watched, 2 }).start()
		for range 5 {
			r.enqueue(1)
		}
		r.enqueue(1, worker.After(time.Hour))
		r.after(20 * time.Second)
		require.Equal(t, 1, watched.asked, "at the start")
		rec.metrics(t)
		r.after(16 * time.Second)
		asked := watched.asked
		require.Equal(t, 3, asked, "at the first collection, and 15 s later")
		got := rec.metrics(t)
		depth := map[string]int64{}
		for _, p := range got["worker.queue.depth"].Data.(metricdata.Gauge[int64]).DataPoints {
			state, _ := p.Attributes.Value("worker.queue.state")
			depth[state.AsString()] = p.Value
		}
		assert.Equal(t, map[string]int64{"waiting": 3, "scheduled": 1, "running": 2, "dead": 0}, depth)
		assert.EqualValues(t, 2, got["worker.pool.active"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		assert.EqualValues(t, 2, got["worker.pool.slots"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		r.after(time.Hour)
		assert.LessOrEqual(t, watched.asked, asked+9, "nobody has collected for two minutes")
		r.stop()
		assert.NotContains(t, rec.metrics(t), "worker.queue.depth")
		assert.NotContains(t, rec.metrics(t), "worker.pool.slots")
	})
}

// A host may ask the pool anything while its metrics are collected, also while the pool starts or stops: what the SDK makes
// wait for the collection must not hold what the host asks for.
func TestACollectionMayAskThePool(t *testing.T) {
	rec := record()
	r := newRig(t, nil, rec.by)
	claimed, collecting := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.queue.Fault = func(_ context.Context, call string) error {
		if call == "Claim" {
			once.Do(func() { close(claimed) })
		}
		return nil
	}
	meter := r.cfg.MeterProvider.Meter("host")
	gauge, err := meter.Int64ObservableGauge("host.ready")
	require.NoError(t, err)
	host, err := meter.RegisterCallback(func(ctx context.Context, _ apimetric.Observer) error {
		close(collecting)
		<-claimed // the pool is about to register its gauges
		r.pool.Health(ctx)
		return nil
	}, gauge)
	require.NoError(t, err)
	collected := make(chan error)
	go func() { collected <- rec.reader.Collect(context.Background(), new(metricdata.ResourceMetrics)) }()
	<-collecting
	r.start()
	require.NoError(t, <-collected)
	require.NoError(t, host.Unregister())

	hold, collecting2 := make(chan struct{}), make(chan struct{})
	host, err = meter.RegisterCallback(func(context.Context, apimetric.Observer) error {
		close(collecting2)
		<-hold
		return nil
	}, gauge)
	require.NoError(t, err)
	go func() { collected <- rec.reader.Collect(context.Background(), new(metricdata.ResourceMetrics)) }()
	<-collecting2
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.NoError(t, r.pool.Stop(ctx), "it doesn't wait for the host's callback")
	close(hold)
	require.NoError(t, <-collected)
	require.NoError(t, host.Unregister())
}

// Pools of one process, on one SDK: what each has of its own adds up, what all of them see doesn't.
func TestPoolsOfAProcessAddUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		block := func(ctx context.Context, _ *worker.Job, _ ping) error {
			<-ctx.Done()
			return ctx.Err()
		}
		one := newRig(t, block, rec.by)
		two := newRig(t, block, func(c *worker.Config) { *c = one.cfg })
		one.enqueue(1)
		one.start()
		two.start()
		one.after(time.Second)
		rec.metrics(t)
		one.after(time.Second)
		got := rec.metrics(t)
		assert.EqualValues(t, 8, got["worker.pool.slots"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		assert.EqualValues(t, 1, got["worker.pool.active"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		workers := got["worker.queue.workers"].Data.(metricdata.Gauge[int64]).DataPoints
		require.Len(t, workers, 1)
		assert.EqualValues(t, 2, workers[0].Value)
		one.stop()
		got = rec.metrics(t)
		assert.EqualValues(t, 4, got["worker.pool.slots"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		two.stop()
	})
}

// The span in which a host starts its pool is not the parent of all that its handlers ever do.
func TestJobsAreNoPartOfThePoolsStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var inHandler trace.SpanContext
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			inHandler = trace.SpanContextFromContext(ctx)
			return nil
		}, func(c *worker.Config) { c.TracerProvider = notrace.NewTracerProvider() })
		ctx, span := record().provider.Tracer("test").Start(t.Context(), "start")
		require.NoError(t, r.pool.Start(ctx))
		span.End()
		r.enqueue(1)
		r.after(time.Second)
		r.stop()
		assert.False(t, inHandler.IsValid())
	})
}

// table is one of docs/telemetry.md: by the name in its first column, the other cells.
func table(t *testing.T, first string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("docs/telemetry.md")
	require.NoError(t, err)
	rows := make(map[string][]string)
	in := false
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			in = false
		case cells[0] == first:
			in = true
		case in && strings.HasPrefix(cells[0], "`"):
			rows[strings.Trim(cells[0], "`")] = cells[1:]
		}
	}
	require.NotEmpty(t, rows)
	return rows
}

var code = regexp.MustCompile("`([^`]+)`")

// names returns what a cell has in code, sorted.
func names(cell string) []string {
	set := make(map[string]bool)
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		set[m[1]] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// ofSSE are the rows that another package emits; its own tests have them.
var ofSSE = []string{"worker.sse.clients"}

// What the tables say is what a run emits in which everything happens, name by name.
func TestTheTablesSayWhatIsEmitted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		eventful(t, rec)
		spans := table(t, "span")
		emitted := make(map[string]map[string]bool)
		for _, s := range rec.spans.Ended() {
			name := strings.Replace(s.Name(), " default", " {queue}", 1)
			require.Contains(t, spans, name, "a span that the table lacks")
			require.Equal(t, strings.ToLower(s.SpanKind().String()), spans[name][0], name)
			if emitted[name] == nil {
				emitted[name] = make(map[string]bool)
			}
			for key := range attrsOf(s) {
				emitted[name][key] = true
			}
		}
		for name, row := range spans {
			require.Contains(t, emitted, name, "a span that the run lacks")
			require.Equal(t, names(row[2]), slices.Sorted(maps.Keys(emitted[name])), name)
		}

		metrics := table(t, "metric")
		got := rec.all
		for name, m := range got {
			require.Contains(t, metrics, name, "a metric that the table lacks")
			row := metrics[name]
			require.Equal(t, []string{m.Unit}, names(row[1]), "%s: unit", name)
			kind, _, _ := strings.Cut(row[0], ",")
			have, keys := describe(m.Data)
			require.Equal(t, kind, have, name)
			wanted := names(row[2])
			if wanted == nil {
				wanted = []string{}
			}
			require.ElementsMatch(t, wanted, keys, name)
		}
		emits := slices.AppendSeq(slices.Clone(ofSSE), maps.Keys(got))
		for name := range metrics {
			require.Contains(t, emits, name, "a metric that the run lacks")
		}
	})
}

// describe returns a metric's kind in the table's words, and the attributes of all its points.
func describe(data metricdata.Aggregation) (kind string, keys []string) {
	set := make(map[string]bool)
	add := func(attrs attribute.Set) {
		for _, kv := range attrs.ToSlice() {
			set[string(kv.Key)] = true
		}
	}
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		kind = "up-down counter"
		if d.IsMonotonic {
			kind = "counter"
		}
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Gauge[int64]:
		kind = "gauge"
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Gauge[float64]:
		kind = "gauge"
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Histogram[int64]:
		kind = "histogram"
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	}
	return kind, slices.Collect(maps.Keys(set))
}

// eventful is a run in which all that telemetry tells of happens.
func eventful(t *testing.T, rec *recorded) {
	t.Helper()
	free := make(chan struct{})
	r := newRig(t, func(ctx context.Context, job *worker.Job, p ping) error {
		switch p.N {
		case 1:
			return failUntil(2)(job.Attempt)
		case 2:
			panic("oh")
		case 3:
			if job.Attempt == 1 && time.Since(job.EnqueuedAt) < time.Minute {
				return worker.Snooze(2 * time.Minute)
			}
		case 4: // ignores the end of its context
			<-free
		case 5: // loses its lease
			if job.Crashes == 0 {
				<-ctx.Done()
			}
		}
		return nil
	}, rec.by, func(c *worker.Config) { c.TraceCalls = true })
	r.told.Fault = func(_ context.Context, statuses []worker.Status) error {
		if slices.ContainsFunc(statuses, func(st worker.Status) bool { return st.State == failed }) {
			return errFlaky
		}
		return nil
	}
	var stored atomic.Bool
	r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
		if statuses[0].State == worker.StateRunning && !stored.Swap(true) {
			return errFlaky
		}
		return nil
	}
	var refused atomic.Bool
	r.queue.Fault = func(_ context.Context, call string) error {
		if call == "Settle" && refused.CompareAndSwap(false, true) {
			return errFlaky
		}
		return nil
	}
	enqueue := r.queue.Fault
	r.queue.Fault = func(context.Context, string) error { return errFlaky }
	_, err := r.pool.Client().Enqueue(t.Context(), ping{0})
	require.ErrorIs(t, err, errFlaky)
	r.queue.Fault = enqueue
	r.enqueue(0)
	dead, err := r.queue.Consume(t.Context(), "default", worker.ConsumeOptions{})
	require.NoError(t, err)
	_, err = dead.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
	require.NoError(t, err)
	r.queue.Crash(dead)
	r.start()
	jobs := make([]*worker.Job, 4)
	for i := range jobs {
		jobs[i], err = worker.NewJob(ping{0})
		require.NoError(t, err)
	}
	require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), jobs...))
	r.enqueue(1)
	r.enqueue(2, worker.MaxAttempts(1))
	r.enqueue(3)
	r.enqueue(4, worker.Timeout(time.Second))
	r.after(5 * time.Minute)
	r.enqueue(5)
	r.after(time.Second)
	r.queue.Crash(r.queue.Consumers("default")[0])
	r.after(5 * time.Minute)
	rec.all = rec.metrics(t)
	r.after(20 * time.Second)
	rec.all = rec.metrics(t)
	close(free)
	r.after(time.Second)
	r.stop()
}
