package predict

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage/internal/special"
)

// transport.go: the connections of a Model. The API says where outputs are, so it must not be able to lead a Model into the
// host's own network: where only a wildcard of OutputHosts lets a name in, what counts is the address that a connection
// is about to go to.

const dialTimeout = 10 * time.Second

// newTransport makes the transport of a Model whose host brings none. It expects defaults in cfg.
func newTransport(cfg Config, base *url.URL) *http.Transport {
	trusting := &net.Dialer{Timeout: dialTimeout}
	public := wary{kind: kindOf}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err == nil && (strings.EqualFold(host, base.Hostname()) || cfg.listed(host, false)) {
				return trusting.DialContext(ctx, network, address)
			}
			return public.dial(ctx, network, address)
		},
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// wary dials public addresses only.
type wary struct {
	kind     func(netip.Addr) string // what keeps an address from being one, empty: nothing
	resolver *net.Resolver           // nil: the system's
}

// dial connects to one of a host's addresses. When none works, a failure that may pass outweighs a refusal: another attempt
// may reach the address that is allowed.
func (w wary) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var allowed atomic.Bool // an address; two may be tried at once
	dialer := net.Dialer{Timeout: dialTimeout, Resolver: w.resolver,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			err := w.check(address)
			if err == nil {
				allowed.Store(true)
			}
			return err
		}}
	conn, err := dialer.DialContext(ctx, network, address)
	if worker.IsPermanent(err) && allowed.Load() { // the dialer tells of the first address only
		err = &net.OpError{Op: "dial", Net: network, Err: errors.New("none of the host's public addresses answers")}
	}
	return conn, err
}

// check is called for each connection right before it is made.
func (w wary) check(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return worker.Permanent(errors.New("it is no IP address"))
	}
	if kind := w.kind(to.Addr()); kind != "" {
		return worker.Permanent(fmt.Errorf(
			"a host that only a wildcard of OutputHosts lets in has an address that is not a public one: %s", kind))
	}
	return nil
}

// translated are the addresses that name servers of a network without IPv4 make of IPv4 addresses: the last four bytes are
// who is meant. Source: RFC 6052, section 2.1.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// kindOf is special.Kind, of the IPv4 address that is meant where there is one.
func kindOf(addr netip.Addr) string {
	if !translated.Contains(addr) {
		return special.Kind(addr)
	}
	b := addr.As16()
	if kind := special.Kind(netip.AddrFrom4([4]byte(b[12:]))); kind != "" {
		return "NAT64 of " + kind
	}
	return ""
}
