package predict

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// Model is a stage.Model that runs a hosted model. It may run any number of jobs at once.
type Model struct {
	cfg     Config
	api     *api
	outputs *http.Client
}

var (
	_ stage.RemoteModel = (*Model)(nil)
	_ stage.LazyModel   = (*Model)(nil)
)

// New makes a Model, or reports all that is wrong with the configuration.
func New(cfg Config) (*Model, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	base, err := checkURL(cfg.BaseURL, cfg.AllowHTTP)
	if err != nil {
		return nil, fmt.Errorf("predict: BaseURL: %w", err)
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport(cfg, base)
	}
	m := &Model{api: newAPI(cfg, base), outputs: newOutputs(cfg, base)}
	cfg.Token = "" // from here on only requests have it
	m.cfg = cfg
	return m, nil
}

// Remote implements stage.RemoteModel: pictures are sent, received and stored as they are encoded.
func (*Model) Remote() bool { return true }

// Cancel ends a prediction, for hosts that cancel a job that no worker runs; see Config.Created. One that is over stays as
// it is. An *APIError of status 404 says that the API doesn't know it. Jobs that run need no such call.
func (m *Model) Cancel(ctx context.Context, predictionID string) error {
	if !validID(predictionID) {
		return fmt.Errorf("cancel: %.40q is no id of a prediction", predictionID)
	}
	_, err := m.api.cancel(ctx, predictionID)
	return err
}

// CloseIdleConnections closes the connections that no request uses. A Model needs no other end.
func (m *Model) CloseIdleConnections() {
	m.api.client.CloseIdleConnections()
	m.outputs.CloseIdleConnections()
}

// Stage is StageLazily with an original that is open.
func (m *Model) Stage(ctx context.Context, req stage.Request) (stage.Picture, error) {
	return m.StageLazily(ctx, req, func() (stage.Image, error) { return req.Original, nil })
}

// StageLazily makes the picture: it creates a prediction, or goes on with the one that an earlier attempt left, follows it
// to its end and copies its output. The original is opened right before a prediction is created, for Config.Input, and not
// otherwise. The job is found in ctx; without one nothing is remembered. Errors are as the package says.
func (m *Model) StageLazily(ctx context.Context, req stage.Request, original func() (stage.Image, error)) (stage.Picture, error) {
	job, _ := worker.JobFromContext(ctx)
	rec, err := begin(job)
	if err != nil {
		return stage.Picture{}, err
	}
	rest, stop := lasting(ctx, context.WithoutCancel(ctx), 2*m.cfg.Grace)
	defer stop()
	r := &run{model: m, job: job, req: req, original: original, rec: rec, kept: rec.ID, rest: rest}
	defer r.release()
	picture, err := r.run(ctx)
	if err != nil && (ctx.Err() != nil || errors.Is(err, worker.ErrLeaseLost)) {
		err = r.leave(ctx, err)
	}
	return picture, err
}

// run is one attempt.
type run struct {
	model    *Model
	job      *worker.Job // nil when there is none
	req      stage.Request
	original func() (stage.Image, error)
	rec      record
	kept     string // the id that the checkpoint has
	over     bool   // the prediction is: there is nothing to cancel
	holds    bool   // a place of the limiter

	rest context.Context // ends two graces after the attempt's own: what that may not cut short runs under it
}

func (r *run) run(ctx context.Context) (stage.Picture, error) {
	p, err := r.obtain(ctx)
	if err == nil {
		p, err = r.follow(ctx, p)
	}
	switch {
	case err != nil:
		return stage.Picture{}, err
	case p.Status != Succeeded:
		return stage.Picture{}, r.fail(ctx, p.failure())
	}
	return r.collect(ctx, p)
}

func (r *run) release() {
	if r.holds {
		r.model.cfg.Limiter.leave()
	}
}

// obtain returns the job's prediction: the one that is there, the one that may be there, or a new one.
func (r *run) obtain(ctx context.Context) (Prediction, error) {
	if r.rec.ID == "" && r.rec.Key != "" && r.model.cfg.IdempotencyHeader == "" {
		if err := r.find(ctx); err != nil {
			return Prediction{}, err
		}
	}
	if r.rec.ID != "" {
		p, err := r.resume(ctx)
		if err != nil || p.ID != "" {
			return p, err
		}
	}
	return r.create(ctx)
}

