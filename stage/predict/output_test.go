package predict

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
)

// Outputs come from where the configuration says, and over https.
func TestOutputHosts(t *testing.T) {
	for _, row := range []struct {
		output string
		hosts  []string
		fails  string
	}{
		{"https://replicate.delivery/x/prediction1", nil, ""},
		{"https://a.b.replicate.delivery/prediction1", nil, ""},
		{"https://A.REPLICATE.delivery:443/prediction1", nil, ""},
		{"https://cdn.test/prediction1", []string{"cdn.test"}, ""},
		{"https://cdn.test/prediction1", []string{"*"}, ""},
		{"https://evil.test/prediction1", nil, `"evil.test" is none of OutputHosts`},
		{"https://replicate.delivery.evil.test/prediction1", nil, "none of OutputHosts"},
		{"https://evilreplicate.delivery/prediction1", nil, "none of OutputHosts"},
		{"https://sub.cdn.test/prediction1", []string{"cdn.test"}, "none of OutputHosts"},
		{"https://cdn.test/prediction1", []string{"*.cdn.test"}, "none of OutputHosts"},
		{"https://replicate.delivery:8443/prediction1", nil, "its port is 8443"},
		{"http://replicate.delivery/prediction1", nil, `its scheme is "http"`},
		{"ftp://replicate.delivery/prediction1", nil, `its scheme is "ftp"`},
		{"https://u:p@replicate.delivery/prediction1", nil, "it has credentials"},
		{"file:///etc/passwd", nil, `its scheme is "file"`},
		{"/output/prediction1", nil, "its scheme is"},
		{"https://replicate.delivery/to/https://replicate.delivery/prediction1", nil, ""},
		{"https://replicate.delivery/to/http://replicate.delivery/prediction1", nil, `its scheme is "http"`},
		{"https://replicate.delivery/to/https://evil.test/prediction1", nil, "none of OutputHosts"},
		{"https://replicate.delivery/loop", nil, "more than 3 times"},
		{"https://api.test/to/https://cdn.api.test/prediction1", []string{"cdn.api.test"}, ""},
	} {
		t.Run(row.output, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.cfg.OutputHosts = row.hosts
				r.api.Outcome = func(int) predicttest.Outcome { return predicttest.Outcome{Output: []string{row.output}} }
				r.api.Misbehave = func(op string, _ int, w http.ResponseWriter, req *http.Request) bool {
					assert.Empty(t, req.Header.Get("Referer"))
					if req.Host != "api.test" {
						assert.Empty(t, req.Header.Get("Authorization"), "the token is the API's")
					} else if !strings.HasPrefix(req.URL.Path, "/to/") {
						return false
					}
					target := "/loop"
					if _, to, found := strings.Cut(req.URL.Path, "/to/"); found {
						target = strings.Replace(strings.Replace(to, "//", "/", 1), ":/", "://", 1)
					}
					if strings.Contains(req.URL.Path, "/to/") || req.URL.Path == "/loop" {
						http.Redirect(w, req, target, http.StatusFound)
						return true
					}
					_, _ = w.Write(r.api.Picture)
					return true
				}
				st := r.run()
				if row.fails == "" {
					resultOf(t, st)
					return
				}
				assert.Equal(t, worker.StateFailed, st.State)
				assert.Contains(t, st.Error, row.fails)
				assert.Equal(t, 1, st.Attempt)
			})
		})
	}
}

// attacked is a server that answers every request with the same bytes, and a Model whose API and outputs it is.
func attacked(t *testing.T, answer string) (*Model, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answer)
				}
			})
		}
	})
	model, err := New(Config{BaseURL: "http://" + listener.Addr().String(), Token: token, Version: "v", AllowHTTP: true})
	require.NoError(t, err)
	t.Cleanup(func() {
		model.CloseIdleConnections()
		listener.Close()
		wg.Wait()
	})
	return model, "http://" + listener.Addr().String()
}

