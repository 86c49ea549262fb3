package stage

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker"
)

// serverRow is a server, and how asking it ends: by a rule, with a class of error, or with an error that may pass, which
// says so.
type serverRow struct {
	name   string
	serve  http.HandlerFunc
	raw    func(net.Conn) // in the place of serve: does with the connection as it likes
	plain  bool           // raw gets the connection without TLS
	host   string         // instead of photos.example.com
	change func(*HTTPConfig)
	rule   Rule
	class  error
	says   string
}

func TestAttackServers(t *testing.T) {
	var said bytes.Buffer
	log.SetOutput(&said)
	defer log.SetOutput(os.Stderr)
	for _, row := range slices.Concat(redirectRows(), statusRows(), slowRows, largeRows(), brokenRows, pictureRows(), chunkRows()) {
		t.Run(row.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			t.Run("", row.run)
		})
	}
	assert.Empty(t, said.String(), "net/http tells the program's log nothing, either")
}

func (row serverRow) run(t *testing.T) {
	var port string
	if row.raw != nil {
		port = newRawServer(t, !row.plain, row.raw)
	} else {
		port = newServer(t, row.serve)
	}
	source := forPort(port)
	source.HeaderTimeout, source.StallTimeout, source.TotalTimeout = time.Minute, time.Minute, time.Minute
	if row.change != nil {
		row.change(&source)
	}
	cfg := working()
	cfg.Source = newSource(t, source)
	handler, err := NewHandler(cfg)
	require.NoError(t, err)

	_, err = handler.open(t.Context(), strings.Replace(photoURL(port), "photos.example.com", cmp.Or(row.host, "photos.example.com"), 1))

	require.Error(t, err)
	innocent(t, err)
	assert.ErrorContains(t, err, row.says)
	switch {
	case row.rule != "":
		refused(t, err, row.rule, row.class)
	case row.class != nil:
		require.ErrorIs(t, err, row.class)
		assert.True(t, worker.IsPermanent(err), err)
	default:
		assert.NotEmpty(t, row.says)
		assert.False(t, worker.IsPermanent(err), err)
	}
}

func redirectRows() (rows []serverRow) {
	// to redirects everything to a place that is made of the port.
	to := func(format string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", strings.ReplaceAll(format, "PORT", portOfRequest(r)))
			w.WriteHeader(http.StatusFound)
		}
	}
	for location, rule := range map[string]Rule{
		"": RuleURL, "https://%zz" + secret: RuleURL, "https://": RuleURL, "https:?" + secret: RuleURL,
		"https://other.example.com:PORT/" + strings.Repeat("a", MaxURLLength): RuleURL,
		"?" + secret:                                        RuleRedirects, // to itself
		"//other.example.com:PORT/?" + secret:               RuleRedirects,
		"http://other.example.com/?" + secret:               RuleDowngrade,
		"file:///etc/passwd?" + secret:                      RuleScheme,
		"gopher://other.example.com/" + secret:              RuleScheme,
		"https://u:" + secret + "@photos.example.com:PORT/": RuleCredentials,
		"https://photos.example.com:22/?" + secret:          RulePort,
		"https://example.com/?" + secret:                    RuleHost,
		"https://127.0.0.1:PORT/?" + secret:                 RuleHost,
		"https://2130706433:PORT/?" + secret:                RuleHost,
		"https://169.254.169.254/?" + secret:                RuleHost,
		"https://photos.example.com.:PORT/?" + secret:       RuleHost,
		"https://inner.example.com/?" + secret:              RuleAddress,
	} {
		rows = append(rows, serverRow{name: fmt.Sprintf("redirect to %.40q", location), serve: to(location), rule: rule, class: ErrRefused})
	}
	public := func(c *HTTPConfig) { c.AllowedHosts, c.AllowPublic = nil, true }
	for _, code := range []int{301, 302, 303, 307, 308} {
		rows = append(rows, serverRow{name: fmt.Sprint("redirect to metadata with ", code), change: public, rule: RuleAddress, class: ErrRefused,
			serve: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://169.254.169.254/?"+secret, code)
			}})
	}
	return append(rows,
		serverRow{name: "four redirects", rule: RuleRedirects, class: ErrRefused, says: "after 3 redirects",
			serve: func(w http.ResponseWriter, r *http.Request) {
				if hops := strings.Count(r.URL.Path, "x"); hops < 4 {
					http.Redirect(w, r, r.URL.Path+"x?"+secret, http.StatusFound)
				} else {
					_, _ = w.Write(jpegRoom(8, 8))
				}
			}},
		serverRow{name: "a name that moves between two requests", serve: to("?again"), rule: RuleAddress, class: ErrRefused,
			change: func(c *HTTPConfig) { c.Resolver = &rebinding{answers: [][]netip.Addr{{home}, addrs("127.0.0.2")}} }},
		serverRow{name: "a name that moves to what embeds an address", serve: to("?again"), rule: RuleAddress, class: ErrRefused,
			change: func(c *HTTPConfig) {
				c.Resolver = &rebinding{answers: [][]netip.Addr{{home}, {home}, addrs("64:ff9b::127.0.0.1", "::127.0.0.1")}}
			}},
		serverRow{name: "http that is allowed, after https", serve: to("http://other.example.com:PORT/?" + secret), rule: RuleDowngrade, class: ErrRefused,
			change: func(c *HTTPConfig) { c.AllowHTTP = true }},
	)
}

