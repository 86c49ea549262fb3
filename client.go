package worker

import (
	"log/slog"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Backend is what producers and pools share. Only Queue is required: the zero value of every other field works.
type Backend struct {
	// Queue carries the jobs.
	Queue Queue
	// StatusStore keeps the jobs' statuses. Nil: they are not kept.
	StatusStore StatusStore
	// Notifier tells users about the jobs. Nil: nobody is told.
	Notifier Notifier
	// MaxPayload is the largest payload that may be enqueued, in bytes. Zero means DefaultMaxPayload.
	MaxPayload int
	// Logger takes what operators need to know. Nil means slog.Default().
	Logger *slog.Logger
	// TracerProvider, MeterProvider and Propagator are OpenTelemetry's. Nil means the global ones of package otel;
	// this library sets none.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	Propagator     propagation.TextMapPropagator
}
