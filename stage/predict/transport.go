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
	"syscall"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage/internal/special"
)

// transport.go: the connections of a Model. The API says where outputs are, so it must not be able to lead a Model into the
// host's own network: where only a wildcard of OutputHosts lets a name in, what counts is the address that a connection
// is about to go to.

// newTransport makes the transport of a Model whose host brings none. It expects defaults in cfg.
func newTransport(cfg Config, base *url.URL) *http.Transport {
	trusting := &net.Dialer{Timeout: 10 * time.Second}
	wary := &net.Dialer{Timeout: 10 * time.Second, ControlContext: onlyPublic}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err == nil && (strings.EqualFold(host, base.Hostname()) || cfg.listed(host, false)) {
				return trusting.DialContext(ctx, network, address)
			}
			return wary.DialContext(ctx, network, address)
		},
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// onlyPublic is called for each connection right before it is made.
func onlyPublic(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return worker.Permanent(errors.New("it is no IP address"))
	}
	if kind := special.Kind(to.Addr()); kind != "" {
		return worker.Permanent(fmt.Errorf(
			"a host that only a wildcard of OutputHosts lets in has an address that is not a public one: %s", kind))
	}
	return nil
}
