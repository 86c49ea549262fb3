//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisnotify"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/sqlstatus"
	"github.com/real-staging-ai/go-worker/stage"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stageworker-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "stageworker")
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// patience is for programs that hang; none needs it.
const patience = 3 * time.Minute

var (
	binary string // its path
	build  = sync.OnceValue(func() error {
		out, err := exec.CommandContext(context.Background(), "go", "build", "-o", binary, ".").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
)

// process is the binary, running.
type process struct {
	url    string
	cmd    *exec.Cmd
	exited chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// launch runs the binary with these variables and no others, until it has said where it answers probes.
func launch(t *testing.T, env map[string]string) *process {
	t.Helper()
	require.NoError(t, build())
	p := &process{cmd: exec.CommandContext(context.Background(), binary), exited: make(chan struct{})}
	p.cmd.Env = []string{} // not nil, which would be the test's own
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	started := make(chan string, 1)
	go func() {
		defer close(p.exited)
		p.read(stderr, started)
		_ = p.cmd.Wait() // its exit code is looked at by stop
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails when it has ended
		<-p.exited
	})
	select {
	case p.url = <-started:
	case <-p.exited:
		require.FailNow(t, "the worker has ended", p.said())
	}
	return p
}

func (p *process) read(stderr io.Reader, started chan<- string) {
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		p.mu.Lock()
		p.log.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
		var line struct{ HTTP string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.HTTP != "" {
			started <- line.HTTP
		}
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// terminate ends it as systemd, Docker and Kubernetes do, and returns its exit code.
func (p *process) terminate(t *testing.T) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(patience):
		require.FailNow(t, "the worker doesn't end", p.said())
	}
	return p.cmd.ProcessState.ExitCode()
}

// answer asks until the answer has a text in it.
func (p *process) answer(t *testing.T, path, text string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	last := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		response, err := client.Get(p.url + path)
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		require.NoError(t, err)
		if last = string(body); strings.Contains(last, text) {
			assert.Equal(t, http.StatusOK, response.StatusCode)
			return
		}
		time.Sleep(20 * time.Millisecond) // a real server is asked
	}
	require.FailNow(t, "the worker never answers so", "%s: %s\n%s\n%s", path, text, last, p.said())
}

// host is the other program: it enqueues jobs, hears of them, and reads what became of them.
type host struct {
	client   *worker.Client
	notifier *redisnotify.Notifier
	statuses *sqlstatus.Store
}

func newHost(t *testing.T, redisAddr, databaseURL string) *host {
	t.Helper()
	redis, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{redisAddr}, DisableCache: true})
	require.NoError(t, err)
	t.Cleanup(redis.Close)
	db, err := sql.Open("pgx", databaseURL)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	cfg := sqlstatus.Config{Dialect: sqlstatus.Postgres}
	require.NoError(t, sqlstatus.Migrate(t.Context(), db, cfg))
	h := &host{}
	h.statuses, err = sqlstatus.New(db, cfg)
	require.NoError(t, err)
	h.notifier, err = redisnotify.New(redis, redisnotify.Config{})
	require.NoError(t, err)
	t.Cleanup(h.notifier.Close)
	queue, err := redisqueue.New(redis, redisqueue.Config{})
	require.NoError(t, err)
	h.client, err = worker.NewClient(worker.Backend{Queue: queue, StatusStore: h.statuses, Notifier: h.notifier})
	require.NoError(t, err)
	return h
}

// order enqueues a job for the photo that rooms made.
func (h *host) order(t *testing.T, style string) string {
	t.Helper()
	return h.orderOf(t, "rooms/1.jpg", style)
}

func (h *host) orderOf(t *testing.T, url, style string) string {
	t.Helper()
	job, err := h.client.Enqueue(t.Context(), stage.Payload{
		ImageID: uuid.New(), OriginalURL: url, RoomType: "bedroom", Style: style, Prompt: "warm light",
	})
	require.NoError(t, err)
	return job.ID
}

// await hears of a job until it is in a state, or over.
func (h *host) await(t *testing.T, id string, state worker.State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	events, err := h.notifier.Subscribe(ctx, "job:"+id, "")
	require.NoError(t, err)
	for e := range events {
		if e.Status != nil && (e.Status.State == state || e.Status.State.Final()) {
			require.Equal(t, state, e.Status.State, e.Status.Error)
			return
		}
	}
	require.FailNow(t, "nothing is heard of the job any more", "%s was never %s", id, state)
}

