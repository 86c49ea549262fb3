package stage

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/real-staging-ai/go-worker/stage/internal/special"
)

// http_dial.go: which addresses are dialed. Whatever a name was said to be before, what counts is the address that a
// connection is about to go to; so a name server that changes its mind gains nothing.

// dial makes a connection for a download. The transport's own context would outlast it: that is not the request's.
func (d *download) dial(_ context.Context, network, address string) (net.Conn, error) {
	conn, err := d.connect(network, address)
	if err != nil {
		return nil, err
	}
	return d.await(conn), nil
}

// dialTLS makes a secure connection for a download.
func (d *download) dialTLS(_ context.Context, network, address string) (net.Conn, error) {
	conn, err := d.connect(network, address)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: d.cfg.RootCAs, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(d.ctx); err != nil {
		return nil, err
	}
	return d.await(secure), nil
}

// connect makes a connection that ends with the download, at the latest.
func (d *download) connect(network, address string) (net.Conn, error) {
	conn, err := d.dialer.dial(d.ctx, network, address)
	if err == nil {
		context.AfterFunc(d.ctx, func() { _ = conn.Close() })
	}
	return conn, err
}

// askedConn is not read before the request is written: of a server that speaks first, net/http tells the program's log
// what it said.
type askedConn struct {
	net.Conn
	asked context.Context // ends with the first Write, or the download
	ask   context.CancelFunc
}

func (d *download) await(conn net.Conn) net.Conn {
	asked, ask := context.WithCancel(d.ctx)
	return askedConn{conn, asked, ask}
}

func (c askedConn) Write(b []byte) (int, error) {
	c.ask()
	return c.Conn.Write(b)
}

func (c askedConn) Read(b []byte) (int, error) {
	<-c.asked.Done()
	return c.Conn.Read(b)
}

// dialer connects to addresses that its guard lets pass.
type dialer struct {
	resolver Resolver // nil: the system's
	guard    guard
	timeout  time.Duration
}

// dial connects to one of a host's addresses, in the order of the resolver, which knows what can be reached. When none
// works, a failure that may pass outweighs a refusal: another attempt may reach the address that is allowed.
func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var failure, refusal error
	one := net.Dialer{Timeout: d.timeout / time.Duration(len(addrs)), ControlContext: d.control}
	for _, addr := range addrs {
		conn, err := one.DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		if refused := d.guard.check(addr); refused != nil { // control said so, or the machine knows no IPv6
			refusal = cmp.Or(refusal, refused)
		} else {
			failure = cmp.Or(failure, err)
		}
	}
	return nil, cmp.Or(failure, refusal)
}

// lookup returns the addresses of a name, at least one and not more than are worth a try.
func (d dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	resolver := d.resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	addrs, err := resolver.LookupNetIP(ctx, "ip", strings.ToLower(host))
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	addrs = addrs[:min(len(addrs), maxAddresses)]
	unmapped := make([]netip.Addr, len(addrs))
	for i, addr := range addrs {
		unmapped[i] = addr.Unmap() // net.Resolver returns IPv4 addresses mapped
	}
	return unmapped, nil
}

// control is called for each connection right before it is made.
func (d dialer) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return refuse(RuleAddress, "", "it is no IP address")
	}
	return d.guard.check(to.Addr())
}

// guard tells which addresses may be dialed.
type guard struct{ allowed, refused []netip.Prefix }

// check returns a *RefusedError for an address that must not be dialed. It doesn't name the address, as names of an inner
// network would be told to whoever reads the error.
func (g guard) check(addr netip.Addr) error {
	addr = addr.WithZone("") // prefixes contain no address with a zone
	switch kind := special.Kind(addr); {
	case contains(g.refused, addr):
		return refuse(RuleAddress, "", "its address is in RefusedPrefixes")
	case contains(g.allowed, addr) || kind == "":
		return nil
	default:
		return refuse(RuleAddress, "", "its address is not a public one: %s", kind)
	}
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
