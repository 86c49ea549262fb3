package redisqueue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func claimed(id string, token int64) *worker.Job { return &worker.Job{ID: id, Token: token} }

func verdict(id string, token int64) []worker.Verdict {
	return []worker.Verdict{{Job: claimed(id, token), Action: worker.ActionComplete}}
}

func TestAStrangerIsGivenBackAtItsSecondBeat(t *testing.T) {
	l := newLedger()
	redis := map[string]int64{"x": 7}
	strange, _ := l.compare(redis)
	require.Empty(t, strange)
	require.False(t, l.beginClaim(), "it may be a suspect")
	l.endClaim(nil, 2, false)
	strange, _ = l.compare(redis)
	require.Equal(t, []held{{"x", 7}}, strange)
	strange, _ = l.compare(map[string]int64{"x": 8})
	require.Empty(t, strange, "another claim begins anew")
	strange, _ = l.compare(map[string]int64{})
	require.Empty(t, strange)
	require.True(t, l.beginClaim())
}

// A claim that is under way since before the first beat may be the one that brings the stranger.
func TestAnUnansweredClaimExplainsAStranger(t *testing.T) {
	l := newLedger()
	redis := map[string]int64{"x": 7}
	l.beginClaim()
	for range 3 {
		strange, _ := l.compare(redis)
		require.Empty(t, strange)
	}
	l.endClaim([]*worker.Job{claimed("x", 7)}, 2, false)
	for range 3 {
		strange, lost := l.compare(redis)
		require.Empty(t, strange)
		require.Empty(t, lost)
	}
}

// A claim that began after the first beat cannot.
func TestALaterClaimExplainsNoStranger(t *testing.T) {
	l := newLedger()
	redis := map[string]int64{"x": 7}
	l.compare(redis)
	l.beginClaim()
	strange, _ := l.compare(redis)
	require.Equal(t, []held{{"x", 7}}, strange)
}

func TestAJobThatRedisLacksIsLostAtTheSecondBeat(t *testing.T) {
	l := newLedger()
	l.beginClaim()
	l.endClaim([]*worker.Job{claimed("x", 7)}, 2, false)
	_, lost := l.compare(map[string]int64{})
	require.Empty(t, lost, "it may have been claimed since")
	_, lost = l.compare(map[string]int64{"x": 7})
	require.Empty(t, lost)
	_, lost = l.compare(map[string]int64{"x": 6})
	require.Empty(t, lost)
	_, lost = l.compare(map[string]int64{})
	require.Equal(t, []held{{"x", 7}}, lost)
	_, lost = l.compare(map[string]int64{})
	require.Equal(t, []held{{"x", 7}}, lost, "until somebody was told")
	l.drop(held{"x", 7})
	_, lost = l.compare(map[string]int64{})
	require.Empty(t, lost)
}

// A verdict that is under way, or whose reply was lost, explains why Redis lacks a job; one that was refused doesn't.
func TestAVerdictUnderWayExplainsAMissingJob(t *testing.T) {
	l := newLedger()
	l.beginClaim()
	l.endClaim([]*worker.Job{claimed("x", 7)}, 2, false)
	l.settling(verdict("x", 7))
	for range 3 {
		_, lost := l.compare(map[string]int64{})
		require.Empty(t, lost)
	}
	l.refused(verdict("x", 7))
	l.compare(map[string]int64{})
	_, lost := l.compare(map[string]int64{})
	require.Equal(t, []held{{"x", 7}}, lost)
	l.settled(verdict("x", 7))
	_, ok := l.token("x")
	require.False(t, ok)
}

// A verdict without an answer may have been executed, whatever is said of its repetition.
func TestARefusalDoesNotCoverUpALostReply(t *testing.T) {
	l := newLedger()
	l.beginClaim()
	l.endClaim([]*worker.Job{claimed("x", 7)}, 2, false)
	l.settling(verdict("x", 7))
	for range 3 {
		l.settling(verdict("x", 7))
		l.refused(verdict("x", 7))
		_, lost := l.compare(map[string]int64{})
		require.Empty(t, lost)
	}
	l.beginClaim()
	require.Len(t, l.endClaim([]*worker.Job{claimed("x", 9)}, 2, false), 1, "the first claim may be over")
	l.compare(map[string]int64{})
	_, lost := l.compare(map[string]int64{})
	require.Equal(t, []held{{"x", 9}}, lost, "the new one begins anew")
}

func TestAVerdictOnAnEarlierClaimSettlesNothing(t *testing.T) {
	l := newLedger()
	l.beginClaim()
	l.endClaim([]*worker.Job{claimed("x", 7)}, 2, false)
	l.settled(verdict("x", 6))
	l.drop(held{"x", 6})
	token, ok := l.token("x")
	require.True(t, ok)
	require.Equal(t, int64(7), token)
}

func TestASecondSuspectIsNotClaimed(t *testing.T) {
	l := newLedger()
	suspect := claimed("s", 1)
	suspect.Crashes = 2
	loop := claimed("loop", 2)
	loop.Crashes, loop.Reject = 3, worker.ErrCrashLoop
	require.True(t, l.beginClaim())
	l.endClaim([]*worker.Job{suspect, loop, claimed("plain", 3)}, 2, false)
	require.False(t, l.beginClaim())
	l.endClaim(nil, 2, false)
	require.False(t, l.settled(verdict("plain", 3)))
	require.False(t, l.beginClaim())
	l.endClaim(nil, 2, false)
	require.True(t, l.settled(verdict("s", 1)))
	require.False(t, l.settled(verdict("s", 1)))
	require.True(t, l.beginClaim(), "one that isn't run is none")
}

