package predict

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/real-staging-ai/go-worker"
)

// record is what the job's checkpoint says: what was paid for, and what became of it. Times are in Unix milliseconds.
//
// Key without ID means that a prediction may have been created. What the API says of a prediction is not written down: it
// can be asked again, and so no checkpoint that fails does harm.
type record struct {
	Round     int64    `json:"round"`              // the job's EnqueuedAt: a Requeue begins anew
	Key       string   `json:"key,omitempty"`      // of the prediction that was, or is about to be, created
	Sum       string   `json:"sum,omitempty"`      // the InputSum of its input
	First     int64    `json:"first,omitempty"`    // when it was first sent
	Last      int64    `json:"last,omitempty"`     // when it was last sent
	ID        string   `json:"id,omitempty"`       // of the prediction
	Told      bool     `json:"told,omitempty"`     // Config.Created was called for it
	Past      []string `json:"past,omitempty"`     // ids that are done with
	Failed    int      `json:"failed,omitempty"`   // predictions of this round that brought nothing
	Spoiled   int      `json:"spoiled,omitempty"`  // how often this one's output was no good
	Parked    int      `json:"parked,omitempty"`   // how often the job was put off for this one
	Throttled int64    `json:"throttle,omitempty"` // since when the API says 429 and nothing else

	Verdict *FailedError `json:"verdict,omitempty"` // why this round is over: its last attempt may not have lived to say so
}

const maxPast = 8

// begin opens the job's record.
func begin(job *worker.Job) (record, error) {
	var rec record
	if job == nil {
		return rec, nil
	}
	if _, err := job.LastCheckpoint(&rec); err != nil {
		return record{}, worker.Permanent(fmt.Errorf("the job's checkpoint is not the model's: %w", err))
	}
	if round := job.EnqueuedAt.UnixMilli(); rec.Round != round {
		rec.Round, rec.Told, rec.Failed, rec.Spoiled, rec.Parked, rec.Throttled, rec.Verdict = round, false, 0, 0, 0, 0, nil
	}
	if rec.Verdict != nil {
		return record{}, worker.Permanent(rec.Verdict)
	}
	return rec, nil
}

// send notes that a create is about to be sent. Sending again what may have been created keeps the key.
func (r *record) send(sum string, now time.Time) {
	if r.Key == "" {
		r.Key, r.First = uuid.NewString(), now.UnixMilli()
	}
	r.Sum, r.Last = sum, now.UnixMilli()
}

// drop ends what is known of the present prediction, or of the one that might have been.
func (r *record) drop() {
	if r.ID != "" {
		r.Past = append(r.Past, r.ID)
		r.Past = slices.Clone(r.Past[max(0, len(r.Past)-maxPast):])
	}
	r.Key, r.Sum, r.First, r.Last, r.ID, r.Told, r.Spoiled, r.Parked = "", "", 0, 0, "", false, 0, 0
}

// ahead reports whether the prediction was last sent by a clock that is far ahead of this one.
func (r *record) ahead() bool { return time.Until(time.UnixMilli(r.Last)) >= clockSkew }

// since makes First as early as it can be when nothing is known of the clock that it comes from: the job was there then. It
// reports whether that is news.
func (r *record) since(enqueued, now time.Time) bool {
	said := r.First
	if enqueued.After(now) { // by the same clock, perhaps
		enqueued = now.Add(-listedFor)
	}
	r.First = min(r.First, enqueued.UnixMilli())
	return r.First != said
}

// age is how long ago the prediction was last sent. Workers' clocks differ, so it may be wrong, but it is never negative. By
// a clock that was far ahead it was not just now.
func (r *record) age() time.Duration {
	if r.ahead() {
		return hiddenFor
	}
	return max(time.Since(time.UnixMilli(r.Last)), 0)
}

// keep makes the record the job's checkpoint. The attempt's end doesn't keep it from being written.
func (r *run) keep(ctx context.Context) error {
	if r.job == nil {
		return nil
	}
	ctx, cancel := lasting(ctx, r.rest, r.model.cfg.Grace)
	defer cancel()
	err := r.job.Checkpoint(ctx, r.rec)
	if errors.Is(err, errors.ErrUnsupported) {
		return worker.Permanent(fmt.Errorf("without checkpoints a prediction would be paid again at each attempt: %w", err))
	}
	if err == nil {
		r.kept = r.rec.ID
	}
	return err
}

// lost reports whether a checkpoint was refused since the job is no longer this attempt's.
func lost(err error) bool {
	return errors.Is(err, worker.ErrLeaseLost) || errors.Is(err, worker.ErrAbandoned)
}

// lasting returns a context that outlives ctx, or its end that was before, by grace, but not rest.
func lasting(ctx, rest context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(rest)
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}
