package sse

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

const (
	scopeName = "github.com/real-staging-ai/go-worker" // as of the other metrics of jobs
	schemaURL = "https://opentelemetry.io/schemas/1.43.0"

	metricClients = "worker.sse.clients"
)

// newClients makes the counter of open streams.
func newClients(provider metric.MeterProvider) (metric.Int64UpDownCounter, error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	return provider.Meter(scopeName, metric.WithSchemaURL(schemaURL)).Int64UpDownCounter(metricClients, metric.WithUnit("{client}"),
		metric.WithDescription("Event streams that are open."))
}

// count adds to the open streams. What a viewer's request says is no matter of theirs, nor when its context ends.
func (h *Handler) count(streams int64) { h.clients.Add(context.Background(), streams) }
