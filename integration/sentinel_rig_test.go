package integration

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
)

const (
	masterSet = "jobs"
	replicas  = 2
	watchers  = 3
)

// sentinels is a master with its replicas, and the sentinels that watch them.
type sentinels struct {
	t       testing.TB
	addrs   []string
	first   rueidis.Client // of one sentinel
	servers map[string]*redistest.Redis
}

func startSentinels(t testing.TB) *sentinels {
	t.Helper()
	master := redistest.Server(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(master.Addr())
	s := &sentinels{t: t, servers: map[string]*redistest.Redis{master.Addr(): master}}
	for range replicas {
		replica := redistest.Server(t, "--repl-diskless-sync-delay", "0", "--replicaof", host+" "+port)
		awaitReply(t, replica.Addr(), "master_link_status:up", "INFO", "replication")
		s.servers[replica.Addr()] = replica
	}
	for range watchers {
		s.addrs = append(s.addrs, startSentinel(t, host, port))
	}
	for _, addr := range s.addrs {
		awaitReply(t, addr, fmt.Sprintf("slaves=%d,sentinels=%d", replicas, watchers), "INFO", "sentinel")
	}
	var err error
	s.first, err = endpoint{Addrs: s.addrs[:1]}.connect()
	require.NoError(t, err)
	t.Cleanup(s.first.Close)
	return s
}

// startSentinel starts one sentinel process, on another port when somebody took the one that was free.
func startSentinel(t testing.TB, host, port string) (addr string) {
	t.Helper()
	for range 5 {
		addr = net.JoinHostPort("127.0.0.1", redistest.FreePort(t))
		if trySentinel(t, addr, host, port) {
			return addr
		}
	}
	t.Fatalf("no sentinel could be started")
	return ""
}

// trySentinel starts a sentinel, and reports whether it listens. It keeps its state in a configuration file, which must
// be its first argument.
func trySentinel(t testing.TB, addr, host, port string) bool {
	t.Helper()
	_, own, _ := net.SplitHostPort(addr)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	conf := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor %s %s %s 2\nsentinel down-after-milliseconds %s 2000\n"+
		"sentinel failover-timeout %s 5000\n", own, masterSet, host, port, masterSet, masterSet)
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o600))
	cmd := exec.Command("redis-server", file, "--sentinel")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("log of the sentinel at %s:\n%s", addr, log.String())
		}
	})
	listens := false
	until(t, "the sentinel at "+addr, func() bool {
		conn, err := net.Dial("tcp", addr)
		if listens = err == nil; listens {
			_ = conn.Close()
			return true
		}
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	return listens
}

// awaitReply waits until a server answers a command with a text that contains some other.
func awaitReply(t testing.TB, addr, text string, command ...string) {
	t.Helper()
	until(t, text+" on "+addr, func() bool {
		client, err := endpoint{Addrs: []string{addr}}.connect()
		if err != nil {
			return false
		}
		defer client.Close()
		reply, err := client.Do(context.Background(), client.B().Arbitrary(command...).Build()).ToString()
		return err == nil && strings.Contains(reply, text)
	})
}

func (s *sentinels) endpoint() endpoint { return endpoint{Addrs: s.addrs, MasterSet: masterSet} }

// master returns the address of the master as a sentinel knows it.
func (s *sentinels) master() string {
	s.t.Helper()
	get := s.first.B().SentinelGetMasterAddrByName().Master(masterSet).Build()
	addr, err := s.first.Do(context.Background(), get).AsStrSlice()
	require.NoError(s.t, err)
	require.Len(s.t, addr, 2)
	return net.JoinHostPort(addr[0], addr[1])
}

// awaitWhole waits until all replicas follow the master, and a sentinel knows them as sound.
func (s *sentinels) awaitWhole() {
	s.t.Helper()
	until(s.t, "the replicas to follow the master", func() bool {
		client, err := endpoint{Addrs: []string{s.master()}}.connect()
		if err != nil {
			return false
		}
		defer client.Close()
		info, err := client.Do(context.Background(), client.B().Info().Section("replication").Build()).ToString()
		return err == nil && strings.Count(info, "state=online") == replicas && s.sound() == replicas
	})
}

// sound counts the replicas that a sentinel would make the master.
func (s *sentinels) sound() (n int) {
	s.t.Helper()
	known, err := s.first.Do(context.Background(), s.first.B().SentinelReplicas().Master(masterSet).Build()).ToArray()
	require.NoError(s.t, err)
	for _, reply := range known {
		replica, err := reply.AsStrMap()
		require.NoError(s.t, err)
		if replica["flags"] == "slave" && replica["master-link-status"] == "ok" {
			n++
		}
	}
	return n
}

// planned makes a replica the master in the orderly way.
func (s *sentinels) planned(string) {
	s.t.Helper()
	fail := s.first.B().SentinelFailover().Master(masterSet).Build()
	until(s.t, "the failover to begin", func() bool { // the one before may not be over for the sentinel
		return s.first.Do(context.Background(), fail).Error() == nil
	})
}

// tear keeps the replicas from following the master until the function that is returned is called.
func (s *sentinels) tear(master string) (mend func()) {
	s.t.Helper()
	var others []*redistest.Redis
	for addr, server := range s.servers {
		if addr != master {
			others = append(others, server)
		}
	}
	return tear(s.t, master, others...)
}

// crash kills the master.
func (s *sentinels) crash(master string) { s.servers[master].Kill() }

// freeze stops the master as if its machine stood still. Back again, it believes to be the master until a sentinel tells
// it better.
func (s *sentinels) freeze(master string) { s.servers[master].Pause() }

// thaw lets a master go on that was frozen.
func (s *sentinels) thaw(master string) { s.servers[master].Resume() }

// revive starts a master again that crashed. It has nothing, and follows the new one.
func (s *sentinels) revive(master string) {
	s.t.Helper()
	s.servers[master].Restart()
	s.follow(master)
}

// follow makes a server a replica of the master at once, which a sentinel would do some ten seconds after a failover.
func (s *sentinels) follow(server string) {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.master())
	awaitReply(s.t, server, "OK", "REPLICAOF", host, port)
}
