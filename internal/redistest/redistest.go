//go:build unix

package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker/internal/freeport"
)

// RequireEnv is the environment variable that makes a missing redis-server fail tests instead of skipping them.
const RequireEnv = "WORKER_REQUIRE_SERVERS"

// startPatience is how long a server may take until it answers. Only a broken one takes that long.
const startPatience = 30 * time.Second

// Redis is a running redis-server. Its methods fail the test when they cannot do what they say.
type Redis struct {
	t      testing.TB
	binary string
	dir    string
	port   string
	args   []string

	mu  sync.Mutex
	cmd *exec.Cmd
}

// Server starts a redis-server with the given further arguments, such as "--maxmemory", "4mb". Its data is kept over
// Restart only when they ask for it, as with "--appendonly", "yes". Without a redis-server on the path the test is
// skipped, or fails when WORKER_REQUIRE_SERVERS is 1.
func Server(t testing.TB, args ...string) *Redis {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv(RequireEnv) == "1" {
			t.Fatalf("%s is 1, but there is no redis-server: %v", RequireEnv, err)
		}
		t.Skipf("no redis-server on this machine: %v", err)
	}
	r := &Redis{t: t, binary: binary, dir: t.TempDir(), args: args}
	t.Cleanup(r.Kill)
	for try := 1; ; try++ {
		r.port = FreePort(t)
		err := r.start()
		if err == nil {
			return r
		}
		if try == 5 { // somebody may have taken the port, but not five times
			t.Fatalf("start redis-server: %v", err)
		}
	}
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on.
func FreePort(t testing.TB) string {
	t.Helper()
	port, err := freeport.Choose()
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	return port
}

// Addr returns the server's address. It stays the same over Restart.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", r.port) }

// start runs the process and returns when it says that it takes connections.
func (r *Redis) start() error {
	args := append([]string{
		"--port", r.port, "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "no",
		"--enable-debug-command", "yes", "--daemonize", "no", "--logfile", "",
	}, r.args...)
	cmd := exec.Command(r.binary, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	// A server that says nothing for so long is broken; killing it ends the read below.
	timer := time.AfterFunc(startPatience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := awaitReady(out); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd = cmd
	return nil
}

func awaitReady(out io.Reader) error {
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			return nil
		}
		fmt.Fprintln(&said, lines.Text())
	}
	return errors.New("it ended before it was ready:\n" + said.String())
}

// Kill ends the process at once, as kill -9 does. Killing a dead server does nothing.
func (r *Redis) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

// Restart starts a killed server again, at the same address, or kills and starts a running one.
func (r *Redis) Restart() {
	r.t.Helper()
	r.Kill()
	if err := r.start(); err != nil {
		r.t.Fatalf("restart redis-server: %v", err)
	}
}

// Pause stops the process as if its machine stood still, until Resume.
func (r *Redis) Pause() { r.t.Helper(); r.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (r *Redis) Resume() { r.t.Helper(); r.signal(syscall.SIGCONT) }

func (r *Redis) signal(sig syscall.Signal) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		r.t.Fatalf("%v: redis-server does not run", sig)
	}
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatalf("%v: %v", sig, err)
	}
}
