package predict

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// create.go: how a prediction is paid for, once.

// create pays for a prediction. Before it does, the checkpoint says so.
func (r *run) create(ctx context.Context) (Prediction, error) {
	m, sent := r.model, false
	// A job without a turn doesn't open its original.
	mine, err := m.cfg.Limiter.await(ctx)
	if err != nil {
		return Prediction{}, r.wait(err)
	}
	defer mine.drop()
	input, sum, err := r.input(ctx)
	if err != nil {
		return Prediction{}, err
	}
	if err := mine.enter(ctx); err != nil {
		return Prediction{}, r.wait(err)
	}
	r.holds = true
	defer func() {
		if !sent {
			m.cfg.Limiter.refund()
		}
	}()
	if err := r.announce(ctx, sum); err != nil {
		return Prediction{}, fmt.Errorf("before the prediction is created: %w", err)
	}
	body, err := r.body(input)
	if err != nil {
		return Prediction{}, err
	}
	if err := ctx.Err(); err != nil {
		return Prediction{}, context.Cause(ctx)
	}
	r.req.Progress(0, "asking the model")
	// An attempt that ends meanwhile waits a little for the answer, as what was created must be known.
	longer, cancel := lasting(ctx, r.rest, m.cfg.Grace)
	defer cancel()
	sent = true
	p, err := m.api.create(longer, m.createPath(), r.header(), body)
	if err != nil {
		return Prediction{}, r.notCreated(ctx, err)
	}
	r.rec.Throttled, r.over = 0, p.Status.over()
	return p, r.found(ctx, p)
}

// announce notes that a create is about to be sent. When noting it took long, it is noted anew: another worker that has
// the job by now may have looked for the prediction before there was one, so the queue is asked whose job it is.
func (r *run) announce(ctx context.Context, sum string) error {
	for range maxAnnounced {
		r.rec.send(sum, time.Now())
		if err := r.keep(ctx); err != nil {
			return err
		}
		if r.rec.age() <= r.model.cfg.Settle/2 {
			return nil
		}
	}
	return fmt.Errorf("checkpoints take more than half of Settle, %v", r.model.cfg.Settle)
}

// notCreated says what to do after a create that failed, and notes whether it may have taken effect.
func (r *run) notCreated(ctx context.Context, err error) error {
	if !refused(err) {
		var answer *APIError
		wait := r.model.cfg.Settle
		if errors.As(err, &answer) {
			wait = max(wait, answer.RetryAfter)
		}
		return worker.RetryAfter(wait, fmt.Errorf("a prediction may have been created: %w", err))
	}
	r.rec.drop()
	verdict := r.judge(ctx, err)
	if statusOf(err) == http.StatusTooManyRequests { // that is kept already
		return verdict
	}
	if kept := r.keep(ctx); kept != nil {
		return fmt.Errorf("%w (%w)", verdict, kept) // the next attempt looks in vain, that is all
	}
	return verdict
}

// input makes the input, with its checksum.
func (r *run) input(ctx context.Context) (_ map[string]any, sum string, err error) {
	if r.req.Original, err = r.original(); err != nil {
		return nil, "", err
	}
	input, err := r.model.cfg.Input(ctx, r.req)
	if err != nil {
		return nil, "", fmt.Errorf("input: %w", err)
	}
	data, err := json.Marshal(input)
	if err != nil {
		return nil, "", worker.Permanent(fmt.Errorf("input: %w", err))
	}
	return input, InputSum(data), nil
}

func (r *run) body(input map[string]any) ([]byte, error) {
	m := r.model
	if m.cfg.KeyInput != "" {
		marked := map[string]any{m.cfg.KeyInput: r.rec.Key}
		for name, value := range input {
			if name != m.cfg.KeyInput {
				marked[name] = value
			}
		}
		input = marked
	}
	body := map[string]any{"input": input}
	if m.cfg.Version != "" {
		body["version"] = m.cfg.Version
	}
	if m.cfg.Webhook != nil && r.job != nil {
		body["webhook"] = m.cfg.Webhook.urlFor(r.job.ID, r.job.Queue, r.rec.Key)
		body["webhook_events_filter"] = []string{"completed"}
	}
	return json.Marshal(body)
}

func (r *run) header() http.Header {
	header := make(http.Header)
	header.Set("Cancel-After", fmt.Sprintf("%dm", max(1, (r.model.cfg.Lifetime+time.Minute-1)/time.Minute)))
	if name := r.model.cfg.IdempotencyHeader; name != "" {
		header.Set(name, r.rec.Key)
	}
	return header
}

func (m *Model) createPath() string {
	switch {
	case m.cfg.Model != "":
		return "/models/" + m.cfg.Model + "/predictions"
	case m.cfg.Deployment != "":
		return "/deployments/" + m.cfg.Deployment + "/predictions"
	}
	return "/predictions"
}
