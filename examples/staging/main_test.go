package main

import (
	"bufio"
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program is the whole program, running in this process.
type program struct {
	url    string // without a slash at the end
	client *http.Client
	tape   *tee
	lines  chan string // of the tape
	stderr bytes.Buffer
	stop   context.CancelFunc
	code   chan int
}

// surroundings are environment variables.
type surroundings map[string]string

func (s surroundings) get(name string) string { return s[name] }

// begin runs the program, with a page, until the test ends.
func begin(t *testing.T, env surroundings, args ...string) *program {
	t.Helper()
	p := launch(t, env, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	p.url = strings.TrimSuffix(p.await(t, "page: "), "/")
	return p
}

// launch runs the program until the test ends.
func launch(t *testing.T, env surroundings, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	p := &program{client: &http.Client{Transport: &http.Transport{}}, tape: &tee{to: in}, lines: make(chan string, 10_000),
		stop: cancel, code: make(chan int, 1)}
	go func() {
		p.code <- run(ctx, args, env.get, p.tape, &p.stderr)
		in.Close()
	}()
	go func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		p.client.CloseIdleConnections()
		cancel()
		for range p.lines {
		}
	})
	return p
}

// await returns what follows text on the next line that has it.
func (p *program) await(t *testing.T, text string) string {
	t.Helper()
	for line := range p.lines {
		if _, rest, ok := strings.Cut(line, text); ok {
			return rest
		}
	}
	require.FailNow(t, "the program ended early", "it never printed %q: %s", text, &p.stderr)
	return ""
}

// end stops the program and returns its exit code.
func (p *program) end(t *testing.T) int {
	t.Helper()
	p.stop()
	select {
	case code := <-p.code:
		return code
	case <-time.After(time.Minute):
		t.Fatal("the program does not stop")
		return -1
	}
}

// tee keeps what it passes on.
type tee struct {
	to io.Writer

	mu   sync.Mutex
	kept bytes.Buffer
}

func (w *tee) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.kept.Write(b)
	w.mu.Unlock()
	return w.to.Write(b)
}

func (w *tee) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept.String()
}

// emptyRoom is a small picture of a wall and a floor.
func emptyRoom(t *testing.T) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 320, 214))
	for y := range 214 {
		for x := range 320 {
			c := color.RGBA{R: 222, G: 218, B: uint8(200 + x/16), A: 255}
			if y > 140 {
				c = color.RGBA{R: 150, G: uint8(110 + y/8), B: 80, A: 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

// What a person sees in the terminal: the bundled picture's life in order, then the page. That it waits is not told once it
// runs. Nothing remains afterwards.
func TestTape(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := begin(t, nil)
	assert.Equal(t, 0, p.end(t))
	assert.Regexp(t, regexp.MustCompile(`(?s)\Aredis:    embedded; .*\ndatabase: SQLite.*\npictures: .*\n\nstaging the bundled picture samples/.*`+
		`(?:  queued\n.*)?  running .*  succeeded  100%  http://127\.0\.0\.1:\d+/images/staged/\S+\.jpg\n\n`+
		`page: http://127\.0\.0\.1:\d+/\n`), p.tape.String())
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "the directory of pictures is removed")
}

func TestAddressTaken(t *testing.T) {
	p := begin(t, nil)
	addr := strings.TrimPrefix(p.url, "http://")
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-addr", addr}, surroundings{}.get, &stdout, &stderr))
	assert.Equal(t, "staging: "+addr+" is taken by another program: choose another address with -addr, "+
		"such as -addr 127.0.0.1:0 for a free port\n", stderr.String())
	assert.Equal(t, 0, p.end(t))
}

func TestMisuse(t *testing.T) {
	for name, row := range map[string]struct {
		args []string
		env  map[string]string
		want string
	}{
		"unknown flag":   {args: []string{"-nonsense"}, want: "not defined: -nonsense"},
		"argument":       {args: []string{"in.jpg"}, want: `unexpected argument "in.jpg"`},
		"no output":      {args: []string{"-image", "in.jpg"}, want: "-image needs -out"},
		"output only":    {args: []string{"-out", "out.jpg"}, want: "-out needs -image"},
		"seed of words":  {args: []string{"-seed", "seven"}, want: `invalid value "seven"`},
		"image is empty": {args: []string{"-image", "", "-out", "out.jpg"}, want: "-out needs -image"},
		"image and role": {args: []string{"-image", "in.jpg", "-out", "out.jpg", "-role", "worker"}, want: "-role is for the page"},
		"negative pace":  {args: []string{"-pace", "-1s"}, want: "-pace is -1s: it must not be negative"},
		"unknown role":   {args: []string{"-role", "boss"}, want: `-role is "boss": use all, api or worker`},
		"role alone":     {args: []string{"-role", "api"}, want: "-role api needs what api and workers share: REDIS_URL, a Redis server; and -data, a directory"},
		"role, no data": {args: []string{"-role", "worker"}, env: map[string]string{"REDIS_URL": "redis://127.0.0.1:1"},
			want: "-role worker needs what api and workers share: -data, a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, 2, run(t.Context(), row.args, surroundings(row.env).get, &stdout, &stderr))
			assert.Contains(t, stderr.String(), row.want)
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"))
			assert.Empty(t, stdout.String())
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 0, run(t.Context(), []string{"-help"}, surroundings{}.get, &stdout, &stderr))
	assert.Contains(t, stdout.String(), "-image in.jpg -out staged.jpg")
	assert.Contains(t, stdout.String(), "living_room")
	assert.Contains(t, stdout.String(), "DATABASE_URL")
	assert.Empty(t, stderr.String())
}

// Neither a wrong address nor a server that isn't there tells the password.
func TestDatabaseTrouble(t *testing.T) {
	for _, url := range []string{"postgres://u:secret@127.0.0.1:1/", "postgres://u:secret@127.0.0.1:port/", "mysql://u:secret@db"} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, 1, run(t.Context(), []string{"-addr", "127.0.0.1:0"}, surroundings{"DATABASE_URL": url}.get, &stdout, &stderr))
		assert.Contains(t, stderr.String(), "DATABASE_URL")
		assert.NotContains(t, stderr.String(), "secret")
		assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		assert.Empty(t, stdout.String())
	}
}

func TestRedisTrouble(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in.png")
	require.NoError(t, os.WriteFile(in, emptyRoom(t), 0o600))
	for _, url := range []string{"redis://:secret@127.0.0.1:1/", "redis://:secret@127.0.0.1:port", "https://:secret@example.com"} {
		var stdout, stderr bytes.Buffer
		args := []string{"-image", in, "-out", filepath.Join(t.TempDir(), "out.jpg")}
		assert.Equal(t, 1, run(t.Context(), args, surroundings{"REDIS_URL": url}.get, &stdout, &stderr))
		assert.Contains(t, stderr.String(), "REDIS_URL")
		assert.NotContains(t, stderr.String(), "secret")
		assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	}
}
