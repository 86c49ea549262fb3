package stage

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker"
)

func TestHTTPSourceOpens(t *testing.T) {
	photo := jpegRoom(64, 48)
	for _, row := range []struct {
		name  string
		serve http.HandlerFunc
		size  int64
	}{
		{"a photo", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(photo) }, int64(len(photo))},
		{"of unknown length", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(photo[:9])
			w.(http.Flusher).Flush()
			_, _ = w.Write(photo[9:])
		}, -1},
		{"whatever type it is said to be", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Encoding", "identity")
			_, _ = w.Write(photo)
		}, int64(len(photo))},
		{"behind three redirects", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/rooms/7.jpgggg" {
				_, _ = w.Write(photo)
				return
			}
			http.Redirect(w, r, "//other.example.com:"+portOfRequest(r)+r.URL.Path+"g?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		}, int64(len(photo))},
	} {
		t.Run(row.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			t.Run("", func(t *testing.T) {
				port := newServer(t, row.serve)
				original, err := newSource(t, forPort(port)).Open(t.Context(), photoURL(port))
				require.NoError(t, err)
				assert.Equal(t, row.size, original.Size)
				assert.Equal(t, photo, readAll(t, original))
			})
		})
	}
}

func portOfRequest(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return port
}

// A request says what it must and no more, after a redirect as well.
func TestHTTPSourceSendsNothingElse(t *testing.T) {
	seen := make(chan *http.Request, 2)
	port := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		if r.URL.Path != "/8.jpg" {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
			http.Redirect(w, r, "https://other.example.com:"+portOfRequest(r)+"/8.jpg", http.StatusFound)
		}
	})
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	original, err := newSource(t, forPort(port)).Open(t.Context(), photoURL(port))
	require.NoError(t, err)
	readAll(t, original)
	first, second := <-seen, <-seen
	assert.Equal(t, "X-Amz-Signature="+secret, first.URL.RawQuery)
	assert.Equal(t, "other.example.com:"+port, second.Host)
	for _, r := range []*http.Request{first, second} {
		assert.Equal(t, http.MethodGet, r.Method)
		assert.Equal(t, "HTTP/1.1", r.Proto)
		assert.Equal(t, http.Header{"Accept-Encoding": {"identity"}, "Connection": {"close"}, "User-Agent": {"go-worker"}}, r.Header)
	}
}

// The whole way: a turned photo behind a signed URL comes to the model with its orientation.
func TestHandlerWithHTTPSource(t *testing.T) {
	photo := pngTurned(pngRoom(64, 48), exifOf(binary.BigEndian, 6))
	port := newServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(photo) })
	cfg := working()
	cfg.Source = newSource(t, forPort(port))
	cfg.Model = ModelFunc(func(_ context.Context, req Request) (Picture, error) {
		assert.Equal(t, Image{photo, "image/png", 64, 48, 6}, req.Original)
		seen, err := Decode(req.Original)
		require.NoError(t, err)
		assert.Equal(t, 48, seen.Bounds().Dx())
		return Picture{Data: pngRoom(2, 2)}, nil
	})
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	payload := validPayload()
	payload.OriginalURL = photoURL(port)
	require.NoError(t, handler.Handle(t.Context(), newJob(t, payload), payload))
}

// With AllowHTTP a plain server does, on port 80 or a listed one.
func TestHTTPSourceAllowsHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("photo")) }))
	defer server.Close()
	cfg := forPort(portOf(server.Listener))
	cfg.AllowHTTP = true
	cfg.AllowedHosts = []string{home.String()}
	source := newSource(t, cfg)
	original, err := source.Open(t.Context(), server.URL)
	require.NoError(t, err)
	assert.Equal(t, "photo", string(readAll(t, original)))
	_, err = source.parse("http://127.0.0.1/")
	assert.NoError(t, err)
}

