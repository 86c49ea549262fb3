package worker_test

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/real-staging-ai/go-worker"
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
		require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", scope.Scope.SchemaURL)
		for _, m := range scope.Metrics {
			all[m.Name] = m
		}
	}
	return all
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
