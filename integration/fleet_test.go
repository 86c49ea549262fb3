package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/history"
)

// fleet is a test's worker processes. All have ended when the test has.
type fleet struct {
	t    testing.TB
	base workerConfig
	hist *chronicle

	mayDie bool // its processes may die by what they do

	mu    sync.Mutex
	procs []*process
}

func newFleet(t testing.TB, base workerConfig) *fleet {
	f := &fleet{t: t, base: base, hist: newChronicle(t)}
	f.base.History = f.hist.files.Path()
	t.Cleanup(f.end)
	return f
}

// process is one worker process.
type process struct {
	fleet    *fleet
	name     string
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	log      string
	expected atomic.Bool   // its end is
	done     chan struct{} // closed when it has ended
	err      error         // of the process, once done is closed
}

// start starts a worker process.
func (f *fleet) start() *process {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	cfg := f.base
	cfg.Name = fmt.Sprintf("w%d", len(f.procs)+1)
	p := &process{fleet: f, name: cfg.Name, done: make(chan struct{}), log: filepath.Join(f.base.History, cfg.Name+".log")}
	p.expected.Store(f.mayDie)
	p.launch(cfg)
	f.procs = append(f.procs, p)
	return p
}

func (p *process) launch(cfg workerConfig) {
	t := p.fleet.t
	t.Helper()
	spec, err := json.Marshal(cfg)
	require.NoError(t, err)
	log, err := os.Create(p.log)
	require.NoError(t, err)
	defer log.Close() // the process has its own
	p.cmd = exec.Command(os.Args[0])
	// The race detector would make every process last a second longer than it does.
	p.cmd.Env = append(os.Environ(), workerEnv+"="+string(spec), "GORACE=atexit_sleep_ms=0")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go p.wait()
}

// wait reports an end that nobody expected: a worker must not die of what its test does to Redis.
func (p *process) wait() {
	defer close(p.done)
	p.err = p.cmd.Wait()
	if !p.expected.Load() {
		p.fleet.hist.note(p.name, opEnd)
		p.fleet.t.Errorf("worker process %s ended by itself: %v", p.name, p.err)
	}
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	p.expected.Store(true)
	p.fleet.hist.note(p.name, opEnd)
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// terminate asks the process to stop in an orderly way; done is closed when it has.
func (p *process) terminate() {
	p.expected.Store(true)
	p.fleet.hist.note(p.name, history.OpStop)
	p.signal(syscall.SIGTERM)
}

// stop stops the process in an orderly way and returns how it ended.
func (p *process) stop() error {
	p.terminate()
	<-p.done
	return p.err
}

// pause makes the process stand still, for longer than its lease, until resume.
func (p *process) pause() {
	p.fleet.hist.note(p.name, opPause)
	p.signal(syscall.SIGSTOP)
}

func (p *process) resume() {
	p.fleet.hist.note(p.name, history.OpResume)
	p.signal(syscall.SIGCONT)
}

func (p *process) signal(sig syscall.Signal) {
	p.fleet.t.Helper()
	require.NoError(p.fleet.t, p.cmd.Process.Signal(sig))
}

// open lets the handlers go on that wait at the process's gate, and all that come after them.
func (p *process) open() {
	p.fleet.t.Helper()
	_, err := io.WriteString(p.stdin, "open\n")
	require.NoError(p.fleet.t, err)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// living returns the processes that run.
func (f *fleet) living() []*process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.procs), (*process).ended)
}

// end kills what still runs, and shows the logs when the test has failed.
func (f *fleet) end() {
	for _, p := range f.living() {
		p.kill()
	}
	for _, p := range f.procs {
		_ = p.stdin.Close()
		if f.t.Failed() {
			f.t.Logf("log of %s:\n%s", p.name, tail(p.log))
		}
	}
}

// said reports whether a process has logged something so far.
func (f *fleet) said(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.procs, func(p *process) bool {
		log, err := os.ReadFile(p.log)
		return err == nil && strings.Contains(string(log), what)
	})
}

// tail returns the end of a file.
func tail(name string) string {
	data, _ := os.ReadFile(name)
	return string(data[max(0, len(data)-4000):])
}
