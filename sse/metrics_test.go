package sse_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
)

// clients returns what worker.sse.clients says, -1 when it was never counted.
func clients(t *testing.T, reader *sdk.ManualReader) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &all))
	if len(all.ScopeMetrics) == 0 {
		return -1
	}
	require.Len(t, all.ScopeMetrics, 1)
	require.Equal(t, "github.com/real-staging-ai/go-worker", all.ScopeMetrics[0].Scope.Name)
	require.Len(t, all.ScopeMetrics[0].Metrics, 1)
	m := all.ScopeMetrics[0].Metrics[0]
	require.Equal(t, "worker.sse.clients", m.Name)
	require.Equal(t, "{client}", m.Unit)
	require.NotEmpty(t, m.Description)
	sum, ok := m.Data.(metricdata.Sum[int64])
	require.True(t, ok)
	require.False(t, sum.IsMonotonic)
	require.Len(t, sum.DataPoints, 1)
	require.Zero(t, sum.DataPoints[0].Attributes.Len())
	return sum.DataPoints[0].Value
}

// However a stream ends, it is not counted any more.
func TestOpenStreamsAreCounted(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  sse.Config
		end  func(s *site, v *viewer)
	}{
		{"the viewer leaves", sse.Config{}, func(_ *site, v *viewer) { v.body.Close() }},
		{"shutdown", sse.Config{}, func(s *site, v *viewer) { s.handler.Shutdown(); v.ends() }},
		{"its age", sse.Config{MaxAge: time.Minute, Heartbeat: time.Hour}, func(_ *site, v *viewer) { v.ends() }},
		{"all jobs are final", sse.Config{Encode: brief, EndAfterFinal: true}, func(s *site, v *viewer) {
			s.tell(life("a")...)
			v.reads(texts(life("a")...)...)
			v.ends()
		}},
		{"a viewer that doesn't read", sse.Config{WriteTimeout: time.Second}, func(s *site, _ *viewer) {
			for i := range int64(4000) {
				s.tell(status("a", 1, running, i+1))
			}
			time.Sleep(time.Minute)
		}},
		{"a panic", sse.Config{Encode: func(worker.Event) (sse.Message, bool) { panic(http.ErrAbortHandler) }}, func(s *site, v *viewer) {
			s.tell(life("a")...)
			_, err := v.receive()
			require.Error(s.t, err)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reader := sdk.NewManualReader()
				tt.cfg.MeterProvider = sdk.NewMeterProvider(sdk.WithReader(reader))
				s := open(t, tt.cfg)
				v := s.view("topic=job:a", "")
				synctest.Wait()
				require.EqualValues(t, 1, clients(t, reader))
				tt.end(s, v)
				synctest.Wait()
				require.Zero(t, s.handler.Streams())
				require.Zero(t, clients(t, reader))
			})
		})
	}
}

// Refused requests leave nothing behind.
func TestRefusedStreamsAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdk.NewManualReader()
		s := open(t, sse.Config{
			MaxStreams: 1, MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader)),
			Authorize: func(_ *http.Request, topic string) error {
				if topic == "secret" {
					return errors.New("no")
				}
				return nil
			},
		})
		require.Equal(t, http.StatusForbidden, s.get("topic=secret", "").code)
		require.EqualValues(t, -1, clients(t, reader))
		s.view("topic=a", "")
		require.Equal(t, http.StatusServiceUnavailable, s.get("topic=a", "").code)
		synctest.Wait()
		require.EqualValues(t, 1, clients(t, reader))
	})
}

// deaf is a subscriber that refuses.
type deaf struct{}

func (deaf) Subscribe(context.Context, string, string) (<-chan worker.Event, error) {
	return nil, errors.New("deaf")
}

func TestStreamsThatCannotSubscribeAreNotCounted(t *testing.T) {
	reader := sdk.NewManualReader()
	h, err := sse.NewHandler(deaf{}, sse.Config{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader))})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	require.Error(t, h.Stream(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody), "a"))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Zero(t, clients(t, reader))
}

// poor is a MeterProvider whose meters make nothing.
type poor struct{ noop.MeterProvider }

type poorMeter struct{ noop.Meter }

func (poor) Meter(string, ...metric.MeterOption) metric.Meter { return poorMeter{} }

func (poorMeter) Int64UpDownCounter(string, ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	return nil, errors.New("poor")
}

func TestAMeterThatFailsIsReported(t *testing.T) {
	_, err := sse.NewHandler(deaf{}, sse.Config{MeterProvider: poor{}})
	require.ErrorContains(t, err, "new SSE handler: poor")
}

// asking is a MeterProvider whose counters ask the handler.
type asking struct {
	noop.MeterProvider
	handler *sse.Handler
}

type askingMeter struct {
	noop.Meter
	*asking
}

type askingCounter struct {
	noop.Int64UpDownCounter
	*asking
}

func (a *asking) Meter(string, ...metric.MeterOption) metric.Meter { return askingMeter{asking: a} }

func (m askingMeter) Int64UpDownCounter(string, ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	return askingCounter{asking: m.asking}, nil
}

func (c askingCounter) Add(context.Context, int64, ...metric.AddOption) { c.handler.Streams() }

// No lock is held while the host's meter is called. Where one is, this hangs.
func TestAMeterMayCallTheHandler(t *testing.T) {
	meter := &asking{}
	h, err := sse.NewHandler(deaf{}, sse.Config{MeterProvider: meter})
	require.NoError(t, err)
	meter.handler = h
	require.Error(t, h.Stream(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody), "a"))
	require.Zero(t, h.Streams())
}
