//go:build unix

package redistest_test

import (
	"bufio"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// ask sends one command on a connection of its own and returns the first line of the reply.
func ask(t *testing.T, addr, command string) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s\r\n", command)
	require.NoError(t, err)
	return bufio.NewReader(conn).ReadString('\n')
}

func TestServerAnswersUntilItIsKilledAndAgainAfterRestart(t *testing.T) {
	s := redistest.Server(t)
	reply, err := ask(t, s.Addr(), "PING")
	require.NoError(t, err)
	require.Equal(t, "+PONG\r\n", reply)

	s.Kill()
	_, err = ask(t, s.Addr(), "PING")
	require.Error(t, err)

	s.Restart()
	reply, err = ask(t, s.Addr(), "PING")
	require.NoError(t, err)
	require.Equal(t, "+PONG\r\n", reply)
}

func TestServerKeepsDataOverRestartWhenToldTo(t *testing.T) {
	s := redistest.Server(t, "--appendonly", "yes", "--appendfsync", "always")
	_, err := ask(t, s.Addr(), "SET k v")
	require.NoError(t, err)
	s.Restart()
	reply, err := ask(t, s.Addr(), "EXISTS k")
	require.NoError(t, err)
	require.Equal(t, ":1\r\n", reply)
}

func TestPausedServerGoesOn(t *testing.T) {
	s := redistest.Server(t)
	s.Pause()
	s.Resume()
	reply, err := ask(t, s.Addr(), "PING")
	require.NoError(t, err)
	require.Equal(t, "+PONG\r\n", reply)
}
