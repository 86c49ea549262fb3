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
	stop   context.CancelFunc
	code   chan int
}

// begin runs the program until the test ends.
func begin(t *testing.T) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	p := &program{client: &http.Client{Transport: &http.Transport{}}, tape: &tee{to: in}, stop: cancel, code: make(chan int, 1)}
	var stderr bytes.Buffer
	go func() {
		p.code <- run(ctx, []string{"-addr", "127.0.0.1:0"}, "", p.tape, &stderr)
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	for p.url == "" && lines.Scan() {
		url, _ := strings.CutPrefix(lines.Text(), "page: ")
		if url != lines.Text() {
			p.url = strings.TrimSuffix(url, "/")
		}
	}
	require.NotEmpty(t, p.url, "the program printed no page: %s", &stderr)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, out)
	}()
	t.Cleanup(func() {
		p.client.CloseIdleConnections()
		cancel()
		<-drained
	})
	return p
}

// end stops the program and returns its exit code.
func (p *program) end(t *testing.T) int {
	t.Helper()
	p.stop()
	select {
	case code := <-p.code:
		return code
	case <-time.After(20 * time.Second):
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

// What a person sees in the terminal: the bundled picture's life in order, then the page. Nothing remains afterwards.
func TestTape(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := begin(t)
	assert.Equal(t, 0, p.end(t))
	assert.Regexp(t, regexp.MustCompile(`(?s)\Aredis:    embedded; .*\npictures: .*\n\nstaging the bundled picture samples/.*`+
		`  queued\n.*  running .*  succeeded  100%  http://127\.0\.0\.1:\d+/images/staged/\S+\.jpg\n\n`+
		`page: http://127\.0\.0\.1:\d+/\n`), p.tape.String())
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "the directory of pictures is removed")
}

func TestAddressTaken(t *testing.T) {
	p := begin(t)
	addr := strings.TrimPrefix(p.url, "http://")
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-addr", addr}, "", &stdout, &stderr))
	assert.Equal(t, "staging: "+addr+" is taken by another program: choose another address with -addr, "+
		"such as -addr 127.0.0.1:0 for a free port\n", stderr.String())
	assert.Equal(t, 0, p.end(t))
}

func TestMisuse(t *testing.T) {
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":   {[]string{"-nonsense"}, "not defined: -nonsense"},
		"argument":       {[]string{"in.jpg"}, `unexpected argument "in.jpg"`},
		"no output":      {[]string{"-image", "in.jpg"}, "-image needs -out"},
		"output only":    {[]string{"-out", "out.jpg"}, "-out needs -image"},
		"seed of words":  {[]string{"-seed", "seven"}, `invalid value "seven"`},
		"image is empty": {[]string{"-image", "", "-out", "out.jpg"}, "-out needs -image"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, 2, run(t.Context(), row.args, "", &stdout, &stderr))
			assert.Contains(t, stderr.String(), row.want)
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"))
			assert.Empty(t, stdout.String())
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 0, run(t.Context(), []string{"-help"}, "", &stdout, &stderr))
	assert.Contains(t, stdout.String(), "-image in.jpg -out staged.jpg")
	assert.Contains(t, stdout.String(), "living_room")
	assert.Empty(t, stderr.String())
}

// Neither a wrong address nor a server that isn't there tells the password.
func TestRedisTrouble(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in.png")
	require.NoError(t, os.WriteFile(in, emptyRoom(t), 0o600))
	for _, url := range []string{"redis://:secret@127.0.0.1:1/", "redis://:secret@127.0.0.1:port", "https://:secret@example.com"} {
		var stdout, stderr bytes.Buffer
		args := []string{"-image", in, "-out", filepath.Join(t.TempDir(), "out.jpg")}
		assert.Equal(t, 1, run(t.Context(), args, url, &stdout, &stderr))
		assert.Contains(t, stderr.String(), "REDIS_URL")
		assert.NotContains(t, stderr.String(), "secret")
		assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	}
}
