package redisnotify

import (
	"embed"

	"github.com/real-staging-ai/go-worker/internal/luascript"
)

// The scripts, one verb a file, each with a header that says what it is given and returns.
//
//go:embed lua/*.lua
var sources embed.FS

var (
	notifyScript = luascript.Load(sources, "notify")
	readScript   = luascript.Load(sources, "read")
)
