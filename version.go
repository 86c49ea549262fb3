package worker

import (
	"runtime/debug"
	"sync"
)

// moduleVersion is this module's version as the running program was built with it; empty where that isn't known, as in
// the module's own tests.
var moduleVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, module := range info.Deps {
		if module.Path == scopeName {
			return module.Version
		}
	}
	return ""
})