// An address that doesn't answer is no reason to fail while another does, and one that is refused isn't tried.
func TestHTTPSourceTriesAllAddresses(t *testing.T) {
	port := newServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("photo")) })
	cfg := forPort(port)
	cfg.AllowedPrefixes = append(cfg.AllowedPrefixes, netip.MustParsePrefix("127.0.0.3/32"))
	cfg.Resolver = phoneBook{
		"photos.example.com": addrs("10.0.0.7", "127.0.0.3", "::ffff:127.0.0.1"), // nobody listens on the second one
		"down.example.com":   addrs("10.0.0.7", "127.0.0.3"),
		"many.example.com":   append(slices.Repeat(addrs("127.0.0.3"), maxAddresses), home),
	}
	source := newSource(t, cfg)
	original, err := source.Open(t.Context(), photoURL(port))
	require.NoError(t, err)
	assert.Equal(t, "photo", string(readAll(t, original)))
	for _, host := range []string{"down", "many"} {
		_, err = source.Open(t.Context(), strings.Replace(photoURL(port), "photos", host, 1))
		require.ErrorContains(t, err, host+".example.com: connection refused")
		assert.False(t, worker.IsPermanent(err), "the one that is allowed may answer the next time")
	}
}

// The system's resolver is asked when there is none, and finds this machine's own name without a network.
func TestHTTPSourceAsksTheSystem(t *testing.T) {
	cfg := HTTPConfig{AllowedHosts: []string{"localhost"}}
	_, err := newSource(t, cfg).Open(t.Context(), "https://localhost/?"+secret)
	refused(t, err, RuleAddress, ErrRefused)
	assert.ErrorContains(t, err, "localhost: refused by rule address: its address is not a public one: loopback")
}

// What a server asks for is heard, within reason.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "1.5": 0, "soon": 0, "86400": maxRetryAfter,
		"99999999999999999999999999":    maxRetryAfter,
		"Sun, 29 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 29 Nov 2026 11:00:00 GMT": 0,
		"Sun, 29 Nov 2099 12:00:00 GMT": maxRetryAfter,
	} {
		assert.Equal(t, want, retryAfter(value, now), value)
	}
	plain := fmt.Errorf("%s: the server answers %d", "photos.example.com", 429)
	for header, want := range map[string]error{"": plain, "90": worker.RetryAfter(90*time.Second, plain)} {
		port := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		_, err := newSource(t, forPort(port)).Open(t.Context(), photoURL(port))
		assert.Equal(t, want, err)
		assert.False(t, worker.IsPermanent(err))
	}
}

// The end of the caller's context is told as such, wherever it comes.
func TestHTTPSourceHeedsTheContext(t *testing.T) {
	answer := make(chan bool)
	port := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		answer <- true
		if r.URL.Path == "/body" {
			_, _ = w.Write([]byte("ph"))
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	source := newSource(t, forPort(port))

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-answer
		cancel()
	}()
	_, err := source.Open(ctx, photoURL(port))
	require.ErrorIs(t, err, context.Canceled)
	assert.False(t, worker.IsPermanent(err))

	_, err = source.Open(ctx, photoURL(port))
	require.ErrorIs(t, err, context.Canceled, "it had ended before")

	ctx, cancel = context.WithCancel(t.Context())
	go func() { <-answer }()
	original, err := source.Open(ctx, strings.Replace(photoURL(port), "/rooms/7.jpg", "/body", 1))
	require.NoError(t, err)
	_, err = io.ReadFull(original.Body, make([]byte, 2))
	require.NoError(t, err)
	cancel()
	_, err = original.Body.Read(make([]byte, 1))
	require.ErrorIs(t, err, context.Canceled)
	assert.NoError(t, original.Body.Close())
}

