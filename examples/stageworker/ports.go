package main

import (
	"context"
	"slices"
	"strings"

	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/stage/predict"
)

// portsConfig says where pictures come from, what stages them, and where they go.
type portsConfig struct {
	source, sink, model string // which of the constants below

	originals, staged, baseURL string // of files
	http                       stage.HTTPConfig
	s3                         s3Config
	prediction                 predict.Config
}

// What SOURCE, SINK and MODEL may be.
const (
	files      = "files"
	web        = "http"
	bucket     = "s3"
	local      = "local"
	prediction = "prediction"
)

// readPorts reads what the chosen ports need, and nothing of the others.
func readPorts(e *env) portsConfig {
	c := portsConfig{
		source: e.choice("SOURCE", files, bucket, web),
		sink:   e.choice("SINK", files, bucket),
		model:  e.choice("MODEL", local, prediction),
	}
	switch c.source {
	case files:
		c.originals = e.directory("ORIGINALS_DIR", "the directory that original_url is a path in")
	case web:
		c.http = readHTTP(e)
	}
	if c.sink == files {
		c.staged = e.directory("STAGED_DIR", "the directory for staged pictures")
		c.baseURL = e.text("STAGED_BASE_URL", "")
		if err := (stage.Files{Root: ".", BaseURL: c.baseURL}).Validate(); err != nil {
			e.add("STAGED_BASE_URL: %w", err)
		}
	}
	if c.source == bucket || c.sink == bucket {
		c.s3 = readS3(e)
	}
	if c.model == prediction {
		c.prediction = readPrediction(e)
	}
	return c
}

// readHTTP reads whom original_url may lead to.
func readHTTP(e *env) stage.HTTPConfig {
	c := stage.HTTPConfig{
		AllowedHosts: e.list("ALLOWED_HOSTS"),
		MaxBytes:     e.number("MAX_BYTES", stage.DefaultMaxBytes),
	}
	switch {
	case c.AllowedHosts == nil:
		e.add("ALLOWED_HOSTS is missing: the hosts that photos are fetched from, or * for all of the public internet")
		return c
	case slices.Equal(c.AllowedHosts, []string{"*"}):
		c.AllowedHosts, c.AllowPublic = nil, true
	}
	if _, err := stage.NewHTTPSource(c); err != nil {
		e.add("ALLOWED_HOSTS: %w", err)
	}
	return c
}

// readPrediction reads which model of a prediction API is to run. The library judges.
func readPrediction(e *env) predict.Config {
	c := predict.Config{
		Token:       predict.Secret(e.required("PREDICTION_TOKEN", "the token of the prediction API")),
		BaseURL:     e.text("PREDICTION_URL", predict.DefaultBaseURL),
		Version:     e.text("PREDICTION_VERSION", ""),
		Model:       e.text("PREDICTION_MODEL", ""),
		Deployment:  e.text("PREDICTION_DEPLOYMENT", ""),
		OutputHosts: e.list("PREDICTION_OUTPUT_HOSTS"),
	}
	c.AllowHTTP = strings.HasPrefix(c.BaseURL, "http://") // whoever writes that means it
	limiter, err := predict.NewLimiter(predict.Limits{
		Concurrency: int(e.number("PREDICTION_CONCURRENCY", 0)),
		PerMinute:   float64(e.number("PREDICTION_PER_MINUTE", 0)),
	})
	if err != nil {
		e.add("PREDICTION_CONCURRENCY, PREDICTION_PER_MINUTE: %w", err)
	}
	c.Limiter = limiter
	if c.Token == "" {
		return c // that has been told
	}
	if _, err := predict.New(c); err != nil {
		e.add("PREDICTION_…: %w", err)
		return c
	}
	if c.Webhook = readWebhook(e); c.Webhook != nil {
		if _, err := predict.New(c); err != nil {
			e.add("PREDICTION_WEBHOOK_…: %w", err)
		}
	}
	return c
}

// readWebhook reads whether jobs are parked while a model runs, and how they are woken.
func readWebhook(e *env) *predict.Webhook {
	w := predict.Webhook{
		URL:    e.text("PREDICTION_WEBHOOK_URL", ""),
		Secret: predict.Secret(e.text("PREDICTION_WEBHOOK_SECRET", "")),
	}
	if (w.URL == "") != (w.Secret == "") {
		e.add("PREDICTION_WEBHOOK_URL and PREDICTION_WEBHOOK_SECRET: one is set, and the other is not")
	}
	if w.URL == "" || w.Secret == "" {
		return nil
	}
	return &w
}

// ports are what a stage.Handler works with.
type ports struct {
	source stage.Source
	model  stage.Model
	sink   stage.Sink
}

func newPorts(ctx context.Context, c portsConfig) (p ports, err error) {
	if c.source == bucket || c.sink == bucket {
		store, err := c.s3.open(ctx)
		if err != nil {
			return p, err
		}
		p.source, p.sink = store, store
	}
	switch c.source {
	case files:
		p.source = stage.Files{Root: c.originals}
	case web:
		if p.source, err = stage.NewHTTPSource(c.http); err != nil {
			return p, err
		}
	}
	if c.sink == files {
		p.sink = stage.Files{Root: c.staged, BaseURL: c.baseURL}
	}
	switch c.model {
	case local:
		p.model, err = newDemonstration()
	case prediction:
		p.model, err = predict.New(c.prediction)
	}
	return p, err
}
