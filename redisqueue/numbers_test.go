package redisqueue

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func holdsAll(held) bool { return true }

// A handler may make checkpoints beside each other. One that is confirmed clears nothing of a later one.
func TestNumbersDoubtTheLatestUnknown(t *testing.T) {
	var n numbers
	a, b := held{"a", 1}, held{"b", 2}
	first, doubt := n.next(a)
	require.False(t, doubt)
	second, _ := n.next(a)
	n.unknown(a, second, holdsAll)
	n.unknown(a, first, holdsAll)
	n.confirmed(a, first)
	_, doubt = n.next(a)
	require.True(t, doubt)
	_, doubt = n.next(b)
	require.False(t, doubt, "another claim")
	third, _ := n.next(a)
	n.confirmed(a, third)
	_, doubt = n.next(a)
	require.False(t, doubt)
}

func TestNumbersForgetClaimsThatAreOver(t *testing.T) {
	var n numbers
	over, running := held{"a", 1}, held{"b", 2}
	n.unknown(over, 1, holdsAll)
	n.unknown(running, 2, func(h held) bool { return h == running })
	require.Equal(t, map[held]int64{running: 2}, n.doubts)
}
