package main

import (
	"strings"

	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/stage/predict"
)

// portsConfig says where pictures come from, what stages them, and where they go.
type portsConfig struct {
	source, sink, model string // which of the constants below

	originals, staged, baseURL string // of files
	prediction                 predict.Config
}

// What SOURCE, SINK and MODEL may be.
const (
	files      = "files"
	local      = "local"
	prediction = "prediction"
)

// readPorts reads what the chosen ports need, and nothing of the others.
func readPorts(e *env) portsConfig {
	c := portsConfig{
		source: e.choice("SOURCE", files),
		sink:   e.choice("SINK", files),
		model:  e.choice("MODEL", local, prediction),
	}
	if c.source == files {
		c.originals = e.directory("ORIGINALS_DIR", "the directory that original_url is a path in")
	}
	if c.sink == files {
		c.staged = e.directory("STAGED_DIR", "the directory for staged pictures")
		c.baseURL = e.text("STAGED_BASE_URL", "")
		if err := (stage.Files{Root: ".", BaseURL: c.baseURL}).Validate(); err != nil {
			e.add("STAGED_BASE_URL: %w", err)
		}
	}
	if c.model == prediction {
		c.prediction = readPrediction(e)
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
	}
	return c
}

// newPorts makes them.
func newPorts(c portsConfig) (stage.Source, stage.Model, stage.Sink, error) {
	source, sink := stage.Files{Root: c.originals}, stage.Files{Root: c.staged, BaseURL: c.baseURL}
	if c.model == prediction {
		model, err := predict.New(c.prediction)
		return source, model, sink, err
	}
	model, err := newDemonstration()
	return source, model, sink, err
}
