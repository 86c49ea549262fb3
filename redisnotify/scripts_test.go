package redisnotify

import (
	"testing"

	"github.com/real-staging-ai/go-worker/internal/luascript/luatest"
)

func TestScriptsDoWhatTheirHeadersSay(t *testing.T) {
	// What is published to is a channel, but for sharded ones, which are among KEYS.
	luatest.Check(t, sources, []string{"messages[i]"}, notifyScript, readScript)
}