func TestNewHTTPSourceReportsAllProblems(t *testing.T) {
	_, err := NewHTTPSource(HTTPConfig{})
	require.EqualError(t, err, "HTTP source: AllowedHosts is empty and AllowPublic is not set: no URL could be opened")

	_, err = NewHTTPSource(HTTPConfig{
		AllowPublic: true,
		AllowedHosts: []string{"https://a.example", "*.com", "*", "a.*.example", "a.example:443", "a.example.", "münchen.example",
			"", "fe80::1%eth0", strings.Repeat("a", 300)},
		Ports: []uint16{8443, 0}, AllowedPrefixes: make([]netip.Prefix, 1), RefusedPrefixes: make([]netip.Prefix, 1),
		Resolver: (*net.Resolver)(nil), MaxBytes: -1, MaxHeaderBytes: -2, HeaderTimeout: -3, StallTimeout: -4, TotalTimeout: -5,
	})
	for _, problem := range []string{
		"HTTP source: ", "only one of them makes sense", `AllowedHosts: "https://a.example": the name has a character`,
		`"*.com": behind *. there must be two labels`, `"*": the name has a character`, `"a.*.example": the name has a character`,
		`"a.example:443": the name has`, `"a.example.": the name ends with a dot`, `"m\\u00fcnchen.example": the name has`,
		`"": a part of the name is empty`, `"fe80::1%eth0": the name has`, `"aaaa`,
		"Ports: 0 is not a port", "AllowedPrefixes has an invalid prefix", "RefusedPrefixes has an invalid prefix", "Resolver is nil",
		"MaxBytes is -1", "MaxHeaderBytes is -2", "HeaderTimeout is -3ns", "StallTimeout is -4ns", "TotalTimeout is -5ns",
	} {
		assert.ErrorContains(t, err, problem)
	}

	_, err = (&HTTPSource{}).Open(t.Context(), "https://photos.example.com/")
	refused(t, err, RuleHost, ErrRefused)
}

func TestAllowedHosts(t *testing.T) {
	list, err := newHostList([]string{"Photos.Example.com", "*.cdn.example.com", "192.0.2.7", "2001:DB8::7"})
	require.NoError(t, err)
	for name, want := range map[string]bool{
		"photos.example.com": true, "a.cdn.example.com": true, "a.b.cdn.example.com": true, "192.0.2.7": true, "2001:db8:0::7": true,
		"cdn.example.com": false, "xcdn.example.com": false, "a.photos.example.com": false, "example.com": false,
		"photos.example.com.evil.example": false, "192.0.2.8": false, "2001:db8::8": false, "": false,
	} {
		assert.Equal(t, want, list.contains(name), name)
	}
}

func TestGuard(t *testing.T) {
	g := guard{
		allowed: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/64")},
		refused: []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("9.0.0.0/8")},
	}
	for text, want := range map[string]string{
		"1.1.1.1": "", "8.8.8.8": "", "100.63.255.255": "", "100.128.0.0": "", "172.15.255.255": "", "172.32.0.0": "",
		"169.253.255.255": "", "198.17.255.255": "", "198.20.0.0": "", "223.255.255.255": "", "2606:4700::1111": "", "2a00::1": "",
		"2001:200::1": "", "2003::1": "", "10.1.1.1": "", "fd00::1": "", "fd00::1%eth0": "",
		"10.1.2.3": "RefusedPrefixes", "9.9.9.9": "RefusedPrefixes", "10.2.0.1": "private", "fd00:0:0:1::1": "unique local",
		"::ffff:10.1.1.1": "IPv4-mapped", "::ffff:0:10.1.1.1": "IPv4-translated", "fe80::1%eth0": "link-local",
		"5f00::1": "reserved", "e000::1": "reserved", "1fff::1": "reserved", "4000::": "reserved",
	} {
		err := g.check(netip.MustParseAddr(text))
		if want == "" {
			assert.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, text)
		refused(t, err, RuleAddress, ErrRefused)
		assert.NotContains(t, err.Error(), text)
	}
	assert.Error(t, guard{}.check(netip.Addr{}))
	assert.Error(t, dialer{}.control(t.Context(), "tcp", "photos.example.com:443", nil), "it wants an address")
}

// refused asserts that err is a refusal of that rule and class.
func refused(t *testing.T, err error, rule Rule, class error) {
	t.Helper()
	refusal := (*RefusedError)(nil)
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, rule, refusal.Rule, err)
	require.ErrorIs(t, err, class)
	assert.True(t, worker.IsPermanent(err), err)
}
