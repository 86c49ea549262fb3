package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func seven() time.Time { return time.Unix(0, 7) }

func TestScribeFillsIn(t *testing.T) {
	var m Memory
	s := NewScribe("w1", &m, seven)
	s.Write(Event{At: 3, Op: OpStart, Job: "j"})
	s.Write(Event{Proc: "w2", Op: OpPause})
	require.Equal(t, []Event{{At: 7, Proc: "w1", Op: OpStart, Job: "j"}, {At: 7, Proc: "w2", Op: OpPause}}, m.Events())
}

// The dead write nothing.
func TestScribeEnds(t *testing.T) {
	var m Memory
	s := NewScribe("w1", &m, seven)
	s.End()
	s.End()
	s.Write(Event{Op: OpFinish, Job: "j"})
	require.Equal(t, []Event{{At: 7, Proc: "w1", Op: OpEnd}}, m.Events())
}

func TestScribePanicsWhenTheHistoryIsLost(t *testing.T) {
	file, err := Create(t.TempDir(), "w1")
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.Panics(t, func() { NewScribe("w1", file, seven).Write(Event{Op: OpStart}) })
}

// What processes write is read as it comes, whole lines only.
func TestDirReadsOn(t *testing.T) {
	dir := NewDir(t.TempDir())
	fresh, err := dir.Next()
	require.NoError(t, err)
	require.Empty(t, fresh)

	full := Event{At: 7, Proc: "w1", Op: OpFinal, Job: "j", Token: 1 << 53, Attempt: 2, Crashes: 3, Result: ResultOK,
		Outcome: OutcomeRetry, State: worker.StateFailed, Version: 5, Sum: 6, Queue: "q", Due: 8, Until: 9, Text: "a\nb"}
	file, err := Create(dir.Path(), "w1")
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, file.Append(full))
	name := filepath.Join(dir.Path(), "w1"+suffix)
	half, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer half.Close()
	_, err = half.WriteString(`{"op":"st`)
	require.NoError(t, err)
	fresh, err = dir.Next()
	require.NoError(t, err)
	require.Equal(t, []Event{full}, fresh)

	_, err = half.WriteString("art\"}\n")
	require.NoError(t, err)
	fresh, err = dir.Next()
	require.NoError(t, err)
	require.Equal(t, []Event{{Op: OpStart}}, fresh)

	_, err = half.WriteString("nonsense\n")
	require.NoError(t, err)
	_, err = dir.Next()
	require.ErrorContains(t, err, "w1"+suffix)
}

// A handler's runs are written with what its pool makes of them.
func TestHandlerIsWritten(t *testing.T) {
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		return ctx
	}
	oh := errors.New("oh")
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want Outcome
	}{
		{context.Background(), nil, OutcomeSuccess},
		{context.Background(), oh, OutcomeRetry},
		{context.Background(), worker.RetryAfter(time.Second, oh), OutcomeRetry},
		{context.Background(), fmt.Errorf("wrapped: %w", worker.Permanent(oh)), OutcomeFailure},
		{context.Background(), worker.Snooze(time.Second), OutcomeSnooze},
		{ended(worker.ErrShutdown), oh, OutcomeGiveBack},
		{ended(worker.ErrShutdown), nil, OutcomeSuccess},
		{ended(worker.ErrCanceled), worker.ErrCanceled, OutcomeCancel},
		{ended(worker.ErrCanceled), nil, OutcomeSuccess},
		{ended(worker.ErrLeaseLost), nil, OutcomeLost},
		{ended(context.DeadlineExceeded), oh, OutcomeRetry},
	} {
		var m Memory
		h := NewScribe("w1", &m, seven).Handler(func(context.Context, *worker.Job) error { return c.err })
		job := &worker.Job{ID: "j", Token: 9, Attempt: 2, Crashes: 1, Payload: []byte("{}")}
		require.Equal(t, c.err, h(c.ctx, job))
		text := ""
		if c.err != nil {
			text = c.err.Error()
		}
		require.Equal(t, []Event{
			{At: 7, Proc: "w1", Op: OpStart, Job: "j", Token: 9, Attempt: 2, Crashes: 1, Sum: Sum(job.Payload)},
			{At: 7, Proc: "w1", Op: OpFinish, Job: "j", Token: 9, Outcome: c.want, Text: text},
		}, m.Events())
	}
}

func TestHandlerThatPanicsIsWritten(t *testing.T) {
	var m Memory
	h := NewScribe("w1", &m, seven).Handler(func(context.Context, *worker.Job) error { panic("oh") })
	require.PanicsWithValue(t, "oh", func() { _ = h(context.Background(), &worker.Job{ID: "j"}) })
	require.Len(t, m.Events(), 2)
	require.Equal(t, OutcomeRetry, m.Events()[1].Outcome)
}

func TestResultOf(t *testing.T) {
	each := &worker.EnqueueError{Failed: map[string]error{
		"over":    &worker.FinishedError{ID: "over"},
		"refused": fmt.Errorf("out of memory: %w", worker.ErrRefused),
		"cut":     errors.New("EOF"),
	}}
	require.Equal(t, ResultOK, ResultOf(nil, "j"))
	require.Equal(t, ResultOK, ResultOf(each, "another"))
	require.Equal(t, ResultOK, ResultOf(each, "over"))
	require.Equal(t, ResultFailed, ResultOf(each, "refused"))
	require.Equal(t, ResultUnknown, ResultOf(each, "cut"))
	require.Equal(t, ResultUnknown, ResultOf(context.DeadlineExceeded, "j"))
}

func TestResultOfEdit(t *testing.T) {
	require.Equal(t, ResultOK, ResultOfEdit(nil))
	for _, err := range []error{
		worker.ErrJobNotFound, worker.ErrJobActive, &worker.FinishedError{ID: "j"}, worker.ErrCanceled, worker.ErrJobChanged,
		worker.ErrRefused,
	} {
		require.Equal(t, ResultFailed, ResultOfEdit(fmt.Errorf("edit: %w", err)))
	}
	require.Equal(t, ResultUnknown, ResultOfEdit(context.DeadlineExceeded))
}

func TestResultOfControl(t *testing.T) {
	require.Equal(t, ResultOK, ResultOfControl(nil))
	for _, err := range []error{worker.ErrJobNotFound, worker.ErrJobActive, &worker.FinishedError{ID: "j"}} {
		require.Equal(t, ResultFailed, ResultOfControl(fmt.Errorf("requeue: %w", err)))
	}
	require.Equal(t, ResultUnknown, ResultOfControl(worker.ErrRefused), "after its status was saved, perhaps")
	require.Equal(t, ResultUnknown, ResultOfControl(context.DeadlineExceeded))
}
