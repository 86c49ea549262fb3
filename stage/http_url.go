package stage

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// http_url.go: what a URL must look like before anybody is asked. All of it is decided by the URL and the configuration.

// parse reads a URL and holds it to the rules.
func (s *HTTPSource) parse(raw string) (*url.URL, error) {
	if len(raw) > MaxURLLength {
		return nil, refuse(RuleURL, "", "it has more than %d bytes", MaxURLLength)
	}
	u, err := parseURL(raw)
	if err != nil {
		return nil, refuse(RuleURL, "", "%v", err)
	}
	return u, s.permit(u)
}

// permit holds a URL, the first one or a redirect's, to the rules.
func (s *HTTPSource) permit(u *url.URL) error {
	host := hostOf(u)
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse(RuleScheme, "", "it is no https URL")
	case u.Scheme == "http" && !s.cfg.AllowHTTP:
		return refuse(RuleScheme, host, "only https is allowed")
	case u.User != nil:
		return refuse(RuleCredentials, host, "the URL has a user name or a password")
	case u.Opaque != "" || u.Hostname() == "":
		return refuse(RuleURL, "", "it has no host")
	case !s.permitsPort(u):
		return refuse(RulePort, host, "only 443 and the listed ports are allowed")
	}
	return s.permitHost(u.Hostname())
}

func (s *HTTPSource) permitsPort(u *url.URL) bool {
	if u.Port() == "" {
		return true // that of the scheme
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return false
	}
	if port == 443 || port == 80 && s.cfg.AllowHTTP {
		return true
	}
	for _, listed := range s.cfg.Ports {
		if uint64(listed) == port {
			return true
		}
	}
	return false
}

// permitHost holds a name or an IP address to the rules for hosts.
func (s *HTTPSource) permitHost(host string) error {
	addr, err := netip.ParseAddr(host)
	isAddress := err == nil
	if !isAddress {
		if problem := checkName(host); problem != nil {
			return refuse(RuleHost, shorten(host), "%v", problem)
		}
	}
	name := strings.ToLower(host)
	switch {
	case isAddress && addr.Zone() != "":
		return refuse(RuleHost, shorten(host), "the address has a zone")
	case !s.cfg.AllowPublic && !s.hosts.contains(name):
		return refuse(RuleHost, shorten(host), "it is none of the allowed hosts")
	case s.cfg.AllowPublic && !isAddress && !strings.Contains(name, "."):
		return refuse(RuleHost, shorten(host), "the name has no dot, so it is not one of the public internet")
	case isAddress:
		return withHost(s.dialer.guard.check(addr), shorten(host))
	}
	return nil
}

// checkName reports what is strange about a host's name. What passes means the same to everybody who looks at it: this
// package, the resolver, and whoever reads the error.
func checkName(name string) error {
	if strings.HasSuffix(name, ".") {
		return errors.New("the name ends with a dot")
	}
	if len(name) > 253 {
		return errors.New("the name has more than 253 bytes")
	}
	var last string
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("a part of the name is empty or has more than 63 bytes")
		}
		for _, c := range label {
			if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && c != '-' && c != '_' {
				return errors.New("the name has a character other than letters of ASCII, digits, - and _: international names are written as xn--…")
			}
		}
		last = label
	}
	// Some resolvers take 2130706433, 0x7f.1 and 0177.0.0.1 for addresses. No top level domain looks like that.
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") || strings.HasPrefix(last, "0X") {
		return errors.New("the name ends like a number, which some take for an address")
	}
	return nil
}

// hostList is AllowedHosts.
type hostList struct {
	names    map[string]bool
	suffixes []string // with the dot
}

func newHostList(entries []string) (hostList, error) {
	list := hostList{names: map[string]bool{}}
	var problems []error
	for _, entry := range entries {
		name := strings.ToLower(entry)
		if addr, err := netip.ParseAddr(name); err == nil && addr.Zone() == "" {
			list.names[addr.String()] = true
			continue
		}
		domain, wild := strings.CutPrefix(name, "*.")
		err := checkName(strings.TrimPrefix(entry, "*."))
		if err == nil && wild && !strings.Contains(domain, ".") {
			err = errors.New("behind *. there must be two labels at least")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("AllowedHosts: %q: %w", shorten(entry), err))
			continue
		}
		if wild {
			list.suffixes = append(list.suffixes, "."+domain)
		} else {
			list.names[domain] = true
		}
	}
	return list, errors.Join(problems...)
}

// contains looks for a name in lower case that checkName has nothing against, or an IP address.
func (l hostList) contains(name string) bool {
	if addr, err := netip.ParseAddr(name); err == nil {
		return l.names[addr.String()]
	}
	if l.names[name] {
		return true
	}
	for _, suffix := range l.suffixes {
		if strings.HasSuffix(name, suffix) {
			return true // there is a label before the dot, as none is empty
		}
	}
	return false
}
