package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program is the whole program, running in this process.
type program struct {
	url   string
	lines *bufio.Scanner // what it prints
	stop  func() error
}

// begin runs the program on a free port, with an embedded Redis.
func begin(t *testing.T, file string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // only for a program that never gets so far
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, "127.0.0.1:0", file, "", in)
		in.CloseWithError(io.EOF)
		ended <- err
	}()
	p := &program{lines: bufio.NewScanner(out), stop: func() error { cancel(); return <-ended }}
	p.url = p.await(t, "listening on ")
	return p
}

// await returns the rest of the next line that begins with prefix.
func (p *program) await(t *testing.T, prefix string) string {
	t.Helper()
	for p.lines.Scan() {
		if rest, found := strings.CutPrefix(p.lines.Text(), prefix); found {
			return rest
		}
	}
	t.Fatalf("the program never printed %q", prefix)
	return ""
}

// do sends a request, expects the code, and returns the image in the answer.
func (p *program) do(t *testing.T, method, path, body string, code int) (img image) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, bytes.NewBufferString(body))
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, code, resp.StatusCode)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&img))
	return img
}

// What jobs wrote is in the host's table after the program has ended, and when it runs again.
func TestProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "images.db")
	p := begin(t, file)
	id := p.do(t, http.MethodPost, "/images",
		`{"source_url": "https://rooms.example/1.jpg", "notify": "ada@example.org"}`, http.StatusAccepted).ID
	assert.Contains(t, p.await(t, "mail to ada@example.org: "), id)
	require.NoError(t, p.stop(), "an ordinary stop, which lets jobs finish")

	p = begin(t, file)
	want := image{ID: id, Status: "ready", StagedURL: "https://staged.example/" + id + ".jpg"}
	assert.Equal(t, want, p.do(t, http.MethodGet, "/images/"+id, "", http.StatusOK))
	require.NoError(t, p.stop())
}

// What keeps the program from starting is its error, and leaves nothing behind.
func TestProgramCannotStart(t *testing.T) {
	for name, start := range map[string]func() error{
		"no database": func() error { return run(t.Context(), "127.0.0.1:0", t.TempDir(), "", io.Discard) },
		"no Redis":    func() error { return run(t.Context(), "127.0.0.1:0", ":memory:", "nonsense", io.Discard) },
		"no address":  func() error { return run(t.Context(), "nowhere:-1", ":memory:", "", io.Discard) },
	} {
		assert.Error(t, start(), name)
	}
}
