package stage

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trickle yields some bytes each time, after a while, for ever.
type trickle struct {
	ctx   context.Context
	bytes int
	every time.Duration
}

func (r trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(r.every):
		return min(r.bytes, len(p)), nil
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

func (trickle) Close() error { return nil }

// newTestDownload is a download with the default limits.
func newTestDownload(t *testing.T) *download {
	t.Helper()
	d := newSource(t, HTTPConfig{AllowPublic: true, AllowHTTP: true}).newDownload(t.Context())
	d.host = "photos.example.com"
	t.Cleanup(d.end)
	return d
}

// Of a server that speaks before it is asked nothing is read: net/http would tell the program's log what it said.
func TestNothingIsReadUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		conn := newTestDownload(t).await(ours)
		var heard, said bool
		go func() { _, _ = conn.Read(make([]byte, 8)); heard = true }()
		go func() { _, _ = theirs.Write([]byte("unasked")); said = true }()
		synctest.Wait()
		assert.False(t, heard || said)
		go func() { _, _ = conn.Write([]byte("a question")) }()
		synctest.Wait()
		assert.True(t, heard && said)
		require.NoError(t, theirs.Close())
	})
}

// graceful ends properly when the download is over: as a server does that notices.
type graceful struct{ ctx context.Context }

func (r graceful) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, io.EOF
}

func (graceful) Close() error { return nil }

// The end of a body that our limit has brought about is not taken for the picture's: half a picture is undecodable, and
// that would be final.
func TestTimeoutIsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDownload(t)
		_, err := io.ReadAll(d.body(&http.Response{Body: graceful{d.ctx}}))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "StallTimeout of 10s is over")
	})
}

// What counts is how long 16 KiB take, not that something comes now and then.
func TestStallTimeoutIsARate(t *testing.T) {
	for _, row := range []struct {
		name  string
		bytes int
		after time.Duration
		says  string
	}{
		{"a byte a millisecond", 1, DefaultStallTimeout, "StallTimeout of 10s is over"},
		{"two bytes a millisecond", 2, DefaultTotalTimeout, "TotalTimeout of 2m0s is over"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newTestDownload(t)
				began := time.Now()
				body := d.body(&http.Response{Body: trickle{d.ctx, row.bytes, time.Millisecond}})
				_, err := io.Copy(io.Discard, body)
				require.EqualError(t, err, "photos.example.com: "+row.says)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, row.after, time.Since(began))
				assert.NoError(t, body.Close())
			})
		})
	}
}

// The limit of a response's header is over when the header is there, and a reader's own pauses count only in total.
func TestLimitsOfTimeAreNotEachOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDownload(t)
		d.cfg.StallTimeout = time.Minute
		client, server := net.Pipe()
		d.transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return client, nil }
		go func() {
			defer server.Close()
			_, err := http.ReadRequest(bufio.NewReader(server))
			assert.NoError(t, err)
			time.Sleep(DefaultHeaderTimeout - time.Millisecond)
			_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\n\r\n")
			time.Sleep(DefaultHeaderTimeout + time.Second)
			_, _ = io.WriteString(server, "photo")
		}()
		target, err := d.parse("http://photos.example.com/")
		require.NoError(t, err)
		resp, err := d.follow(target)
		require.NoError(t, err)
		body := d.body(resp)
		_, err = io.ReadFull(body, make([]byte, 1))
		require.NoError(t, err)
		time.Sleep(d.cfg.StallTimeout + time.Second)
		rest, err := io.ReadAll(body)
		require.NoError(t, err)
		assert.Equal(t, "hoto", string(rest))
		assert.NoError(t, body.Close())
	})
}
