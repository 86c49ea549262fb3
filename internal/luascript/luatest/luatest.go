// Package luatest checks that scripts do what their headers say.
package luatest

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/real-staging-ai/go-worker/internal/luascript"
)

var (
	keyLine  = regexp.MustCompile(`(?m)^-- KEYS\[(\d+)(…?)\]`)
	keyLocal = regexp.MustCompile(`(?m)^local ([a-z]+) = KEYS\[(\d+)\]$`)
	keyUse   = regexp.MustCompile(`KEYS\[(\d+)\]`)
	argLine  = regexp.MustCompile(`(?m)^-- ARGV\[(\d+)(…?)\]`)
	argUse   = regexp.MustCompile(`ARGV\[(\d+)`)
	anyCall  = regexp.MustCompile(`redis\.p?call\(('[A-Z]+'|[a-z]+)(?:, ([^,)\n]+))?`)
)

// Check fails the test unless all scripts among sources are loaded, say what they do, document each key and argument
// that they use, take keys only from KEYS, and parse no JSON. channels are the locals that commands may name though they
// are no keys.
func Check(t *testing.T, sources fs.FS, channels []string, scripts ...*luascript.Script) {
	t.Helper()
	files, err := fs.Glob(sources, "lua/*.lua")
	if err != nil || len(files) != len(scripts) {
		t.Errorf("%d scripts are loaded of the files %v: %v", len(scripts), files, err)
	}
	for _, s := range scripts {
		if !slices.Contains(files, path.Join("lua", s.Name+".lua")) {
			t.Errorf("script %s has no file", s.Name)
		}
		t.Run(s.Name, func(t *testing.T) { check(t, s, channels) })
	}
}

func check(t *testing.T, s *luascript.Script, channels []string) {
	header, code := split(s.Text)
	if !strings.HasPrefix(header, "-- "+s.Name+": ") || !strings.Contains(header, "\n-- Returns ") {
		t.Errorf("the header doesn't begin with the script's name, or doesn't say what it returns")
	}
	if strings.Contains(s.Source, "cjson") {
		t.Errorf("the script parses JSON")
	}
	checkKeys(t, s, header, code)
	checkArgs(t, header, code)
	for _, m := range anyCall.FindAllStringSubmatch(s.Source, -1) {
		if m[1] != "'TIME'" && !regexp.MustCompile(`^[a-z]+$`).MatchString(m[2]) && !slices.Contains(channels, m[2]) {
			t.Errorf("%s takes a key that is none of KEYS", m[0])
		}
	}
}

// split cuts a script after its first lines of comments.
func split(text string) (header, code string) {
	lines := strings.SplitAfter(text, "\n")
	n := slices.IndexFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "--") })
	return strings.Join(lines[:n], ""), strings.Join(lines[n:], "")
}

// checkKeys: each documented key is bound once to a local of its own name, and no other is used by number.
func checkKeys(t *testing.T, s *luascript.Script, header, code string) {
	documented := keyLine.FindAllStringSubmatch(header, -1)
	for i, m := range documented {
		if m[1] != strconv.Itoa(i+1) || m[2] != "" && i != len(documented)-1 {
			t.Errorf("the header documents KEYS[%s%s] in place %d", m[1], m[2], i+1)
		}
	}
	open := len(documented) > 0 && documented[len(documented)-1][2] != ""
	if open && len(documented) == 1 { // all alike: taken in a loop
		return
	}
	bound := keyLocal.FindAllStringSubmatch(code, -1)
	if len(bound) != len(s.KeyNames) || len(keyUse.FindAllString(code, -1)) != len(bound) {
		t.Errorf("the keys %v are not used by their names alone", s.KeyNames)
		return
	}
	for i, m := range bound {
		if m[1] != s.KeyNames[i] || m[2] != strconv.Itoa(i+1) {
			t.Errorf("KEYS[%s] is documented as %s and used as %s", m[2], s.KeyNames[i], m[1])
		}
	}
}

// checkArgs: every argument that is used by number is documented, and the other way round.
func checkArgs(t *testing.T, header, code string) {
	documented, open := 0, false
	for i, m := range argLine.FindAllStringSubmatch(header, -1) {
		if m[1] != strconv.Itoa(i+1) {
			t.Errorf("the header documents ARGV[%s] in place %d", m[1], i+1)
		}
		documented, open = i+1, m[2] != ""
	}
	used := 0
	for _, m := range argUse.FindAllStringSubmatch(code, -1) {
		n, _ := strconv.Atoi(m[1])
		used = max(used, n)
	}
	if used > documented || !open && used < documented {
		t.Errorf("%d arguments are documented and %d used", documented, used)
	}
}
