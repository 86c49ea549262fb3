package stage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// http_error.go: what an HTTPSource tells about what went wrong. Errors of net/http and below are not passed on as they
// are: some hold the URL, some what the server sent, some the addresses of name servers.

// Rule names what a URL or a server did not keep to.
type Rule string

// The rules of an HTTPSource. Those without a remark wrap ErrRefused.
const (
	RuleURL         Rule = "url"         // a URL, at most MaxURLLength bytes long, with a host
	RuleScheme      Rule = "scheme"      // https, or http with AllowHTTP
	RuleCredentials Rule = "credentials" // no user name, no password
	RulePort        Rule = "port"        // 443, or one of Ports
	RuleHost        Rule = "host"        // AllowedHosts, or a proper name of the public internet
	RuleAddress     Rule = "address"     // an address of the public internet, or one in AllowedPrefixes
	RuleRedirects   Rule = "redirects"   // three at most
	RuleDowngrade   Rule = "downgrade"   // no redirect from https to http
	RuleStatus      Rule = "status"      // 200; what may pass is no refusal
	RuleMissing     Rule = "missing"     // neither 404 nor 410; wraps ErrNotFound
	RuleHeader      Rule = "header"      // MaxHeaderBytes
	RuleEncoding    Rule = "encoding"    // no Content-Encoding but identity
	RuleSize        Rule = "size"        // MaxBytes; wraps ErrTooLarge
)

// RefusedError says which rule an HTTPSource's URL, a redirect or a server broke. It is permanent, as it wraps ErrRefused,
// or ErrNotFound, or ErrTooLarge.
type RefusedError struct {
	Rule Rule
	// Host is the one to blame, shortened and without the port; empty when the URL has none that could be told.
	Host string
	// Detail is for people, and holds nothing of the URL.
	Detail string
}

// Error tells host, rule and detail.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%v by rule %s: %s", e.Unwrap(), e.Rule, e.Detail)
	if e.Host != "" {
		text = e.Host + ": " + text
	}
	return text
}

// Unwrap returns the class of the refusal.
func (e *RefusedError) Unwrap() error {
	switch e.Rule {
	case RuleMissing:
		return ErrNotFound
	case RuleSize:
		return ErrTooLarge
	}
	return ErrRefused
}

func refuse(rule Rule, host, detail string, args ...any) error {
	return &RefusedError{Rule: rule, Host: host, Detail: fmt.Sprintf(detail, args...)}
}

// withHost adds the host to a refusal that was made where it isn't known.
func withHost(err error, host string) error {
	refusal := (*RefusedError)(nil)
	if !errors.As(err, &refusal) {
		return err
	}
	return &RefusedError{Rule: refusal.Rule, Host: host, Detail: refusal.Detail}
}

// hostOf returns the host of a URL for errors.
func hostOf(u *url.URL) string { return shorten(u.Hostname()) }

// shorten makes a host, or what was written in its place, fit to be printed.
func shorten(host string) string {
	const limit = 64
	if quoted := strconv.QuoteToASCII(host); quoted != `"`+host+`"` {
		host = strings.Trim(quoted, `"`)
	}
	if len(host) > limit {
		host = host[:limit] + "…"
	}
	return host
}

// timeoutError says which limit of time was reached. To errors.Is it is context.DeadlineExceeded.
type timeoutError struct {
	field string // of HTTPConfig
	after time.Duration
}

func (e *timeoutError) Error() string        { return fmt.Sprintf("%s of %v is over", e.field, e.after) }
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// explain says why a request or the reading of a body failed.
func (d *download) explain(err error) error {
	if refusal := (*RefusedError)(nil); errors.As(err, &refusal) {
		return withHost(refusal, d.host)
	}
	if cause := context.Cause(d.ctx); cause != nil { // one of our limits, or the caller's cause
		return fmt.Errorf("%s: %w", d.host, cause)
	}
	if tooLong(err) {
		return refuse(RuleHeader, d.host, "the response's header has more than %d bytes", d.cfg.MaxHeaderBytes)
	}
	return fmt.Errorf("%s: %w", d.host, harmless(err))
}

// tooLong reports whether err is net/http's about a response's header, for which it has no name.
func tooLong(err error) bool {
	return strings.Contains(err.Error(), "server response headers exceeded")
}

// harmless returns an error that says as much of err as anybody may read.
func harmless(err error) error {
	var (
		name    *net.DNSError
		system  syscall.Errno
		timeout net.Error
	)
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return errors.New("there is no such host")
	case name != nil:
		return errors.New("the name servers don't answer")
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return errors.New(certificateProblem(err))
	case errors.As(err, &system):
		return system // "connection refused", "network is unreachable"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the connection broke: %w", io.ErrUnexpectedEOF)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("connecting took too long: %w", context.DeadlineExceeded)
	}
	return errors.New("the server's answer could not be understood")
}

// certificateProblem doesn't repeat what a certificate says.
func certificateProblem(err error) string {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, new(x509.HostnameError)):
		return "the server's certificate is another host's"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "the server's certificate is of an unknown authority"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet"
	}
	return "the server's certificate is not accepted"
}
