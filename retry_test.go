package worker

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDelayDoublesUpToMax(t *testing.T) {
	p := Exponential(5, 2*time.Second, 10*time.Minute)
	want := []time.Duration{2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600}
	for i, w := range want {
		assert.Equal(t, w*time.Second, p.Delay(i+1, 1), "attempt %d", i+1)
	}
	assert.Equal(t, 4*time.Second, p.Delay(3, 0.5), "the share is full jitter")
	assert.Zero(t, p.Delay(3, 0))
	assert.Equal(t, 10*time.Minute, p.Delay(math.MaxInt, 1))
	huge := RetryPolicy{Base: time.Hour, Max: math.MaxInt64}
	assert.Positive(t, huge.Delay(1000, 0.5), "no overflow")
}

func TestPoliciesFillEachOther(t *testing.T) {
	p := RetryPolicy{MaxAttempts: 2}.or(RetryPolicy{MaxAttempts: 9, Base: 1, Window: 3}).or(DefaultRetry)
	assert.Equal(t, RetryPolicy{MaxAttempts: 2, Base: 1, Max: 10 * time.Minute, Window: 3}, p)
}

func TestVerbsAreFoundThroughWrapping(t *testing.T) {
	cause := errors.New("cause")
	tests := []struct {
		err   error
		verb  verb
		delay time.Duration
	}{
		{Permanent(cause), verbPermanent, 0},
		{RetryAfter(time.Minute, cause), verbRetryAfter, time.Minute},
		{RetryAfter(-1, cause), verbRetryAfter, 0},
		{Cancel(cause), verbCancel, 0},
		{Snooze(time.Second), verbSnooze, time.Second},
		{Snooze(-1), verbSnooze, 0},
		{Permanent(RetryAfter(time.Minute, cause)), verbPermanent, 0},
	}
	for _, tt := range tests {
		v, d := verbOf(fmt.Errorf("wrapped: %w", tt.err))
		assert.Equal(t, tt.verb, v, "%v", tt.err)
		assert.Equal(t, tt.delay, d, "%v", tt.err)
		if tt.verb != verbSnooze {
			assert.ErrorIs(t, tt.err, cause)
			assert.Equal(t, "cause", tt.err.Error())
		}
	}
	assert.True(t, IsPermanent(fmt.Errorf("x: %w", Permanent(cause))))
	assert.False(t, IsPermanent(cause))
	assert.False(t, IsPermanent(nil))
}

func TestVerbsOfANilErrorAreNil(t *testing.T) {
	assert.NoError(t, Permanent(nil))
	assert.NoError(t, RetryAfter(time.Hour, nil))
	assert.NoError(t, Cancel(nil))
	assert.Error(t, Snooze(0))
}

func TestBackoffIsBounded(t *testing.T) {
	for try := 1; try < 100; try++ {
		assert.LessOrEqual(t, backoff(try), 5*time.Second)
		assert.GreaterOrEqual(t, backoff(try), 50*time.Millisecond)
	}
}
