package redisqueue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// A beat that outlasts Close, as Redis keeps it waiting in the middle, has nothing more to tell.
func TestAMutedSessionCallsNoHook(t *testing.T) {
	told := 0
	c := &consumer{opts: worker.ConsumeOptions{
		OnRenewal: func(error) { told++ }, OnRecovered: func(jobs int) { told += jobs },
	}}
	c.renewed(nil)
	c.recovered(0)
	c.recovered(3)
	require.Equal(t, 4, told)
	c.mute()
	c.renewed(nil)
	c.recovered(3)
	require.Equal(t, 4, told)
	(&consumer{}).renewed(nil) // there need be none
	(&consumer{}).recovered(1)
}
