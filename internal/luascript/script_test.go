package luascript_test

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker/internal/luascript"
	"github.com/real-staging-ai/go-worker/internal/luascript/luatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var files = fstest.MapFS{
	"lua/count.lua": {Data: []byte(`-- count: adds to a counter.
-- Includes: twice
-- KEYS[1] counter
-- ARGV[1] what to add, twice
-- Returns the new count.
local counter = KEYS[1]
if ARGV[1] == '' then
  return redis.error_reply('NOTHING to add')
end
return redis.call('INCRBY', counter, twice(ARGV[1]))
`)},
	"lua/include/twice.lua": {Data: []byte("local function twice(n)\n  return 2 * n\nend\n")},
	"lua/bad.lua":           {Data: []byte("-- bad: is bad.\n-- KEYS[2] counter\n")},
	"lua/lost.lua":          {Data: []byte("-- lost: includes what isn't there.\n-- Includes: nothing\n")},
}

func connect(t *testing.T) rueidis.Client {
	t.Helper()
	m := miniredis.RunT(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{m.Addr()}, DisableCache: true, ForceSingleClient: true,
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func TestScriptsRunWithWhatTheyInclude(t *testing.T) {
	client := connect(t)
	s := luascript.Load(files, "count")
	require.Equal(t, []string{"counter"}, s.KeyNames)
	luatest.Check(t, fstest.MapFS{"lua/count.lua": files["lua/count.lua"]}, nil, s)
	for want := int64(6); want <= 12; want += 6 {
		reply, err := s.Run(context.Background(), client, []string{"k"}, []string{"3"})
		require.NoError(t, err)
		got, err := reply.AsInt64()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// A server that was restarted doesn't know the script: each call that meets this is sent again, the others are not.
func TestRunEachLoadsWhatIsMissingAndAnswersInOrder(t *testing.T) {
	client := connect(t)
	s := luascript.Load(files, "count")
	calls := []luascript.Call{
		{Keys: []string{"a"}, Args: []string{"1"}},
		{Keys: []string{"b"}, Args: []string{""}},
		{Keys: []string{"a"}, Args: []string{"2"}},
	}
	for round := range int64(2) {
		replies := s.RunEach(context.Background(), client, calls)
		require.Len(t, replies, 3)
		first, err := replies[0].AsInt64()
		require.NoError(t, err)
		require.Equal(t, 6*round+2, first)
		require.ErrorContains(t, replies[1].Error(), "NOTHING to add")
		third, err := replies[2].AsInt64()
		require.NoError(t, err)
		require.Equal(t, 6*round+6, third)
		require.NoError(t, client.Do(context.Background(), client.B().ScriptFlush().Build()).Error())
	}
}

func TestLoadPanicsOverFilesThatAreWrong(t *testing.T) {
	for _, name := range []string{"bad", "lost", "missing"} {
		require.Panics(t, func() { luascript.Load(files, name) }, name)
	}
}
