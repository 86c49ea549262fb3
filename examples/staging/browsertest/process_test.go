//go:build unix

package browsertest

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// patience is how long anything may take. Only what is broken takes that long.
const patience = 3 * time.Minute

// process is one part of the program, with the same arguments each time that it is started.
type process struct {
	t    *testing.T
	env  []string
	args []string

	cmd  *exec.Cmd
	read chan struct{} // closed when all of its output was read

	mu    sync.Mutex
	lines []string
	grew  chan struct{} // closed and replaced with each line
}

// launch starts a part of the program, which ends with the test.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, env: env, args: args, grew: make(chan struct{})}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(program(p.t), p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	out, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	p.cmd.Stderr = p.cmd.Stdout
	require.NoError(p.t, p.cmd.Start())
	p.read = make(chan struct{})
	go func() {
		defer close(p.read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.add(lines.Text())
		}
	}()
}

func (p *process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	close(p.grew)
	p.grew = make(chan struct{})
}

// kill ends the process at once, as kill -9 does. Killing a dead one does nothing.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.read
	_ = p.cmd.Wait()
	p.cmd = nil
}

// pause makes the process stand still until resume.
func (p *process) pause()  { p.signal(syscall.SIGSTOP) }
func (p *process) resume() { p.signal(syscall.SIGCONT) }

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(sig))
}

// await returns when the process, since it was launched, has printed a line with the text.
func (p *process) await(text string) {
	p.t.Helper()
	deadline := time.After(patience)
	for from := 0; ; {
		lines, grew := p.output()
		for _, line := range lines[from:] {
			if strings.Contains(line, text) {
				return
			}
		}
		from = len(lines)
		select {
		case <-grew:
		case <-deadline:
			require.FailNow(p.t, "a process never said it", "%q, but:\n%s", text, strings.Join(lines, "\n"))
		}
	}
}

func (p *process) output() ([]string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines, p.grew
}

// site is the program in two processes, with a Redis server and a directory that they share.
type site struct {
	api    *process
	worker *process
	url    string
}

// open starts a site whose model pauses after each step.
func open(t *testing.T, pace string) *site {
	t.Helper()
	env := []string{"REDIS_URL=redis://" + redistest.Server(t).Addr(), "DATABASE_URL="}
	dir := t.TempDir()
	addr := "127.0.0.1:" + redistest.FreePort(t)
	s := &site{url: "http://" + addr + "/"}
	s.api = launch(t, env, "-role", "api", "-data", dir, "-addr", addr)
	s.worker = launch(t, env, "-role", "worker", "-data", dir, "-pace", pace)
	s.api.await("page: " + s.url)
	s.worker.await("waiting for pictures")
	return s
}