// rebinding gives another answer at each call, and the last one for ever.
type rebinding struct {
	mu      sync.Mutex
	answers [][]netip.Addr
}

func (r *rebinding) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := r.answers[0]
	if len(r.answers) > 1 {
		r.answers = r.answers[1:]
	}
	return answer, nil
}

func statusRows() (rows []serverRow) {
	for code, want := range map[int]serverRow{
		404: {rule: RuleMissing, class: ErrNotFound}, 410: {rule: RuleMissing, class: ErrNotFound},
		401: {rule: RuleStatus, class: ErrRefused, says: "a signed URL has expired"},
		403: {rule: RuleStatus, class: ErrRefused, says: "a signed URL has expired"},
		400: {rule: RuleStatus, class: ErrRefused}, 418: {rule: RuleStatus, class: ErrRefused}, 451: {rule: RuleStatus, class: ErrRefused},
		201: {rule: RuleStatus, class: ErrRefused}, 204: {rule: RuleStatus, class: ErrRefused}, 206: {rule: RuleStatus, class: ErrRefused},
		300: {rule: RuleStatus, class: ErrRefused}, 304: {rule: RuleStatus, class: ErrRefused}, 305: {rule: RuleStatus, class: ErrRefused},
		408: {says: "408"}, 425: {says: "425"}, 429: {says: "429"}, 500: {says: "500"}, 503: {says: "503"}, 599: {says: "599"},
	} {
		want.name = fmt.Sprint("status ", code)
		want.serve = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://example.com/"+secret)
			w.WriteHeader(code)
			_, _ = w.Write([]byte(r.URL.RawQuery))
		}
		rows = append(rows, want)
	}
	return append(rows, serverRow{name: "another protocol", rule: RuleStatus, class: ErrRefused, says: "101",
		raw: func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+secret+"\r\nConnection: Upgrade\r\n\r\n")
			untilClosed(conn)
		}})
}

// The limits in these rows are far too short for what the server does, however fast or slow this machine is.
const soon = 50 * time.Millisecond

func shortHeader(c *HTTPConfig) { c.HeaderTimeout = soon }