func (h *host) status(t *testing.T, id string) worker.Status {
	t.Helper()
	status, err := h.statuses.Get(t.Context(), id)
	require.NoError(t, err)
	return *status
}

// rooms makes a directory of originals with one photo of a wall and a floor in it.
func rooms(t *testing.T) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 1800, 1200))
	for y := range 1200 {
		for x := range 1800 {
			c := color.RGBA{R: 222, G: 218, B: uint8(200 + x/90), A: 255}
			if y > 800 {
				c = color.RGBA{R: 150, G: uint8(110 + y/60), B: 80, A: 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, img, nil))
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "rooms"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rooms", "1.jpg"), b.Bytes(), 0o600))
	return dir
}

// A worker as it is deployed: it becomes ready, stages a picture, drains when it is told to end, and the next one goes on.
func TestWorker(t *testing.T) {
	redis, postgres := redistest.Server(t), pgtest.Server(t)
	secret := filepath.Join(t.TempDir(), "database-url")
	require.NoError(t, os.WriteFile(secret, []byte(postgres.URL()+"\n"), 0o600))
	staged := t.TempDir()
	env := map[string]string{
		"REDIS_URL": "redis://" + redis.Addr(), "DATABASE_URL_FILE": secret,
		"ORIGINALS_DIR": rooms(t), "STAGED_DIR": staged, "STAGED_BASE_URL": "https://cdn.example.com/staged",
		"HTTP_ADDR": "127.0.0.1:0", "CONCURRENCY": "1",
	}
	h := newHost(t, redis.Addr(), postgres.URL())

	first := launch(t, env)
	first.answer(t, "/readyz", `"ready":true`)
	first.answer(t, "/healthz", `"live":true`)
	good, bad := h.order(t, "scandinavian"), h.order(t, "rococo")
	h.await(t, good, worker.StateSucceeded)
	h.await(t, bad, worker.StateFailed)
	status := h.status(t, good)
	assert.Equal(t, worker.StateSucceeded, status.State)
	var result stage.Result
	require.NoError(t, json.Unmarshal(status.Result, &result))
	assert.Equal(t, "localmodel/1", result.Model)
	name, found := strings.CutPrefix(result.StagedURL, "https://cdn.example.com/staged/")
	require.True(t, found, result.StagedURL)
	picture, err := os.ReadFile(filepath.Join(staged, name))
	require.NoError(t, err)
	config, kind, err := image.DecodeConfig(bytes.NewReader(picture))
	require.NoError(t, err)
	assert.Equal(t, "jpeg 1800 x 1200", fmt.Sprint(kind, " ", config.Width, " x ", config.Height))
	status = h.status(t, bad)
	assert.Contains(t, status.Error, `style "rococo" is unknown: accepted are modern, `)
	assert.Equal(t, 1, status.Attempt)
	first.answer(t, "/metrics", `worker_job_finished_total{`)
	first.answer(t, "/metrics", `process_resident_memory_bytes`)

	var orders []string
	for range 4 {
		orders = append(orders, h.order(t, "modern"))
	}
	h.await(t, orders[0], worker.StateRunning)
	assert.Zero(t, first.terminate(t), first.said())
	assert.Equal(t, worker.StateSucceeded, h.status(t, orders[0]).State, "what runs is finished")
	for _, id := range orders[1:] {
		assert.NotEqual(t, worker.StateRunning, h.status(t, id).State, "nothing is left half done")
	}

	second := launch(t, env)
	for _, id := range orders {
		h.await(t, id, worker.StateSucceeded)
		assert.Equal(t, 1, h.status(t, id).Attempt, "a deploy costs no attempt")
	}
	assert.Zero(t, second.terminate(t), second.said())
}

// What is wrong with the environment is told on the terminal, all of it and nothing secret, with an exit code of its own.
func TestWorkerRefusesToStart(t *testing.T) {
	require.NoError(t, build())
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = []string{"CONCURRENCY=many", "DATABASE_URL=mysql://u:hunter2@db/x"}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Equal(t, 2, cmd.ProcessState.ExitCode())
	assert.Equal(t, `stageworker: the configuration is wrong:
  REDIS_URL is missing: where jobs wait, as redis://:password@host:6379/0
  DATABASE_URL cannot be read: it must be like postgres://user:password@host:5432/database
  CONCURRENCY is "many": it must be a whole number, at least 1
  ORIGINALS_DIR is missing: the directory that original_url is a path in
  STAGED_DIR is missing: the directory for staged pictures
`, string(out))
}
