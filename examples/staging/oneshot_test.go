package main

import (
	"bytes"
	"image"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stageFile runs the program on one picture.
func stageFile(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, surroundings{}.get, &out, &err)
	assert.Empty(t, out.String())
	return code, err.String()
}

func TestOnePicture(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.png")
	require.NoError(t, os.WriteFile(in, emptyRoom(t), 0o600))
	stagedAs := func(name string, args ...string) []byte {
		out := filepath.Join(dir, name)
		code, stderr := stageFile(t, append([]string{"-image", in, "-out", out}, args...)...)
		require.Equal(t, 0, code, stderr)
		assert.Regexp(t, `(?s)\A  \w{6}    0\.00s  (?:queued\n.*  )?running .*  succeeded  100%  `+out+`\n\z`, stderr)
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		return data
	}
	jpg := stagedAs("out.jpg", "-room", "Dining room", "-style", "industrial", "-seed", "3")
	picture, kind, err := image.Decode(bytes.NewReader(jpg))
	require.NoError(t, err)
	assert.Equal(t, "jpeg", kind)
	assert.Equal(t, image.Pt(320, 214), picture.Bounds().Size())
	assert.Greater(t, difference(t, emptyRoom(t), picture), 1.0)

	assert.Equal(t, jpg, stagedAs("again.jpg", "-room", "dining_room", "-style", "industrial", "-seed", "3"))
	assert.NotEqual(t, jpg, stagedAs("out.jpg", "-room", "dining_room", "-style", "bohemian", "-seed", "3"), "a file is replaced")
	_, kind, err = image.Decode(bytes.NewReader(stagedAs("OUT.PNG")))
	require.NoError(t, err)
	assert.Equal(t, "png", kind)
	assert.ElementsMatch(t, []string{"OUT.PNG", "again.jpg", "in.png", "out.jpg"}, filesIn(t, dir), "and nothing is left over")
}

func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// What is wrong is said in one line, and no file appears.
func TestOnePictureFails(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	room := emptyRoom(t)
	for name, data := range map[string][]byte{
		"in.png": room, "text.jpg": []byte("hello"), "empty.jpg": {}, "cut.png": room[:len(room)/2],
		"huge.jpg": bytes.Repeat([]byte("x"), maxPhoto+1),
	} {
		require.NoError(t, os.WriteFile(path(name), data, 0o600))
	}
	before := filesIn(t, dir)
	for name, row := range map[string]struct {
		in, out string
		more    []string
		want    string
	}{
		"missing":       {"nothing.jpg", "out.jpg", nil, path("nothing.jpg") + ": no such file or directory"},
		"directory":     {".", "out.jpg", nil, "is a directory"},
		"not a picture": {"text.jpg", "out.jpg", nil, path("text.jpg") + ": this is not a picture"},
		"empty":         {"empty.jpg", "out.jpg", nil, "the picture is empty"},
		"cut short":     {"cut.png", "out.jpg", nil, "the picture is damaged"},
		"huge":          {"huge.jpg", "out.jpg", nil, "too big: at most 25 MiB"},
		"unknown room":  {"in.png", "out.jpg", []string{"-room", "attic"}, `unknown -room "attic": use one of living_room`},
		"unknown style": {"in.png", "out.jpg", []string{"-style", "rococo"}, `unknown -style "rococo": use one of`},
		"long wishes":   {"in.png", "out.jpg", []string{"-prompt", strings.Repeat("x", 5000)}, "prompt has 5000 bytes"},
		"no directory":  {"in.png", "none/out.jpg", nil, "cannot be written: no such file or directory"},
		"other kind":    {"in.png", "out.gif", nil, "must end with .jpg or .png"},
		"onto itself":   {"in.png", "in.png", nil, "this is the original"},
		"onto no file":  {"in.png", "dir.jpg", nil, "not an ordinary file"},
	} {
		t.Run(name, func(t *testing.T) {
			if row.out == "dir.jpg" {
				require.NoError(t, os.Mkdir(path("dir.jpg"), 0o700))
				defer os.Remove(path("dir.jpg"))
			}
			code, stderr := stageFile(t, append([]string{"-image", path(row.in), "-out", path(row.out)}, row.more...)...)
			assert.Equal(t, 1, code)
			assert.True(t, strings.HasPrefix(stderr, "staging: "), stderr)
			assert.Contains(t, stderr, row.want)
			assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		})
	}
	assert.Equal(t, before, filesIn(t, dir))
}

// On a server that others use, two programs don't get in each other's way, and leave nothing behind that doesn't go by
// itself, but for the names of queues.
func TestRealRedis(t *testing.T) {
	server := miniredis.RunT(t)
	dir := t.TempDir()
	in := filepath.Join(dir, "in.png")
	require.NoError(t, os.WriteFile(in, emptyRoom(t), 0o600))
	var all sync.WaitGroup
	for _, name := range []string{"1.jpg", "2.jpg"} {
		all.Go(func() {
			var stdout, stderr bytes.Buffer
			args := []string{"-image", in, "-out", filepath.Join(dir, name)}
			assert.Equal(t, 0, run(t.Context(), args, surroundings{"REDIS_URL": "redis://" + server.Addr() + "/"}.get, &stdout, &stderr), &stderr)
		})
	}
	all.Wait()
	assert.ElementsMatch(t, []string{"1.jpg", "2.jpg", "in.png"}, filesIn(t, dir))
	for _, key := range server.Keys() {
		if key == "staging-example:queues" {
			continue
		}
		assert.Positive(t, server.TTL(key), "%s stays for ever", key)
	}
}
