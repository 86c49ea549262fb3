package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/real-staging-ai/go-worker"
)

func TestTraceFollowsTheJobByLinks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		var inHandler trace.SpanContext
		var tenant string
		r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
			inHandler = trace.SpanContextFromContext(ctx)
			tenant = baggage.FromContext(ctx).Member("tenant").Value()
			return failUntil(2)(job.Attempt)
		}, func(c *worker.Config) {
			c.TracerProvider = provider
			c.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
		}).start()
		member, err := baggage.NewMember("tenant", "42")
		require.NoError(t, err)
		bag, err := baggage.New(member)
		require.NoError(t, err)
		ctx, root := provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), bag), "request")
		job, err := r.pool.Client().Enqueue(ctx, ping{1})
		require.NoError(t, err)
		root.End()
		r.after(time.Minute)
		r.stop()

		ended := map[string][]sdktrace.ReadOnlySpan{}
		for _, s := range spans.Ended() {
			ended[s.Name()] = append(ended[s.Name()], s)
		}
		require.Len(t, ended["send default"], 1)
		send := ended["send default"][0]
		assert.Equal(t, root.SpanContext().SpanID(), send.Parent().SpanID())
		assert.Equal(t, trace.SpanKindProducer, send.SpanKind())
		require.Len(t, ended["process default"], 2, "one span an attempt")
		for i, s := range ended["process default"] {
			assert.Equal(t, trace.SpanKindConsumer, s.SpanKind())
			assert.False(t, s.Parent().IsValid(), "a new root")
			require.Len(t, s.Links(), 1)
			assert.Equal(t, send.SpanContext().SpanID(), s.Links()[0].SpanContext.SpanID())
			attrs := map[string]string{}
			for _, kv := range s.Attributes() {
				attrs[string(kv.Key)] = kv.Value.String()
			}
			assert.Equal(t, job.ID, attrs["messaging.message.id"])
			assert.Equal(t, []string{"retrying", "succeeded"}[i], attrs["worker.job.outcome"])
			assert.Equal(t, []codes.Code{codes.Error, codes.Unset}[i], s.Status().Code)
		}
		assert.Equal(t, ended["process default"][1].SpanContext().SpanID(), inHandler.SpanID())
		assert.Equal(t, "42", tenant)
	})
}

func TestMetricsTellJobsProcessedFailedAndTheirTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		r := newRig(t, func(_ context.Context, job *worker.Job, p ping) error {
			time.Sleep(3 * time.Second)
			if p.N == 0 {
				return worker.Permanent(errFlaky)
			}
			return nil
		}, func(c *worker.Config) { c.MeterProvider = metric.NewMeterProvider(metric.WithReader(reader)) }).start()
		for i := range 3 {
			r.enqueue(i)
		}
		r.after(time.Minute)
		r.stop()

		var rm metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &rm))
		require.Len(t, rm.ScopeMetrics, 1)
		finished := map[string]int64{}
		var sent int64
		var count uint64
		var seconds float64
		for _, m := range rm.ScopeMetrics[0].Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					outcome, _ := p.Attributes.Value("worker.job.outcome")
					switch m.Name {
					case "worker.job.finished":
						finished[outcome.AsString()] += p.Value
					case "messaging.client.sent.messages":
						sent += p.Value
					}
				}
			case metricdata.Histogram[float64]:
				assert.Equal(t, "messaging.process.duration", m.Name)
				assert.Equal(t, "s", m.Unit)
				for _, p := range data.DataPoints {
					count += p.Count
					seconds += p.Sum
				}
			}
		}
		assert.Equal(t, map[string]int64{"succeeded": 2, "failed": 1}, finished)
		assert.EqualValues(t, 3, sent)
		assert.EqualValues(t, 3, count)
		assert.InDelta(t, 9, seconds, 0.01)
	})
}