// What a server sends, and it may be what it was asked, gets into no error, in whatever way it is wrong.
func TestAttackServers(t *testing.T) {
	long := strings.Repeat("5ec2e7", 2000)
	for name, answer := range map[string]string{
		"a strange status":       "HTTP/1.1 " + long + "\r\n\r\n",
		"no HTTP":                "GET /x?sig=5ec2e7 HTTP/1.1\r\n\r\n",
		"a header without colon": "HTTP/1.1 200 OK\r\n" + long + "\r\n\r\n",
		"a coding":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: 5ec2e7\r\n\r\n",
		"a length":               "HTTP/1.1 200 OK\r\nContent-Length: -5ec2e7\r\n\r\n",
		"a redirect to no URL":   "HTTP/1.1 302 Found\r\nLocation: https://cdn.test:x/?sig=5ec2e7\r\nContent-Length: 0\r\n\r\n",
		"a redirect with a word": "HTTP/1.1 302 Found\r\nLocation: " + long + ":x\r\nContent-Length: 0\r\n\r\n",
		"a strange chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5ec2e7zz\r\n",
		"a strange trailer":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n5ec2e7\r\n\r\n",
		"its token":              "HTTP/1.1 401 Unauthorized\r\nContent-Length: 41\r\n\r\n" + `{"detail":"who is r8_never_to_be_seen?!"}`,
	} {
		t.Run(name, func(t *testing.T) {
			model, base := attacked(t, answer)
			_, outputErr := model.download(t.Context(), base+"/x?sig=5ec2e7")
			_, apiErr := model.api.get(t.Context(), "prediction1")
			for _, err := range []error{outputErr, apiErr} {
				require.Error(t, err)
				assert.NotContains(t, err.Error(), "5ec2e7")
				assert.NotContains(t, err.Error(), token)
				assert.Less(t, len(err.Error()), 400)
			}
		})
	}
}

// An output's URL may be anything, too.
func TestAttackURLs(t *testing.T) {
	model, err := New(Config{Token: token, Version: "v"})
	require.NoError(t, err)
	for _, where := range []string{
		strings.Repeat("a", 1<<20) + ":x", strings.Repeat("a", 8000) + "://x", "https://" + strings.Repeat("a", 1<<20),
		"https://cdn.test:5ec2e7/", "https://5ec2e7:5ec2e7@replicate.delivery/", "https://replicate.delivery/%zz5ec2e7",
		"https://replicate.delivery:22/5ec2e7", "https://evil.test/?5ec2e7",
	} {
		_, err := model.download(t.Context(), where)
		require.Error(t, err)
		assert.True(t, worker.IsPermanent(err), err)
		assert.NotContains(t, err.Error(), "5ec2e7")
		assert.Less(t, len(err.Error()), 500)
	}
}

// An output that cannot be had for now is not one that is gone: only for that another prediction is paid.
func TestOutputsThatAreLate(t *testing.T) {
	for status, creations := range map[int]int{408: 1, 425: 1, 429: 1, 500: 1, 403: 2, 404: 2, 410: 2} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.api.Misbehave = func(op string, n int, w http.ResponseWriter, _ *http.Request) bool {
				if op == predicttest.OpOutput && n <= 3 {
					w.WriteHeader(status)
				}
				return op == predicttest.OpOutput && n <= 3
			}
			resultOf(t, r.run())
			assert.Equal(t, creations, r.api.Creations(), status)
		})
	}
}

// An API that may name any host still leads nobody into the host's own network, nor does a redirect.
func TestOutputsOfInnerNetworks(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Host)
		if r.URL.Path == "/to" {
			http.Redirect(w, r, r.URL.RawQuery, http.StatusFound)
		}
		_, _ = w.Write(picture(3))
	}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	for _, row := range []struct {
		base, where string
		hosts       []string
		fails       string
		asked       []string
	}{
		{"api.test", "http://127.0.0.1:PORT/", []string{"*"}, "not a public one: loopback", nil},
		{"api.test", "http://[::1]:PORT/", []string{"*"}, "not a public one: loopback", nil},
		{"api.test", "http://[::ffff:127.0.0.1]:PORT/", []string{"*"}, "not a public one: loopback", nil},
		{"api.test", "http://[64:ff9b::7f00:1]:PORT/", []string{"*"}, "not a public one: NAT64", nil},
		{"api.test", "http://169.254.169.254/latest/meta-data/", []string{"*"}, "not a public one: metadata", nil},
		{"api.test", "http://10.0.0.7/", []string{"*.0.0.7"}, "not a public one: private", nil},
		{"api.test", "http://127.0.0.1:PORT/to?http://127.0.0.2:PORT/", []string{"127.0.0.1", "*"}, "not a public one: loopback", []string{"127.0.0.1:PORT"}},
		{"api.test", "http://127.0.0.1:PORT/", []string{"127.0.0.1"}, "", []string{"127.0.0.1:PORT"}}, // the host's own word
		{"127.0.0.1", "http://127.0.0.1:PORT/", []string{"*"}, "", []string{"127.0.0.1:PORT"}},        // the API itself
	} {
		asked = nil
		withPort := func(text string) string { return strings.ReplaceAll(text, "PORT", port) }
		model, err := New(Config{BaseURL: "http://" + row.base, Token: token, Version: "v", AllowHTTP: true, OutputHosts: row.hosts})
		require.NoError(t, err)
		_, err = model.download(t.Context(), withPort(row.where))
		model.CloseIdleConnections()
		if row.fails == "" {
			require.NoError(t, err, row.where)
		} else {
			require.ErrorContains(t, err, row.fails, row.where)
			assert.True(t, worker.IsPermanent(err))
		}
		assert.Equal(t, withPort(strings.Join(row.asked, " ")), strings.Join(asked, " "))
	}
}