var slowRows = []serverRow{
	{name: "never greets", raw: untilClosed, plain: true, change: shortHeader, says: "HeaderTimeout of 50ms is over"},
	{name: "never answers", raw: untilClosed, change: shortHeader, says: "HeaderTimeout of 50ms is over"},
	{name: "a header that drips", change: shortHeader, says: "HeaderTimeout of 50ms is over", raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: ")
		drip(conn)
	}},
	{name: "never ends, by total", says: "TotalTimeout of 50ms is over", raw: untilClosed,
		change: func(c *HTTPConfig) { c.TotalTimeout = soon }},
	{name: "slow again after a redirect", change: func(c *HTTPConfig) { c.TotalTimeout = soon }, says: "TotalTimeout of 50ms is over",
		serve: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/again" {
				<-r.Context().Done()
			}
			http.Redirect(w, r, "/again?"+secret, http.StatusFound)
		}},
	{name: "a body that stops", says: "StallTimeout of 50ms is over", change: func(c *HTTPConfig) { c.StallTimeout = soon },
		serve: func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(jpegRoom(8, 8)[:20])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
	{name: "a body that drips", says: "StallTimeout of 50ms is over", change: func(c *HTTPConfig) { c.StallTimeout = soon },
		raw: func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			drip(conn)
		}},
	{name: "a body that drips, by total", says: "TotalTimeout of 50ms is over", change: func(c *HTTPConfig) { c.TotalTimeout = soon },
		raw: func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			drip(conn)
		}},
	{name: "a name that is never found", says: "HeaderTimeout of 50ms is over",
		change: func(c *HTTPConfig) { c.HeaderTimeout, c.Resolver = soon, resolverFunc(waiting) }},
	{name: "a name server that breaks", says: "the name servers don't answer", change: func(c *HTTPConfig) {
		c.Resolver = resolverFunc(func(context.Context) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "read udp 10.0.0.1: " + secret, Name: secret, Server: "10.0.0.53", IsTimeout: true}
		})
	}},
	{name: "a name that isn't there", says: "there is no such host", change: func(c *HTTPConfig) { c.Resolver = phoneBook{} }},
	{name: "a name without addresses", says: "there is no such host",
		change: func(c *HTTPConfig) { c.Resolver = phoneBook{"photos.example.com": nil} }},
}

type resolverFunc func(context.Context) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	return f(ctx)
}

func waiting(ctx context.Context) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// drip sends a byte a millisecond until the client goes away.
func drip(conn net.Conn) {
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if _, err := io.WriteString(conn, "x"); err != nil {
			tick.Stop()
			return
		}
	}
}

// flood sends the same over and over until the client goes away.
func flood(conn net.Conn, first, again string) {
	_, err := io.WriteString(conn, first)
	for again = strings.Repeat(again, 100); err == nil; {
		_, err = io.WriteString(conn, again)
	}
}

