package worker

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestSupersedes(t *testing.T) {
	st := func(state State, token int64, phase, seq int) *Status {
		return &Status{State: state, Version: version(token, phase, seq)}
	}
	queued := func(token int64) *Status { return st(StateQueued, token, phaseWaiting, 0) }
	running := func(token int64, seq int) *Status { return st(StateRunning, token, phaseRunning, seq) }
	retrying := func(token int64) *Status { return st(StateRetrying, token, phasePutBack, 0) }
	final := func(state State, token int64) *Status { return st(state, token, phaseFinal, 0) }
	tests := []struct {
		promise   string
		row, next *Status
		want      bool
	}{
		{"a claim starts what was queued", queued(0), running(5, 0), true},
		{"progress moves on", running(5, 1), running(5, 2), true},
		{"progress never moves back", running(5, 2), running(5, 1), false},
		{"an attempt ends", running(5, 9), retrying(5), true},
		{"a later claim starts", retrying(5), running(6, 0), true},
		{"a stale worker changes nothing", running(6, 0), final(StateSucceeded, 5), false},
		{"a stale worker does not end a waiting retry", retrying(6), final(StateFailed, 5), false},
		{"enqueueing again changes nothing", running(5, 0), queued(0), false},
		{"succeeded is final for a claim", final(StateSucceeded, 5), running(9, 0), false},
		{"succeeded is final for a requeue", final(StateSucceeded, 5), queued(9), false},
		{"failed is final for a claim", final(StateFailed, 5), running(9, 0), false},
		{"failed yields to a requeue", final(StateFailed, 5), queued(9), true},
		{"canceled yields to a requeue", final(StateCanceled, 5), queued(9), true},
		{"failed does not yield to an older requeue", final(StateFailed, 9), queued(5), false},
		{"failed does not yield to an enqueue", final(StateFailed, 5), queued(0), false},
		{"not enqueued yields to an enqueue", final(StateFailed, 0), queued(0), true},
		{"not enqueued yields to a claim", final(StateFailed, 0), running(5, 0), true},
		{"not enqueued is written over queued", queued(0), final(StateFailed, 0), true},
		{"not enqueued is not written over a claim", running(5, 0), final(StateFailed, 0), false},
		{"a requeue's queued replaces nothing unfinished", retrying(5), queued(9), false},
		{"a cancel ends what waits", queued(0), final(StateCanceled, 7), true},
		{"a cancel ends a requeued round", queued(5), final(StateCanceled, 7), true},
		{"a claim of the new round starts", queued(9), running(10, 0), true},
		{"a claim of the old round does not", queued(9), running(8, 0), false},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, tt.next.Supersedes(tt.row), tt.promise)
	}
}

func TestVersionsFitAndOrder(t *testing.T) {
	const farToken = 2_000_000_000_000 * 250 // of the year 2033
	v := version(farToken, phaseFinal, maxSequence)
	assert.Positive(t, v)
	s := &Status{Version: v}
	assert.EqualValues(t, farToken, s.Token())
	assert.Equal(t, phaseFinal, s.phase())
	assert.Greater(t, version(2, phaseWaiting, 0), version(1, phaseFinal, maxSequence))
	assert.Greater(t, version(1, phasePutBack, 0), version(1, phaseRunning, maxSequence))
}

func TestTextsAreStorable(t *testing.T) {
	assert.Equal(t, "ab", cleanText("a\x00b"))
	assert.Equal(t, "ab", cleanText("a\xffb"))
	long := cleanText(strings.Repeat("ä", MaxTextSize))
	assert.LessOrEqual(t, len(long), MaxTextSize)
	assert.True(t, utf8.ValidString(long))
	odd := cleanText("x" + strings.Repeat("ä", MaxTextSize))
	assert.Len(t, odd, MaxTextSize-1, "cut between characters")
}

func FuzzCleanText(f *testing.F) {
	f.Add("a\x00\xffb")
	f.Fuzz(func(t *testing.T, s string) {
		c := cleanText(s)
		if !utf8.ValidString(c) || strings.Contains(c, "\x00") || len(c) > MaxTextSize {
			t.Fatalf("%q became %q", s, c)
		}
	})
}
