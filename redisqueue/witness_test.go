package redisqueue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at makes a contact at a moment of both clocks, in seconds, that took 10 ms.
func at(local, theirs float64) contact {
	sent := time.Unix(1000, 0).Add(time.Duration(local * float64(time.Second)))
	return contact{sent: sent, received: sent.Add(10 * time.Millisecond), clock: int64((5000 + theirs) * 1000)}
}

func TestWitness(t *testing.T) {
	const acknowledged = 5010_000 // the deadline of a lease of 10 s, taken at 0 by both clocks
	for _, c := range []struct {
		name     string
		contact  contact
		deadline int64 // 0: the session is gone
		sign     LossSign
	}{
		{"renewed in time", at(2, 2), acknowledged, ""},
		{"a beat ran whose reply was lost", at(4, 4), acknowledged + 2000, ""},
		{"an older deadline", at(2, 2), acknowledged - 1, SignLeaseEarlier},
		{"an older deadline after a long outage", at(3600, 3600), acknowledged - 1, SignLeaseEarlier},
		{"an older deadline on a clock a little behind", at(2, 1.1), acknowledged - 1, SignLeaseEarlier},
		{"a beat ran on a clock that had stepped back", at(4, -3596), acknowledged - 3598_000, ""},
		{"a beat ran on a clock that has come back since", at(4, 4), acknowledged - 3598_000, ""},
		{"the clock stepped back by seconds", at(4, -1), acknowledged - 3000, ""},
		{"an older deadline on a clock that stepped ahead", at(2, 3602), acknowledged - 1, SignLeaseEarlier},
		{"gone at once", at(2, 2), 0, SignSessionGone},
		{"gone within lease and grace", at(14.9, 14.9), 0, SignSessionGone},
		{"gone when somebody may have taken over", at(15, 15), 0, ""},
		{"gone long after", at(3600, 3600), 0, ""},
		{"gone on a clock that stepped ahead", at(2, 3602), 0, ""},
		{"gone on a clock that stepped back", at(2, -3598), 0, SignSessionGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := witness{patience: 15 * time.Second, slack: time.Second}
			w.acknowledged(at(-20, -20), 10*time.Second)
			w.acknowledged(at(0, 0), 10*time.Second)
			require.EqualValues(t, acknowledged, w.deadline)
			judge := func() (LossSign, string) { return w.renewed(c.contact, c.deadline) }
			if c.deadline == 0 {
				judge = func() (LossSign, string) { return w.gone(c.contact) }
			}
			sign, detail := judge()
			require.Equal(t, c.sign, sign)
			require.Equal(t, sign == "", detail == "")
		})
	}
}

// A call that took long says little about when Redis ran it: its clock may have been moved meanwhile.
func TestASlowCallHidesAStepOfTheClock(t *testing.T) {
	slow := func(c contact, took time.Duration) contact {
		c.received = c.sent.Add(took)
		return c
	}
	for _, c := range []struct {
		first, then   contact
		earlier, gone bool // whether that is judged
	}{
		{at(0, 0), at(2, 2), true, true},
		{at(0, 0), slow(at(2, 2.5), 900*time.Millisecond), true, true},
		{at(0, 0), slow(at(2, 2), 3*time.Second), false, true},
		{at(0, 0), slow(at(2, 4), 3*time.Second), true, false},
		{slow(at(0, 0), 3*time.Second), at(3, 2.3), true, false},
		{slow(at(0, 0), 3*time.Second), at(3, 0), false, true},
		{slow(at(0, 3), 3*time.Second), at(3, 2.34), false, true},
	} {
		w := witness{patience: 15 * time.Second, slack: time.Second}
		w.acknowledged(at(-20, -20), 10*time.Second)
		w.acknowledged(c.first, 10*time.Second)
		sign, _ := w.renewed(c.then, w.deadline-1)
		require.Equal(t, c.earlier, sign != "", "%+v", c)
		sign, _ = w.gone(c.then)
		require.Equal(t, c.gone, sign != "", "%+v", c)
	}
}

func TestTokensAreMissedOnce(t *testing.T) {
	tk := &tokens{}
	missed := func(counter int64) LossSign {
		_, counted := tk.given()
		sign, _ := tk.judge(counter, counted)
		return sign
	}
	require.Empty(t, missed(0))
	tk.saw(100)
	require.Empty(t, missed(100))
	require.Empty(t, missed(5000))
	require.Equal(t, SignTokensBack, missed(99))
	require.Empty(t, missed(99), "it was told of")
	require.Equal(t, SignTokensBack, missed(98))
	highest, _ := tk.given()
	require.EqualValues(t, 100, highest, "later claims exceed it all the same")

	// A claim that came while the counter was read is no reason to forget it.
	tk.saw(200)
	_, counted := tk.given()
	tk.saw(300)
	sign, _ := tk.judge(50, counted)
	require.Equal(t, SignTokensBack, sign)
	_, counted = tk.given()
	require.EqualValues(t, 300, counted)
}

func TestASignIsNewAfterItsTime(t *testing.T) {
	l := &losses{}
	start := time.Unix(1000, 0)
	require.True(t, l.isNew(start, time.Minute))
	require.False(t, l.isNew(start, time.Minute))
	require.False(t, l.isNew(start.Add(59*time.Second), time.Minute))
	require.True(t, l.isNew(start.Add(time.Minute), time.Minute))
	require.Same(t, l.of("a"), l.of("a"))
	require.NotSame(t, l.of("a"), l.of("b"))
}