func largeRows() []serverRow {
	compressed := gzipped(make([]byte, 50<<20))
	encoded := func(headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Encoding"] = headers
			_, _ = w.Write(compressed)
		}
	}
	return []serverRow{
		{name: "a header that never ends", rule: RuleHeader, class: ErrRefused, says: "more than 65536 bytes",
			raw: func(conn net.Conn) { flood(conn, "HTTP/1.1 200 OK\r\n", "X-"+secret+": "+secret+"\r\n") }},
		{name: "one line that never ends", rule: RuleHeader, class: ErrRefused,
			raw: func(conn net.Conn) { flood(conn, "HTTP/1.1 200 OK\r\nX-Flood: ", secret) }},
		{name: "a status that never ends", rule: RuleHeader, class: ErrRefused,
			raw: func(conn net.Conn) { flood(conn, "HTTP/1.1 200 ", secret) }},
		{name: "a header too large", rule: RuleHeader, class: ErrRefused, change: func(c *HTTPConfig) { c.MaxHeaderBytes = 1000 },
			serve: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Flood", strings.Repeat(secret, 1000)) }},
		{name: "hints that never end", rule: RuleHeader, class: ErrRefused,
			raw: func(conn net.Conn) {
				flood(conn, "", "HTTP/1.1 103 Early Hints\r\nLink: </"+secret+">; rel=preload\r\n\r\n")
			}},
		{name: "a body that never ends", rule: RuleSize, class: ErrTooLarge, says: "more than 100000 bytes",
			change: func(c *HTTPConfig) { c.MaxBytes = 100_000 },
			raw:    func(conn net.Conn) { flood(conn, "HTTP/1.1 200 OK\r\n\r\n", secret) }},
		{name: "chunks that never end", rule: RuleSize, class: ErrTooLarge, change: func(c *HTTPConfig) { c.MaxBytes = 100_000 },
			raw: func(conn net.Conn) {
				flood(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "6\r\n"+secret+"\r\n")
			}},
		{name: "said to be too large", rule: RuleSize, class: ErrTooLarge, says: "more than 26214400 bytes",
			raw: func(conn net.Conn) {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 26214401\r\n\r\n")
				untilClosed(conn)
			}},
		{name: "one byte too large", rule: RuleSize, class: ErrTooLarge, change: func(c *HTTPConfig) { c.MaxBytes = 9 },
			serve: func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(make([]byte, 9))
				w.(http.Flusher).Flush()
				_, _ = w.Write(make([]byte, 1))
			}},
		{name: "too large for the handler", class: ErrTooLarge, says: "the limit is 26214400 bytes",
			change: func(c *HTTPConfig) { c.MaxBytes = 1 << 40 },
			raw:    func(conn net.Conn) { flood(conn, "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat(secret, 100)) }},
		{name: "a gzip bomb", serve: encoded("gzip"), rule: RuleEncoding, class: ErrRefused},
		{name: "a gzip bomb that says so in capitals", serve: encoded("GZIP"), rule: RuleEncoding, class: ErrRefused},
		{name: "a gzip bomb behind identity", serve: encoded("identity, gzip"), rule: RuleEncoding, class: ErrRefused},
		{name: "a gzip bomb in two headers", serve: encoded("identity", "x-gzip"), rule: RuleEncoding, class: ErrRefused},
		{name: "another coding", serve: encoded("br"), rule: RuleEncoding, class: ErrRefused},
		{name: "a gzip bomb that doesn't say so", serve: encoded(), class: ErrUndecodable, says: "it looks like application/x-gzip"},
		{name: "a gzip bomb as a transfer", says: "could not be understood", raw: func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\n"+string(compressed[:5])+"\r\n0\r\n\r\n")
			untilClosed(conn)
		}},
	}
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// brokenRows may be somebody who means harm, or just a bad day: the job runs again.
var brokenRows = []serverRow{
	{name: "hangs up at once", raw: func(net.Conn) {}, plain: true, says: "connection"},
	{name: "hangs up without an answer", raw: func(conn net.Conn) { answer(conn, "") }, says: "the connection broke"},
	{name: "hangs up after half a header", says: "could not be understood", raw: func(conn net.Conn) {
		answer(conn, "HTTP/1.1 200 OK\r\nContent-Le")
	}},
	{name: "hangs up after a line of the header", says: "the connection broke", raw: func(conn net.Conn) {
		answer(conn, "HTTP/1.1 200 OK\r\nX-Half: 1\r\n")
	}},
	{name: "a body cut short", says: "the connection broke: unexpected EOF", raw: func(conn net.Conn) {
		answer(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+secret)
	}},
	{name: "chunks cut short", says: "the connection broke: unexpected EOF", raw: func(conn net.Conn) {
		answer(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n"+secret+"\r\n")
	}},
	{name: "chunks of a strange length", says: "could not be understood", raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+secret+"zz\r\n")
		untilClosed(conn)
	}},
	{name: "repeats the request in its status", says: "could not be understood", raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, "GET /rooms/7.jpg?X-Amz-Signature="+secret+" HTTP/1.1\r\n\r\n")
		untilClosed(conn)
	}},
	{name: "two lengths", says: "could not be understood", raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"+secret)
		untilClosed(conn)
	}},
	{name: "a length that is none", says: "could not be understood", raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: -"+secret+"\r\n\r\n")
		untilClosed(conn)
	}},
	{name: "a header that is none", says: "could not be understood", raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+secret+"\r\n\r\n")
		untilClosed(conn)
	}},
	{name: "Redis", says: "could not be understood", raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, "-ERR unknown command 'GET', with args beginning with: '/rooms/7.jpg?"+secret+"'\r\n")
		untilClosed(conn)
	}},
	{name: "no TLS", plain: true, says: "could not be understood", raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 400 "+secret+"\r\n\r\n")
		untilClosed(conn)
	}},
	{name: "a certificate of somebody", says: "certificate is of an unknown authority", serve: func(http.ResponseWriter, *http.Request) {},
		change: func(c *HTTPConfig) { c.RootCAs = nil }},
	{name: "a certificate of another name", says: "certificate is another host's", serve: func(http.ResponseWriter, *http.Request) {},
		host: "a.photos.example.com", change: func(c *HTTPConfig) { c.Resolver = phoneBook{"a.photos.example.com": {home}} }},
}

// answer reads a request and writes something. (What closes a connection with a request unread, resets it.)
func answer(conn net.Conn, text string) {
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		_, _ = io.WriteString(conn, text)
	}
}
