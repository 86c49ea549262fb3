package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	for attempt := range 200 {
		for _, share := range []float64{leastShare, 0.5, 0.999999999999, 1} {
			assert.GreaterOrEqual(t, huge.Delay(attempt, share), huge.Delay(1, leastShare), "no overflow at attempt %d", attempt)
		}
	}
	capped := RetryPolicy{Base: time.Hour, Max: time.Second}
	assert.Equal(t, time.Second, capped.Delay(1, 1), "Max bounds the first delay, too")
}

func TestDiceLeaveTimeBetweenAttempts(t *testing.T) {
	least, most := 1.0, 0.0
	for range 10_000 {
		share := roll()
		least, most = min(least, share), max(most, share)
	}
	assert.GreaterOrEqual(t, least, 0.1)
	assert.Less(t, least, 0.15, "the rest is jitter")
	assert.Greater(t, most, 0.95)
	assert.Less(t, most, 1.0)
}

func TestPoliciesFillEachOther(t *testing.T) {
	p := RetryPolicy{MaxAttempts: 2}.or(RetryPolicy{MaxAttempts: 9, Base: 1, Window: 3}).or(DefaultRetry)
	assert.Equal(t, RetryPolicy{MaxAttempts: 2, Base: 1, Max: 10 * time.Minute, Window: 3}, p)
}

// ranked is a payload with options of its own.
type ranked struct {
	options []JobOption
}

func (ranked) JobType() string              { return "ranked" }
func (r ranked) JobOptions() []JobOption    { return r.options }
func (ranked) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }

func TestRetryPoliciesRank(t *testing.T) {
	const s, h = time.Second, time.Hour
	whole := func(n int, base, most, window time.Duration) JobOption {
		return WithRetry(RetryPolicy{MaxAttempts: n, Base: base, Max: most, Window: window})
	}
	pool := RetryPolicy{MaxAttempts: 4, Base: 4 * s, Max: 4 * h}
	tests := []struct {
		name                      string
		enqueue, payload, handler []JobOption
		pool                      RetryPolicy
		want                      RetryPolicy // where there is a handler
		lacking                   RetryPolicy // where there is none
	}{
		{"nothing said", nil, nil, nil, RetryPolicy{}, DefaultRetry, DefaultRetry},
		{"pool", nil, nil, nil, pool, pool, pool},
		{"handler before pool", nil, nil, []JobOption{whole(3, 3*s, 0, 0)}, pool,
			RetryPolicy{3, 3 * s, 4 * h, 0}, pool},
		{"payload before handler", nil, []JobOption{whole(2, 0, 2*h, 0)}, []JobOption{whole(3, 3*s, 3*h, 0)}, pool,
			RetryPolicy{2, 3 * s, 2 * h, 0}, RetryPolicy{2, 4 * s, 2 * h, 0}},
		{"enqueue before payload", []JobOption{MaxAttempts(1)}, []JobOption{whole(2, 2*s, 2*h, 0)}, []JobOption{whole(3, 3*s, 3*h, 0)}, pool,
			RetryPolicy{1, 2 * s, 2 * h, 0}, RetryPolicy{1, 2 * s, 2 * h, 0}},
		{"a whole policy leaves zeros to the payload", []JobOption{whole(0, s, 0, 0)}, []JobOption{whole(2, 2*s, 2*h, 0)}, nil, pool,
			RetryPolicy{2, s, 2 * h, 0}, RetryPolicy{2, s, 2 * h, 0}},
		{"of two options the last", []JobOption{MaxAttempts(7), MaxAttempts(8)}, nil, nil, pool,
			RetryPolicy{8, 4 * s, 4 * h, 0}, RetryPolicy{8, 4 * s, 4 * h, 0}},
		{"a window outranks numbers below", []JobOption{RetryFor(h)}, []JobOption{MaxAttempts(2)}, []JobOption{MaxAttempts(3)}, pool,
			RetryPolicy{0, 4 * s, 4 * h, h}, RetryPolicy{0, 4 * s, 4 * h, h}},
		{"a window beside a number", []JobOption{RetryFor(h), MaxAttempts(9)}, nil, nil, pool,
			RetryPolicy{9, 4 * s, 4 * h, h}, RetryPolicy{9, 4 * s, 4 * h, h}},
		{"in any order", []JobOption{MaxAttempts(9), RetryFor(h)}, nil, nil, pool,
			RetryPolicy{9, 4 * s, 4 * h, h}, RetryPolicy{9, 4 * s, 4 * h, h}},
		{"a number above a window", []JobOption{MaxAttempts(9)}, []JobOption{RetryFor(h)}, nil, pool,
			RetryPolicy{9, 4 * s, 4 * h, h}, RetryPolicy{9, 4 * s, 4 * h, h}},
		{"the handler's window is not the pool's", nil, nil, []JobOption{RetryFor(2 * h)}, RetryPolicy{Window: h},
			RetryPolicy{0, 2 * s, 600 * s, 2 * h}, RetryPolicy{0, 2 * s, 600 * s, 0}},
	}
	for _, tt := range tests {
		job, err := NewJob(ranked{tt.payload}, tt.enqueue...)
		require.NoError(t, err, tt.name)
		body, err := EncodeJob(job)
		require.NoError(t, err, tt.name)
		job, err = DecodeJob(body)
		require.NoError(t, err, tt.name)
		reg := NewRegistry()
		reg.Handle("ranked", func(context.Context, *Job) error { return nil }, tt.handler...)
		cfg := Config{Retry: tt.pool}
		cfg.applyDefaults()
		p := &Pool{cfg: cfg}
		assert.Equal(t, tt.want, p.policyOf(job, reg.build()["ranked"]), tt.name)
		assert.Equal(t, tt.lacking, p.policyOf(job, registration{}), "%s: without the handler", tt.name)
	}
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
