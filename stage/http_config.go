package stage

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// What applies where an HTTPConfig says nothing.
const (
	DefaultMaxHeaderBytes = 64 << 10
	DefaultHeaderTimeout  = 10 * time.Second
	DefaultStallTimeout   = 10 * time.Second
	DefaultTotalTimeout   = 2 * time.Minute
)

// The limits that are no matter of configuration.
const (
	maxRedirects  = 3
	maxAddresses  = 8                // of a name, that are tried
	maxRetryAfter = 10 * time.Minute // that a server may ask for: later the policy of the job's retries is as good a guess
	stallBytes    = 16 << 10         // that have to come within StallTimeout
)

// HTTPConfig says whom an HTTPSource may ask, and for how much. Either AllowedHosts or AllowPublic is required: without a
// decision nothing is opened.
type HTTPConfig struct {
	// AllowedHosts are the only hosts that are asked, also by way of redirects. An entry is a name,
	// "photos.example.com", which means that name alone; "*.example.com", which means every name that ends with
	// .example.com, however many labels it has more, but not example.com itself; or an IP address. Case doesn't matter.
	// International names are written in their ASCII form, xn--….
	AllowedHosts []string
	// AllowPublic lets every host be asked whose address is one of the public internet. A name must have a dot.
	AllowPublic bool
	// Ports are allowed besides 443 (and 80, with AllowHTTP).
	Ports []uint16
	// AllowHTTP allows http URLs, too. It is meant for tests: photos and signed URLs travel in the clear. A redirect
	// from https to http is refused all the same.
	AllowHTTP bool

	// AllowedPrefixes are addresses that may be dialed though they aren't public: of a store in the host's own network,
	// of a server in a test. Every other address that is loopback, private, link-local, shared (CGNAT), multicast,
	// reserved, for documentation, for metadata, or that embeds an IPv4 address (mapped, 6to4, Teredo, NAT64) is
	// refused, whichever name it hides behind.
	AllowedPrefixes []netip.Prefix
	// RefusedPrefixes are addresses that are not dialed though they look public: of an inner network that uses such.
	// They outrank AllowedPrefixes.
	RefusedPrefixes []netip.Prefix
	// Resolver looks names up. Nil means net.DefaultResolver.
	Resolver Resolver
	// RootCAs are the authorities whose certificates are accepted. Nil means the system's.
	RootCAs *x509.CertPool

	// MaxBytes is the size of the largest body, in bytes. Zero means DefaultMaxBytes, 25 MiB.
	MaxBytes int64
	// MaxHeaderBytes is the size of the largest response header, in bytes. Zero means DefaultMaxHeaderBytes, 64 KiB.
	MaxHeaderBytes int64
	// HeaderTimeout is how long each request, one of a redirect as well, may take until the response's header is there,
	// with looking up the name, connecting and TLS. Zero means 10 seconds.
	HeaderTimeout time.Duration
	// StallTimeout is how long reading the Body may wait for each 16 KiB. Zero means 10 seconds, that is 1.6 KiB/s.
	StallTimeout time.Duration
	// TotalTimeout is how long all of it may take, from the call of Open to the end of the Body. Zero means 2 minutes.
	TotalTimeout time.Duration
}

// Resolver looks up the addresses of names. A *net.Resolver is one.
type Resolver interface {
	// LookupNetIP returns the addresses of host. The network is always "ip": of both versions. It must be safe for
	// concurrent use, and end with its context.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// check reports all that is wrong.
func (c HTTPConfig) check() (hostList, error) {
	hosts, err := newHostList(c.AllowedHosts)
	problems := []error{err}
	switch {
	case len(c.AllowedHosts) == 0 && !c.AllowPublic:
		problems = append(problems, errors.New("AllowedHosts is empty and AllowPublic is not set: no URL could be opened"))
	case len(c.AllowedHosts) > 0 && c.AllowPublic:
		problems = append(problems, errors.New("AllowedHosts would mean nothing, since AllowPublic is set: only one of them makes sense"))
	}
	if slices.Contains(c.Ports, 0) {
		problems = append(problems, errors.New("Ports: 0 is not a port"))
	}
	problems = append(problems, checkPrefixes("AllowedPrefixes", c.AllowedPrefixes),
		checkPrefixes("RefusedPrefixes", c.RefusedPrefixes))
	if c.Resolver != nil && isNil(c.Resolver) {
		problems = append(problems, errors.New("Resolver is nil"))
	}
	for _, limit := range []struct {
		field string
		value int64
	}{{"MaxBytes", c.MaxBytes}, {"MaxHeaderBytes", c.MaxHeaderBytes}} {
		problems = append(problems, checkLimit(limit.field, limit.value))
	}
	for _, limit := range []struct {
		field string
		value time.Duration
	}{{"HeaderTimeout", c.HeaderTimeout}, {"StallTimeout", c.StallTimeout}, {"TotalTimeout", c.TotalTimeout}} {
		if limit.value < 0 {
			problems = append(problems, fmt.Errorf("%s is %v: it must not be negative", limit.field, limit.value))
		}
	}
	return hosts, errors.Join(problems...)
}

func checkPrefixes(field string, prefixes []netip.Prefix) error {
	for _, prefix := range prefixes {
		if !prefix.IsValid() {
			return fmt.Errorf("%s has an invalid prefix", field)
		}
	}
	return nil
}

func (c HTTPConfig) withDefaults() HTTPConfig {
	c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, DefaultMaxHeaderBytes)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, DefaultHeaderTimeout)
	c.StallTimeout = cmp.Or(c.StallTimeout, DefaultStallTimeout)
	c.TotalTimeout = cmp.Or(c.TotalTimeout, DefaultTotalTimeout)
	c.Ports = slices.Clone(c.Ports)
	c.AllowedPrefixes, c.RefusedPrefixes = slices.Clone(c.AllowedPrefixes), slices.Clone(c.RefusedPrefixes)
	return c
}
