// Package luascript loads Lua scripts with headers, as the packages on Redis embed them, and runs them.
//
// A script is a file of its own, named for what it does. Its header is the comment at its beginning:
//
//	-- name: what the script does.
//	-- Includes: files of lua/include that stand before it, separated by commas
//	-- KEYS[1] name of the first key
//	-- ARGV[1] what the first argument means
//	-- Returns what it returns
//
// An ellipsis, as in KEYS[2…] or ARGV[5…], stands for all that follow.
package luascript

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// Script is one script and what its header says.
type Script struct {
	Name     string
	KeyNames []string // the documented keys in order, but for those that an ellipsis stands for
	Text     string   // the file
	Source   string   // the file with what it includes: what Redis runs

	lua *rueidis.Lua
	sha string
}

var (
	keyLine     = regexp.MustCompile(`(?m)^-- KEYS\[(\d+)\] ([a-z.]+)`)
	includeLine = regexp.MustCompile(`(?m)^-- Includes: (.+)$`)
)

// Load reads lua/<name>.lua and what it includes. The scripts are part of the binary, so whatever is wrong with one is
// a bug that every test meets: it panics.
func Load(sources fs.FS, name string) *Script {
	s := &Script{Name: name, Text: mustRead(sources, path.Join("lua", name+".lua"))}
	for i, m := range keyLine.FindAllStringSubmatch(s.Text, -1) {
		if m[1] != strconv.Itoa(i+1) {
			panic(fmt.Sprintf("script %s documents KEYS[%s] in place %d", name, m[1], i+1))
		}
		s.KeyNames = append(s.KeyNames, m[2])
	}
	var source strings.Builder
	if m := includeLine.FindStringSubmatch(s.Text); m != nil {
		for _, include := range strings.Split(m[1], ", ") {
			source.WriteString(mustRead(sources, path.Join("lua/include", include+".lua")))
		}
	}
	source.WriteString(s.Text)
	s.Source = source.String()
	// Never a retryable one: it would be sent again after a lost reply, without anybody knowing.
	s.lua = rueidis.NewLuaScript(s.Source)
	sum := sha1.Sum([]byte(s.Source))
	s.sha = hex.EncodeToString(sum[:])
	return s
}

func mustRead(sources fs.FS, name string) string {
	data, err := fs.ReadFile(sources, name)
	if err != nil {
		panic(fmt.Sprintf("script: %v", err))
	}
	return string(data)
}

// Run sends the script once and waits for the reply until ctx ends.
func (s *Script) Run(ctx context.Context, client rueidis.Client, keys, args []string) (rueidis.RedisMessage, error) {
	return s.lua.Exec(ctx, client, keys, args).ToMessage()
}

// Call is what one run of a script is given.
type Call struct{ Keys, Args []string }

// Command returns the command that runs the script, for callers who send others along with it: by the script's hash,
// which a server that has not seen it answers with an error for which NoScript is true, or else with its whole source.
func (s *Script) Command(b rueidis.Builder, c Call, whole bool) rueidis.Completed {
	if whole {
		return b.Eval().Script(s.Source).Numkeys(int64(len(c.Keys))).Key(c.Keys...).Arg(c.Args...).Build()
	}
	return b.Evalsha().Sha1(s.sha).Numkeys(int64(len(c.Keys))).Key(c.Keys...).Arg(c.Args...).Build()
}

// NoScript reports whether err says that the server has not seen the script.
func NoScript(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	return ok && reply.IsNoScript()
}

// RunEach sends the script once for each call, all at once, and returns the replies in their order. Unlike
// rueidis.Lua.ExecMulti it loads the script only where it is missing. On a cluster the keys of a call share a slot, and
// those of different calls need not.
func (s *Script) RunEach(ctx context.Context, client rueidis.Client, calls []Call) []rueidis.RedisResult {
	commands := make([]rueidis.Completed, len(calls))
	for i, c := range calls {
		commands[i] = s.Command(client.B(), c, false)
	}
	replies := client.DoMulti(ctx, commands...)
	var again []int
	commands = commands[:0]
	for i, reply := range replies {
		if NoScript(reply.Error()) {
			again = append(again, i)
			commands = append(commands, s.Command(client.B(), calls[i], true))
		}
	}
	if len(again) > 0 {
		for i, reply := range client.DoMulti(ctx, commands...) {
			replies[again[i]] = reply
		}
	}
	return replies
}

// RepeatEach is RunEach for a script that may run twice: what got lost on the way is sent once more, as a connection
// that broke while it was idle is noticed only so.
func (s *Script) RepeatEach(ctx context.Context, client rueidis.Client, calls []Call) []rueidis.RedisResult {
	replies := s.RunEach(ctx, client, calls)
	var lost []int
	var again []Call
	for i, reply := range replies {
		if reply.NonRedisError() != nil && ctx.Err() == nil {
			lost, again = append(lost, i), append(again, calls[i])
		}
	}
	if len(again) > 0 {
		for i, reply := range s.RunEach(ctx, client, again) {
			replies[lost[i]] = reply
		}
	}
	return replies
}