// find makes the prediction that may have been created the record's, if there is one.
func (r *run) find(ctx context.Context) error {
	m := r.model
	switch wait := m.cfg.Settle - r.rec.age(); {
	case r.rec.ahead(): // a clock that is far ahead is not waited for, nor believed
		if r.rec.since(r.job.EnqueuedAt, time.Now()) {
			if err := r.keep(ctx); err != nil { // later on nobody can tell any more
				return fmt.Errorf("before the prediction is looked for: %w", err)
			}
		}
	case wait > 0:
		return fmt.Errorf("a prediction may have been created: %w", worker.Snooze(wait))
	}
	r.req.Progress(0, "looking for the prediction")
	sent := Sent{Key: r.rec.Key, KeyInput: m.cfg.KeyInput, InputSum: r.rec.Sum, Version: m.cfg.Version, Model: m.cfg.Model,
		First: time.UnixMilli(r.rec.First), Last: time.UnixMilli(r.rec.Last)}
	p, found, err := m.api.find(ctx, sent, r.rec.Past, m.cfg.Match)
	switch {
	case errors.Is(err, errUntold):
		return r.replace(ctx, &FailedError{Message: "the API cannot tell whether it was created"})
	case err != nil:
		return r.judge(ctx, err)
	case !found:
		return nil
	}
	return r.found(ctx, p)
}

// found makes a prediction the job's.
func (r *run) found(ctx context.Context, p Prediction) error {
	r.rec.ID = p.ID
	err := r.remember(ctx)
	r.tellHost(ctx)
	return err
}

// tellHost calls Config.Created. That it did is in the next checkpoint: one is written before a job is parked.
func (r *run) tellHost(ctx context.Context) {
	if r.job != nil && !r.rec.Told {
		r.model.cfg.Created(ctx, r.job, r.rec.ID)
		r.rec.Told = true
	}
}

// remember keeps the id of a prediction. Failing to is no reason to let go of it, unless the job is no longer ours: then
// whoever has it looks for the prediction.
func (r *run) remember(ctx context.Context) error {
	if err := r.keep(ctx); lost(err) {
		return fmt.Errorf("prediction %s: %w", r.rec.ID, err)
	}
	return nil
}

// resume looks what has become of a prediction that an earlier attempt left. None is returned when it is gone or was
// stopped, and another one may be created at once.
func (r *run) resume(ctx context.Context) (Prediction, error) {
	r.tellHost(ctx) // the worker that kept the id may have died before it could
	p, err := r.poll(ctx)
	if err == nil && p.Status.stopped() {
		err = p.failure()
	}
	if stopped := new(FailedError); errors.As(err, &stopped) {
		return Prediction{}, r.replace(ctx, stopped)
	}
	if err == nil && !p.Status.over() {
		r.model.cfg.Limiter.join()
		r.holds = true
	}
	return p, err
}

// replace lets go of a prediction in whose place another one may be created at once. It counts all the same: a parked job,
// whose attempts don't, must not pay again and again.
func (r *run) replace(ctx context.Context, failed *FailedError) error {
	if err := r.fail(ctx, failed); r.rec.Failed > 1 || worker.IsPermanent(err) || lost(err) {
		return err
	}
	r.over = false
	return nil
}

// collect copies the output.
func (r *run) collect(ctx context.Context, p Prediction) (stage.Picture, error) {
	r.req.Progress(0.9, "copying the picture")
	data, err := r.model.copyOutput(ctx, p)
	var spoiled *spoiledError
	switch {
	case err == nil:
		return r.model.picture(p, data), nil
	case ctx.Err() != nil || !errors.As(err, &spoiled):
		return stage.Picture{}, r.judge(ctx, err)
	case r.rec.Spoiled == 0 && !p.DataRemoved: // it may be there in a moment
		r.rec.Spoiled++
		if kept := r.keep(ctx); kept != nil {
			return stage.Picture{}, fmt.Errorf("%w (%w)", err, kept)
		}
		return stage.Picture{}, worker.RetryAfter(r.model.cfg.Settle, err)
	}
	return stage.Picture{}, r.fail(ctx, &FailedError{ID: p.ID, Status: p.Status, Message: spoiled.Error()})
}

const maxSeconds = 7 * 24 * 60 * 60 // that a prediction may have taken

// picture says what a prediction made, and what it cost.
func (m *Model) picture(p Prediction, data []byte) stage.Picture {
	name := m.cfg.name()
	if m.cfg.Version == "" && p.Version != "" {
		name += ":" + tidy(p.Version)
	}
	seconds := p.Metrics.PredictTime
	if !(seconds >= 0 && seconds <= maxSeconds) {
		seconds = 0 // who says so doesn't know
	}
	return stage.Picture{Data: data, Model: name, Prediction: &stage.Prediction{
		ID: p.ID, Model: name, Seconds: seconds, Cost: m.cfg.PricePerPrediction + seconds*m.cfg.PricePerSecond,
	}}
}

// jitter is a share from 0 to 1.
func jitter() float64 { return rand.Float64() }
