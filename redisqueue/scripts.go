package redisqueue

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/redis/rueidis"
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
)

// script is one Lua script and what its header says.
type script struct {
	name     string
	keyNames []string // the documented keys in order; keyOthers comes last
	source   string   // with what it includes
	lua      *rueidis.Lua
}

var (
	keyLine     = regexp.MustCompile(`(?m)^-- KEYS\[(\d+)\] ([a-z.]+)`)
	includeLine = regexp.MustCompile(`(?m)^-- Includes: (.+)$`)
)

// load reads a script at start-up. The scripts are part of the binary, so whatever is wrong with one is a bug that
// every test meets.
func load(name string) *script {
	text := mustRead("lua/" + name + ".lua")
	s := &script{name: name}
	for i, m := range keyLine.FindAllStringSubmatch(text, -1) {
		if m[1] != fmt.Sprint(i+1) {
			panic(fmt.Sprintf("redisqueue: script %s documents KEYS[%s] in place %d", name, m[1], i+1))
		}
		s.keyNames = append(s.keyNames, m[2])
	}
	var source strings.Builder
	if m := includeLine.FindStringSubmatch(text); m != nil {
		for _, include := range strings.Split(m[1], ", ") {
			source.WriteString(mustRead(path.Join("lua/include", include+".lua")))
		}
	}
	source.WriteString(text)
	s.source = source.String()
	// Never a retryable one: it would be sent again after a lost reply, without anybody knowing.
	s.lua = rueidis.NewLuaScript(s.source)
	return s
}

func mustRead(name string) string {
	data, err := sources.ReadFile(name)
	if err != nil {
		panic("redisqueue: " + err.Error())
	}
	return string(data)
}

// keysFor returns the keys of a call: worker is whose inflight hash is meant, others are the workers of keyOthers.
func (s *script) keysFor(k keys, worker string, others ...string) []string {
	names := make([]string, 0, len(s.keyNames)+len(others))
	for _, name := range s.keyNames {
		switch name {
		case keyInflight:
			names = append(names, k.inflight(worker))
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

// run sends the script once and waits for the reply until ctx ends.
func (s *script) run(ctx context.Context, client rueidis.Client, keys, args []string) (rueidis.RedisMessage, error) {
	return s.lua.Exec(ctx, client, keys, args).ToMessage()
}

// serverError reports whether err is an error reply, as opposed to trouble on the way to the server and back.
func serverError(err error) bool {
	if _, ok := rueidis.IsRedisErr(err); ok {
		return true
	}
	var text refusedText
	return errors.As(err, &text)
}
