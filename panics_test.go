package worker_test

import (
	"context"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker"
)

// What is tested here ends the whole process where it isn't kept from it.

// unreadable is an error that panics when its chain is followed: a nil pointer, as is returned by mistake.
func unreadable() error { return (*fs.PathError)(nil) }

// selfish is an error whose text cannot be had either: what it panics with panics, too.
type selfish struct{}

func (s selfish) Error() string { panic(s) }

func TestPanicWithAnErrorThatPanicsFailsOneAttempt(t *testing.T) {
	for text, value := range map[string]error{
		"panic: *fs.PathError: <nil>": unreadable(), "panic: worker_test.selfish": selfish{},
	} {
		inBubble(t, func(t *testing.T) {
			rec := record()
			r := newRig(t, func(context.Context, *worker.Job, ping) error { panic(value) }, rec.by).start()
			job := r.enqueue(1, worker.MaxAttempts(1))
			r.after(time.Second)
			assert.Equal(t, failed, r.last(job.ID).State)
			assert.Equal(t, text, r.last(job.ID).Error)
			r.stop()
			assert.Equal(t, "panic", attrsOf(rec.ended("process default")[0])["error.type"])
		})
	}
}

// What a handler panics with may still say what is to become of the job.
func TestPanicWithAPermanentErrorIsPermanent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { panic(worker.Permanent(errFlaky)) }).start()
		job := r.enqueue(1)
		r.after(time.Second)
		assert.Equal(t, failed, r.last(job.ID).State)
		r.stop()
	})
}
