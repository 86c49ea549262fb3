package redisqueue

import (
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func allScripts() map[string]*script {
	all := make(map[string]*script)
	for _, s := range []*script{
		enqueueScript, registerScript, claimScript, settleScript, checkpointScript, heartbeatScript, retireScript,
		trimScript, wakeScript, cancelMarkScript, cancelRemoveScript, requeueDrawScript, requeueMoveScript,
		knowScript, touchScript, pauseScript, resumeScript, statsScript, canceledScript,
		listWaitingScript, listSortedScript, findScript, editScript, forgetScript, tallyScript, tickScript, lastTickScript,
		unlockScript, holdersScript, replaceScript, bodyScript, releaseScript,
	} {
		all[s.Name] = s
	}
	return all
}

func TestEveryScriptFileIsLoaded(t *testing.T) {
	files, err := fs.Glob(sources, "lua/*.lua")
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		names = append(names, strings.TrimSuffix(path.Base(file), ".lua"))
	}
	require.ElementsMatch(t, names, slices.Collect(maps.Keys(allScripts())))
}

func TestHeadersSayWhatScriptsDo(t *testing.T) {
	for name, s := range allScripts() {
		t.Run(name, func(t *testing.T) {
			text := s.Text
			header, code := splitHeader(text)
			require.Truef(t, strings.HasPrefix(header, "-- "+name+": "), "the header names the script and its purpose")
			require.Contains(t, header, "-- Returns ")
			requireKeys(t, s, code)
			requireArgs(t, header, code)
		})
	}
}

// splitHeader cuts a script after its first lines of comments.
func splitHeader(text string) (header, code string) {
	lines := strings.SplitAfter(text, "\n")
	n := slices.IndexFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "--") })
	return strings.Join(lines[:n], ""), strings.Join(lines[n:], "")
}

var (
	keyLocal = regexp.MustCompile(`(?m)^local ([a-z]+) = KEYS\[(\d+)\]$`)
	keyUse   = regexp.MustCompile(`KEYS\[(\d+)\]`)
	argUse   = regexp.MustCompile(`ARGV\[(\d+)`)
	argLine  = regexp.MustCompile(`(?m)^-- ARGV\[(\d+)(…?)\]`)
)

// requireKeys: each documented key is bound once to a local of its own name, and no other is used.
func requireKeys(t *testing.T, s *script, code string) {
	t.Helper()
	single := slices.DeleteFunc(slices.Clone(s.KeyNames), func(name string) bool {
		return name == keyOthers || name == keyUniques
	})
	bound := keyLocal.FindAllStringSubmatch(code, -1)
	require.Len(t, bound, len(single))
	for i, m := range bound {
		require.Equal(t, strconv.Itoa(i+1), m[2])
		require.Equal(t, single[i], m[1], "KEYS[%d] is documented as another key", i+1)
	}
	require.Len(t, keyUse.FindAllString(code, -1), len(single), "keys are used by their names")
	if at := slices.Index(s.KeyNames, keyUniques); at >= 0 {
		require.Equal(t, len(s.KeyNames)-1, at, "the unique keys of several jobs come last")
	}
	if at := slices.Index(s.KeyNames, keyOthers); at >= 0 {
		require.Equal(t, len(s.KeyNames)-1, at, "the inflight hashes of others come last")
		require.Contains(t, code, "place_of("+map[bool]string{true: "id", false: "ARGV[1]"}[strings.Contains(code, "local id")]+
			", jobs, dead, "+strconv.Itoa(at+1)+")", "the place where the inflight hashes begin")
	}
}

// requireArgs: every argument that is used by number is documented.
func requireArgs(t *testing.T, header, code string) {
	t.Helper()
	documented, open := 0, false
	for i, m := range argLine.FindAllStringSubmatch(header, -1) {
		require.Equal(t, strconv.Itoa(i+1), m[1])
		documented, open = i+1, m[2] != ""
	}
	used := 0
	for _, m := range argUse.FindAllStringSubmatch(code, -1) {
		n, _ := strconv.Atoi(m[1])
		used = max(used, n)
	}
	require.LessOrEqual(t, used, documented)
	if !open {
		require.Equal(t, documented, used, "an argument is documented but not used")
	}
}

var (
	firstCall = regexp.MustCompile(`redis\.p?call\(([^\n]*)\)`)
	anyCall   = regexp.MustCompile(`redis\.p?call\('([A-Z]+)'(?:, ([^,)\n]+))?`)
)

func TestScriptsBuildNoKeysAndParseNoJobs(t *testing.T) {
	for name, s := range allScripts() {
		require.NotContains(t, s.Source, "cjson", name)
		for _, m := range anyCall.FindAllStringSubmatch(s.Source, -1) {
			if m[1] == "TIME" {
				continue
			}
			require.Regexp(t, `^([a-z]+|KEYS\[i\])$`, m[2], "%s: %s takes a key that is none of KEYS", name, m[0])
		}
		require.Equal(t, strings.Count(s.Source, "redis.call(")+strings.Count(s.Source, "redis.pcall("),
			len(anyCall.FindAllString(s.Source, -1)), "%s: a call with a command that is not a constant", name)
	}
}

// readsOnly are the scripts that write nothing.
var readsOnly = map[string]bool{
	"stats": true, "list_waiting": true, "list_sorted": true, "find": true, "holders": true, "body": true,
}

// Every script but enqueue and tick begins with a write that needs no memory and changes nothing, so that Redis lets the
// rest of it through when memory is out; those of resume and release are what they are for. These two must be refused, by their first write;
// those that only look write nothing.
func TestOnlyEnqueueIsRefusedWhenMemoryIsOut(t *testing.T) {
	writes := regexp.MustCompile(`redis\.(p?call)\('(HSETNX|HSET|RPUSH|LPUSH|ZADD|SET|HDEL|ZREM|LPOP|DEL|HINCRBY|PEXPIRE)'`)
	for name, s := range allScripts() {
		_, code := splitHeader(s.Text)
		first := firstCall.FindStringSubmatch(code)
		require.NotNil(t, first, name)
		if name == "enqueue" || name == "tick" {
			require.Regexp(t, `^'LLEN', `, first[1])
			continue
		}
		if readsOnly[name] {
			require.NotRegexp(t, writes, s.Source)
			continue
		}
		require.Regexp(t, `^('(HDEL|ZREM)', [a-z]+, ''|'DEL', (paused|unique))$`, first[1], name)
	}
	_, code := splitHeader(enqueueScript.Text)
	require.Equal(t, []string{"redis.pcall('HSETNX'", "pcall", "HSETNX"}, writes.FindStringSubmatch(code))
	_, code = splitHeader(tickScript.Text)
	require.Equal(t, []string{"redis.call('HSETNX'", "call", "HSETNX"}, writes.FindStringSubmatch(code))
}
