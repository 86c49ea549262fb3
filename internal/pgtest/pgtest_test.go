//go:build unix

package pgtest_test

import (
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/pgtest"
)

// ask begins Postgres's protocol on a connection of its own, and returns the first byte of the answer: R asks for no
// password, as it trusts everybody.
func ask(t *testing.T, p *pgtest.Postgres, patience time.Duration) (byte, error) {
	t.Helper()
	u, err := url.Parse(p.URL())
	require.NoError(t, err)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	body := "\x00\x03\x00\x00user\x00postgres\x00\x00"
	_, err = conn.Write(append([]byte{0, 0, 0, byte(4 + len(body))}, body...))
	require.NoError(t, err)
	answer := make([]byte, 1)
	_, err = conn.Read(answer)
	return answer[0], err
}

func TestServerAnswersUntilItIsKilledAndAgainAfterRestart(t *testing.T) {
	p := pgtest.Server(t, "fsync=off")
	answer, err := ask(t, p, time.Minute)
	require.NoError(t, err)
	require.Equal(t, "R", string(answer))

	p.Kill()
	_, err = ask(t, p, time.Minute)
	require.Error(t, err)

	p.Restart(t)
	answer, err = ask(t, p, time.Minute)
	require.NoError(t, err)
	require.Equal(t, "R", string(answer))
}

func TestPausedServerIsSilentAndGoesOn(t *testing.T) {
	p := pgtest.Server(t, "fsync=off")
	p.Pause(t)
	_, err := ask(t, p, 50*time.Millisecond)
	require.Error(t, err)
	p.Resume()
	_, err = ask(t, p, time.Minute)
	require.NoError(t, err)
}

func TestSharedServerIsOneUntilItIsStopped(t *testing.T) {
	t.Cleanup(pgtest.StopShared)
	p := pgtest.Shared(t)
	require.Same(t, p, pgtest.Shared(t))
	pgtest.StopShared()
	_, err := ask(t, p, time.Minute)
	require.Error(t, err)
	pgtest.StopShared()
}
