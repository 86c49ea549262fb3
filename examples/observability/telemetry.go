package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// telemetry is OpenTelemetry's SDK as a host sets it up. It touches no globals.
type telemetry struct {
	registry   *prometheus.Registry
	meters     *sdkmetric.MeterProvider
	tracers    *sdktrace.TracerProvider
	propagator propagation.TextMapPropagator
}

// newTelemetry makes metrics for Prometheus and, if there is an endpoint, traces that are sent to it. Here all are
// sampled; a busy service takes sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01)).
func newTelemetry(ctx context.Context, endpoint string) (*telemetry, error) {
	about := resource.NewSchemaless(attribute.String("service.name", "observability-example"))
	registry := prometheus.NewRegistry()
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo(),
		otelprom.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes)) // the names of the dashboard
	if err != nil {
		return nil, fmt.Errorf("export metrics: %w", err)
	}
	t := &telemetry{
		registry: registry,
		meters:   sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(about)),
		propagator: propagation.NewCompositeTextMapPropagator(
			propagation.TraceContext{}, propagation.Baggage{}),
	}
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(about), sdktrace.WithSampler(sdktrace.NeverSample())}
	if endpoint != "" {
		target, err := url.JoinPath(endpoint, "v1/traces")
		if err != nil {
			return nil, fmt.Errorf("export traces: %w", err)
		}
		sender, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(target))
		if err != nil {
			return nil, fmt.Errorf("export traces: %w", err)
		}
		options = append(options, sdktrace.WithSampler(sdktrace.AlwaysSample()),
			sdktrace.WithBatcher(sender, sdktrace.WithBatchTimeout(time.Second)))
	}
	t.tracers = sdktrace.NewTracerProvider(options...)
	return t, nil
}

// close sends what is left.
func (t *telemetry) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(t.tracers.Shutdown(ctx), t.meters.Shutdown(ctx))
}
