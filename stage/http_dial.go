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
	switch kind := specialKind(addr); {
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

// specialKind returns what keeps an address from being one of the public internet, and "" if it is one.
func specialKind(addr netip.Addr) string {
	for _, special := range specialAddresses {
		if special.prefix.Contains(addr) {
			return special.kind
		}
	}
	if addr.Is4() || globalUnicast.Contains(addr) {
		return ""
	}
	return "reserved"
}

// globalUnicast is all of IPv6 that was given out to be used as such.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// specialAddresses are what is not, or not for sure, one host of the public internet; the first that fits names it.
// Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), IPv4 Multicast (RFC 5771), IPv4 class E
// (RFC 1112, section 4), 6to4 and its relays (RFC 3056, RFC 7526), Teredo (RFC 4380), NAT64 (RFC 6052, RFC 8215),
// addresses with IPv4 inside (RFC 4291, section 2.5.5; RFC 2765, section 2.1), site-local (RFC 3879), documentation
// (RFC 5737, RFC 3849, RFC 9637); the documentation of EC2, Azure and Alibaba Cloud.
var specialAddresses = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("169.254.169.254/32"), "metadata"},
	{netip.MustParsePrefix("169.254.170.2/32"), "metadata"},
	{netip.MustParsePrefix("168.63.129.16/32"), "metadata"}, // of Azure, though it looks public
	{netip.MustParsePrefix("100.100.100.200/32"), "metadata"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "metadata"},

	{netip.MustParsePrefix("0.0.0.0/32"), "unspecified"},
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared (CGNAT)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.31.196.0/24"), "reserved"},
	{netip.MustParsePrefix("192.52.193.0/24"), "reserved"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("192.175.48.0/24"), "reserved"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmark"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},

	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4-mapped"},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "IPv4-translated"},
	{netip.MustParsePrefix("::/96"), "IPv4-compatible"},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64"},
	{netip.MustParsePrefix("100::/64"), "discard"},
	{netip.MustParsePrefix("2001::/32"), "Teredo"},
	{netip.MustParsePrefix("2001:2::/48"), "benchmark"},
	{netip.MustParsePrefix("2001::/23"), "reserved"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4"},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "reserved"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
	{netip.MustParsePrefix("fc00::/7"), "unique local"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}
