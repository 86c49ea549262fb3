//go:build unix

package pgtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker/internal/freeport"
)

// RequireEnv is the environment variable that makes a missing Postgres fail tests instead of skipping them.
const RequireEnv = "WORKER_REQUIRE_SERVERS"

// patience is how long a server may take to start or to stop. Only a broken one takes that long.
const patience = 60 * time.Second

// Postgres is a running server. Its methods fail the test when they cannot do what they say.
type Postgres struct {
	bin  string // the directory of initdb and postgres
	dir  string
	port string
	args []string

	mu     sync.Mutex
	proc   *process // nil while the server doesn't run
	paused []int    // the processes that stand still
}

// Server starts a server with further settings, such as "fsync=off", that ends with the test. Its data is kept over
// Restart. Without Postgres on the machine the test is skipped, or fails when WORKER_REQUIRE_SERVERS is 1.
func Server(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	p, err := launch(binaries(t), settings)
	if err != nil {
		t.Fatalf("start postgres: %v", err)
	}
	t.Cleanup(p.remove)
	return p
}

var shared struct {
	mu     sync.Mutex
	server *Postgres
}

// Shared returns a server with default settings that all tests of the binary share: whoever uses it keeps to a schema
// or database of its own. It is started for the first of them and ended by StopShared, which TestMain calls.
func Shared(t testing.TB) *Postgres {
	t.Helper()
	bin := binaries(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		p, err := launch(bin, nil)
		if err != nil {
			t.Fatalf("start postgres: %v", err)
		}
		shared.server = p
	}
	return shared.server
}

// StopShared ends the server that Shared started, if it did.
func StopShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		shared.server.remove()
		shared.server = nil
	}
}

// binaries finds the directory of the server's programs: on the path, or where Debian puts them.
func binaries(t testing.TB) string {
	t.Helper()
	var candidates []string
	if found, err := exec.LookPath("initdb"); err == nil {
		candidates = append(candidates, filepath.Dir(found))
	}
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range append(candidates, versions...) {
		if executable(dir, "initdb") && executable(dir, "postgres") {
			return dir
		}
	}
	if os.Getenv(RequireEnv) == "1" {
		t.Fatalf("%s is 1, but there is no postgres on this machine", RequireEnv)
	}
	t.Skip("no postgres on this machine: neither on the path nor in /usr/lib/postgresql")
	return ""
}

func executable(dir, name string) bool {
	_, err := exec.LookPath(filepath.Join(dir, name))
	return err == nil
}

// launch makes a cluster and starts its server.
func launch(bin string, settings []string) (*Postgres, error) {
	dir, err := os.MkdirTemp("", "pgtest-") // not the test's own directory, which only root may enter
	if err != nil {
		return nil, err
	}
	p := &Postgres{bin: bin, dir: dir}
	for _, setting := range settings {
		p.args = append(p.args, "-c", setting)
	}
	if err := p.make(); err != nil {
		p.remove()
		return nil, err
	}
	for try := 1; ; try++ {
		if p.port, err = freeport.Choose(); err == nil {
			err = p.start()
		}
		if err == nil {
			return p, nil
		}
		if try == 5 { // somebody may have taken the port, but not five times
			p.remove()
			return nil, err
		}
	}
}

// make runs initdb as the user that the server will run as.
func (p *Postgres) make() error {
	who, err := unprivileged()
	if err != nil {
		return err
	}
	if who != nil {
		if err := os.Chown(p.dir, int(who.Uid), int(who.Gid)); err != nil {
			return err
		}
	}
	cmd, err := p.command("initdb", "-D", p.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-N")
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// command makes a command that runs in the cluster's directory, as its owner, and apart from the terminal's signals.
func (p *Postgres) command(name string, args ...string) (*exec.Cmd, error) {
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Setpgid: true}
	endWithTests(cmd.SysProcAttr)
	return cmd, nil
}

// URL returns what clients connect with. It stays the same over Restart.
func (p *Postgres) URL() string {
	return "postgres://postgres@" + net.JoinHostPort("127.0.0.1", p.port) + "/postgres?sslmode=disable"
}

// start runs the server and returns when it says that it takes connections.
func (p *Postgres) start() error {
	cmd, err := p.command("postgres", append([]string{
		"-D", p.data(), "-p", p.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "logging_collector=off", "-c", "log_destination=stderr", "-c", "lc_messages=C",
	}, p.args...)...)
	if err != nil {
		return err
	}
	proc, out, err := run(cmd)
	if err != nil {
		return err
	}
	// A server that says nothing for so long is broken; killing it ends the read below.
	timer := time.AfterFunc(patience, proc.kill)
	defer timer.Stop()
	if err := awaitReady(out); err != nil {
		proc.kill()
		<-proc.ended
		_ = out.Close()
		return err
	}
	go func() { // ends with the processes
		_, _ = io.Copy(io.Discard, out)
		_ = out.Close()
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proc = proc
	return nil
}

func awaitReady(out io.Reader) error {
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "database system is ready to accept connections") {
			return nil
		}
		fmt.Fprintln(&said, lines.Text())
	}
	return errors.New("it ended before it was ready:\n" + said.String())
}

// Kill ends the server and all its connections at once, without a checkpoint: what was committed is found in the log by
// Restart. Killing a dead server does nothing.
func (p *Postgres) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resumeLocked()
	if p.proc == nil {
		return
	}
	_ = syscall.Kill(p.proc.pid, syscall.SIGQUIT)
	timer := time.AfterFunc(patience, p.proc.kill)
	<-p.proc.ended
	timer.Stop()
	p.proc = nil
}

// Restart starts a killed server again, at the same address, or kills and starts a running one.
func (p *Postgres) Restart(t testing.TB) {
	t.Helper()
	p.Kill()
	if err := p.start(); err != nil {
		t.Fatalf("restart postgres: %v", err)
	}
}

// remove ends the server and deletes its data.
func (p *Postgres) remove() {
	p.Kill()
	_ = os.RemoveAll(p.dir)
}
