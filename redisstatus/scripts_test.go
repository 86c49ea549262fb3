package redisstatus

import (
	"testing"

	"github.com/real-staging-ai/go-worker/internal/luascript/luatest"
)

func TestScriptsDoWhatTheirHeadersSay(t *testing.T) {
	luatest.Check(t, sources, nil, saveScript, fillScript, getScript)
}