// A second entry of a held job makes no second job, unless a verdict may have ended the first claim.
func TestAJobThatIsHeldIsNotHandedOutAgain(t *testing.T) {
	l := newLedger()
	x := claimed("x", 7)
	l.beginClaim()
	require.Len(t, l.endClaim([]*worker.Job{x}, 2, false), 1)
	l.beginClaim()
	require.Empty(t, l.endClaim([]*worker.Job{claimed("x", 9)}, 2, false))
	require.Equal(t, int64(9), l.inRedis(x))
	require.Equal(t, int64(6), l.inRedis(claimed("x", 6)))
	for range 3 {
		strange, lost := l.compare(map[string]int64{"x": 9})
		require.Empty(t, strange)
		require.Empty(t, lost)
	}
	l.settling(verdict("x", 7))
	l.beginClaim()
	require.Len(t, l.endClaim([]*worker.Job{claimed("x", 11)}, 2, false), 1)
	token, _ := l.token("x")
	require.Equal(t, int64(11), token)
}

// While a claim's outcome is unknown it may have brought a suspect.
func TestAClaimOfUnknownOutcomeKeepsSuspectsAwayForTwoBeats(t *testing.T) {
	l := newLedger()
	l.beginClaim()
	l.endClaim(nil, 2, true)
	for range 2 {
		require.False(t, l.beginClaim())
		l.endClaim(nil, 2, false)
		l.compare(map[string]int64{})
	}
	require.True(t, l.beginClaim())
}

func TestAWorkerIsDeadAfterAWholeGrace(t *testing.T) {
	r := newReaper(2*time.Second, 5*time.Second)
	start := time.Now()
	seen := []expired{{"w", "100"}}
	for _, step := range []struct {
		at   time.Duration
		seen []expired
		dead bool
	}{
		{0, seen, false},
		{2 * time.Second, seen, false},
		{4 * time.Second, seen, false},
		{5 * time.Second, seen, true},
		{6 * time.Second, nil, false}, // it came back
		{8 * time.Second, seen, false},
		{12 * time.Second, seen, false},
		{13 * time.Second, []expired{{"w", "101"}}, false}, // it renewed in between
		{16 * time.Second, []expired{{"w", "101"}}, false},
		{22 * time.Second, []expired{{"w", "101"}}, false}, // this reaper was paused
		{26 * time.Second, []expired{{"w", "101"}}, false},
		{27 * time.Second, []expired{{"w", "101"}, {"v", "9"}}, true},
	} {
		dead := r.look(step.seen, start.Add(step.at))
		require.Equal(t, step.dead, len(dead) == 1, "after %v", step.at)
		if step.dead {
			require.Equal(t, "w", dead[0].worker)
		}
	}
}

func TestATakeoverThatWasCutShortGoesOnAtOnce(t *testing.T) {
	r := newReaper(2*time.Second, 3*time.Second)
	start := time.Now()
	r.look([]expired{{"w", "100"}}, start)
	require.Len(t, r.look([]expired{{"w", "100"}}, start.Add(3*time.Second)), 1)
	r.fence("w")
	require.Equal(t, []expired{{"w", "0"}}, r.look([]expired{{"w", "0"}}, start.Add(4*time.Second)))
	r.forget("w")
	r.forget("unknown")
	r.fence("unknown")
	require.Empty(t, r.look([]expired{{"w", "0"}}, start.Add(5*time.Second)), "somebody else may be at it")
}

func TestRefusalIsReadFromTheCode(t *testing.T) {
	for text, want := range map[string]bool{
		"OOM command not allowed when used memory > 'maxmemory'.":                                         true,
		"-OOM command not allowed":                                                                        true,
		"READONLY You can't write against a read only replica.":                                           true,
		"LOADING Redis is loading the dataset in memory":                                                  true,
		"CLUSTERDOWN The cluster is down":                                                                 true,
		"TRYAGAIN Multiple keys request during rehashing of slot":                                         true,
		"BUSY Redis is busy running a script.":                                                            true,
		"MASTERDOWN Link with MASTER is down":                                                             true,
		"NOREPLICAS Not enough good replicas to write.":                                                   true,
		"MISCONF Redis is configured to save RDB snapshots":                                               true,
		"Error running script (call to f_1): @user_script:12: @user_script: 12: -OOM command not allowed": true,
		"@user_script: 31: -READONLY You can't write against a read only replica.":                        true,
		"BUSYKEY Target key name already exists.":                                                         false,
		"WRONGTYPE Operation against a key holding the wrong kind of value":                               false,
		"the job said OOM somewhere":                                                                      false,
		"":                                                                                                false,
	} {
		require.Equal(t, want, refusal(text), text)
	}
}

// A verdict that is repeated after a lost answer is ignored for what it has done itself; one that is sent for the first time
// is not.
func TestIgnoredVerdictsThatWereSentBefore(t *testing.T) {
	l := newLedger()
	l.endClaim([]*worker.Job{claimed("x", 7)}, 2, false)
	l.settling(verdict("x", 7))
	require.Len(t, l.sentOnce(verdict("x", 7)), 1)
	l.refused(verdict("x", 7))
	l.settling(verdict("x", 7))
	require.Len(t, l.sentOnce(verdict("x", 7)), 1, "a refused one did nothing")
	l.settling(verdict("x", 7))
	require.Empty(t, l.sentOnce(verdict("x", 7)))
	require.Len(t, l.sentOnce(verdict("x", 6)), 1, "another claim's")
	require.Len(t, l.sentOnce(verdict("y", 1)), 1)
}
