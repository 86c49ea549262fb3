package redisstatus

import (
	"embed"

	"github.com/real-staging-ai/go-worker/internal/luascript"
)

// The scripts, one verb a file, each with a header that says what it is given and returns.
//
//go:embed lua/*.lua
var sources embed.FS

var (
	saveScript = luascript.Load(sources, "save")
	fillScript = luascript.Load(sources, "fill")
	getScript  = luascript.Load(sources, "get")
)
