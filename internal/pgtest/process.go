//go:build unix

package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// unprivileged returns the user whom root runs a server as, which refuses to run as root; nil for anyone else.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("there is neither a user postgres nor a user nobody to run the server as")
}

// process is a server's first process.
type process struct {
	pid   int
	ended chan struct{} // closed when it has
}

// run starts a command and returns what it writes as errors. Its parent is a thread of its own, as Linux ends children
// whose parent thread has ended.
func run(cmd *exec.Cmd) (*process, *os.File, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd.Stderr = in
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.ended)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	err = <-started
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		return nil, nil, err
	}
	p.pid = cmd.Process.Pid
	return p, out, nil
}

// kill ends it as kill -9 does.
func (p *process) kill() { _ = syscall.Kill(p.pid, syscall.SIGKILL) }

// Pause stops the server and the processes of its connections as if their machine stood still, until Resume. It needs
// /proc.
func (p *Postgres) Pause(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		t.Fatalf("pause: postgres does not run")
	}
	// The parent first: then no new process comes. One that had come while the list was read is in the next one.
	for pids := []int{p.proc.pid}; len(pids) > 0; {
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && err != syscall.ESRCH {
				t.Fatalf("pause process %d: %v", pid, err)
			}
		}
		p.paused = append(p.paused, pids...)
		found, err := children(p.proc.pid)
		if err != nil {
			t.Fatalf("pause: %v", err)
		}
		pids = slices.DeleteFunc(found, func(pid int) bool { return slices.Contains(p.paused, pid) })
	}
}

// Resume lets a paused server go on.
func (p *Postgres) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resumeLocked()
}

func (p *Postgres) resumeLocked() {
	for _, pid := range p.paused {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	p.paused = nil
}

// children returns the processes whose parent is pid.
func children(pid int) (found []int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent …, where the name may hold anything
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			found = append(found, child)
		}
	}
	return found, nil
}
