package redisqueue

import (
	"embed"
	"errors"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker/internal/luascript"
)

// The scripts, one verb a file. Each begins with a header that says what it does, which keys and arguments it takes
// and what it returns; the keys of a call are made from the header, so that the two cannot differ.
//
//go:embed lua/*.lua lua/include/*.lua
var sources embed.FS

// maxElements is the largest number of jobs that one call handles.
const maxElements = 500

var (
	enqueueScript      = load("enqueue")
	registerScript     = load("register")
	claimScript        = load("claim")
	settleScript       = load("settle")
	checkpointScript   = load("checkpoint")
	heartbeatScript    = load("heartbeat")
	retireScript       = load("retire")
	trimScript         = load("trim")
	wakeScript         = load("wake")
	cancelMarkScript   = load("cancel_mark")
	cancelRemoveScript = load("cancel_remove")
	requeueDrawScript  = load("requeue_draw")
	requeueMoveScript  = load("requeue_move")
	knowScript         = load("know")
	touchScript        = load("touch")
	pauseScript        = load("pause")
	resumeScript       = load("resume")
	statsScript        = load("stats")
	canceledScript     = load("canceled")
	listWaitingScript  = load("list_waiting")
	listSortedScript   = load("list_sorted")
	findScript         = load("find")
	editScript         = load("edit")
	forgetScript       = load("forget")
	tallyScript        = load("tally")
	unlockScript       = load("unlock")
	holdersScript      = load("holders")
	replaceScript      = load("replace")
	bodyScript         = load("body")
	releaseScript      = load("release")
)

// script is one Lua script and what its header says. Among its keys, keyOthers or keyUniques comes last.
type script struct{ *luascript.Script }

func load(name string) *script { return &script{luascript.Load(sources, name)} }

// keysFor returns the keys of a call: worker is whose inflight hash is meant, others are the workers of keyOthers. Those of
// keyUniques are the caller's to append.
func (s *script) keysFor(k keys, worker string, others ...string) []string {
	names := make([]string, 0, len(s.KeyNames)+len(others))
	for _, name := range s.KeyNames {
		switch name {
		case keyInflight:
			names = append(names, k.inflight(worker))
		case keyUniques:
		case keyOthers:
			for _, other := range others {
				names = append(names, k.inflight(other))
			}
		default:
			names = append(names, k.name(name))
		}
	}
	return names
}

// serverError reports whether err is an error reply, as opposed to trouble on the way to the server and back.
func serverError(err error) bool {
	if _, ok := rueidis.IsRedisErr(err); ok {
		return true
	}
	var text refusedText
	return errors.As(err, &text)
}

// flagArg writes a flag as the scripts read it.
func flagArg(set bool) string {
	if set {
		return "1"
	}
	return "0"
}