// Where a connection leads, and who resolves names, is told to nobody: errors are for users, too.
func TestErrorsNameNoAddresses(t *testing.T) {
	here, there := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 2), Port: 4711}, &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 443}
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Source: here, Addr: there, Err: err}
	}
	for text, cause := range map[string]error{
		"dial: connect: connection refused": dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)),
		"dial: i/o timeout":                 dial(os.ErrDeadlineExceeded),
		"dial: mismatched address":          dial(&net.AddrError{Err: "mismatched address", Addr: "10.1.2.3"}),
		"read: connection reset":            &net.OpError{Op: "read", Net: "tcp", Source: here, Addr: there, Err: syscall.ECONNRESET},
		"dial: it is refused":               dial(worker.Permanent(errors.New("it is refused"))),
		"there is no such host":             dial(&net.DNSError{Err: "no such host", Server: "10.1.2.3:53", IsNotFound: true}),
		"the name servers don't answer":     &net.DNSError{Err: "read udp 10.1.2.2:4711->10.1.2.3:53: i/o timeout", Server: "10.1.2.3:53"},
	} {
		answers := func(*http.Request) (*http.Response, error) { return nil, cause }
		breaks := func(*http.Request) (*http.Response, error) {
			body := readerFunc(func([]byte) (int, error) { return 0, cause })
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body)}, nil
		}
		for _, transport := range []transportFunc{answers, breaks} {
			model, err := New(Config{Token: token, Version: "v", Transport: transport})
			require.NoError(t, err)
			_, outputErr := model.download(t.Context(), "https://replicate.delivery/x")
			_, apiErr := model.api.get(t.Context(), "prediction1")
			for _, err := range []error{outputErr, apiErr} {
				require.ErrorIs(t, err, cause)
				assert.ErrorContains(t, err, text)
				assert.NotContains(t, err.Error(), "10.1.2.")
				assert.Equal(t, worker.IsPermanent(cause), worker.IsPermanent(err))
				assert.Equal(t, refused(cause), refused(err))
			}
		}
	}
}

// transportFunc is an http.RoundTripper.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A picture that ends since its time is over is half a one.
func TestDownloadTimeoutIsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model, err := New(Config{Token: token, Version: "v", Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(io.MultiReader(bytes.NewReader(picture(3)[:40]),
				readerFunc(func([]byte) (int, error) { <-r.Context().Done(); return 0, io.EOF })))}, nil
		})})
		require.NoError(t, err)
		_, err = model.download(t.Context(), "https://replicate.delivery/x")
		assert.ErrorContains(t, err, "it was not there within 2m0s")
	})
}

// Some outputs are in the answer.
func TestOutputInTheAnswer(t *testing.T) {
	for name, row := range map[string]struct {
		output string
		fails  string
	}{
		"picture":    {dataURL(picture(5)), ""},
		"page":       {dataURL([]byte(page)), "it looks like text/html"},
		"no base64":  {"data:image/png,xyz", "not in base64"},
		"broken":     {"data:image/png;base64,!", "broken"},
		"too large":  {dataURL(make([]byte, 2000)), "the limit is 1000 bytes"},
		"as a field": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.cfg.MaxOutput = 1000
				var output any = row.output
				if row.output == "" {
					output = map[string]any{"image": dataURL(picture(5))}
				}
				r.api.Outcome = func(int) predicttest.Outcome { return predicttest.Outcome{Output: output} }
				st := r.run()
				if row.fails == "" {
					assert.Equal(t, 5, resultOf(t, st).Width)
					return
				}
				assert.Contains(t, st.Error, row.fails)
				assert.LessOrEqual(t, r.api.Creations(), 2)
			})
		})
	}
}

func dataURL(data []byte) string {
	return "data:application/octet-stream;base64," + base64.StdEncoding.EncodeToString(data)
}
