package stage

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// HTTPSource opens originals over HTTP, and lets strangers choose their URLs: whom it talks to is decided by HTTPConfig,
// whatever a URL, a name server or a redirect says, and no server can make it wait, read or remember without end.
//
// A URL, an address or an answer that a rule forbids gives a *RefusedError, which is permanent. Everything else that
// goes wrong, a limit of time included, is worth another attempt. Errors name the host and nothing else of a URL, since
// the rest may be a secret: neither URLs that are signed nor what a server says get into them.
//
// Requests carry no cookies, no credentials and no Referer, use no proxy, and each has a connection of its own, HTTP/1.1,
// which ends with the original's Body: between jobs nothing is kept, so there is nothing to close.
//
// The zero value refuses every URL. Make one with NewHTTPSource; it is safe for concurrent use.
type HTTPSource struct {
	cfg    HTTPConfig
	hosts  hostList
	dialer dialer
}

var _ Source = (*HTTPSource)(nil)

// NewHTTPSource makes a source, or reports all that is wrong with the configuration.
func NewHTTPSource(cfg HTTPConfig) (*HTTPSource, error) {
	hosts, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("HTTP source: %w", err)
	}
	cfg = cfg.withDefaults()
	return &HTTPSource{cfg: cfg, hosts: hosts, dialer: dialer{
		resolver: cfg.Resolver, guard: guard{cfg.AllowedPrefixes, cfg.RefusedPrefixes}, timeout: cfg.HeaderTimeout,
	}}, nil
}

// Open asks for the picture with GET and follows up to three redirects. It returns when the response's header is there;
// the limits of size and time go on with the Body. Size is the response's Content-Length.
func (s *HTTPSource) Open(ctx context.Context, raw string) (Original, error) {
	target, err := s.parse(raw)
	if err != nil {
		return Original{}, err
	}
	d := s.newDownload(ctx)
	resp, err := d.follow(target)
	if err != nil {
		d.end()
		return Original{}, err
	}
	return Original{Body: d.body(resp), Size: resp.ContentLength}, nil
}

// download is one call of Open, until the body is closed.
type download struct {
	*HTTPSource
	transport *http.Transport
	host      string          // that is being asked
	ctx       context.Context // the caller's, or shorter
	cancel    context.CancelCauseFunc
	total     *time.Timer
}

func (s *HTTPSource) newDownload(ctx context.Context) *download {
	d := &download{HTTPSource: s}
	d.ctx, d.cancel = context.WithCancelCause(ctx)
	d.total = d.limit("TotalTimeout", s.cfg.TotalTimeout)
	d.transport = &http.Transport{
		DialContext:            d.dial,
		DialTLSContext:         d.dialTLS,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: s.cfg.MaxHeaderBytes,
		Protocols:              new(http.Protocols),
	}
	d.transport.Protocols.SetHTTP1(true)
	return d
}

// limit ends the download after a while, unless the timer is stopped before.
func (d *download) limit(field string, after time.Duration) *time.Timer {
	return time.AfterFunc(after, func() { d.cancel(&timeoutError{field, after}) })
}

func (d *download) end() {
	d.total.Stop()
	d.cancel(nil)
}

// follow goes from redirect to redirect to a response that brings a picture. Each target is held to the same rules as
// the first one.
func (d *download) follow(target *url.URL) (*http.Response, error) {
	for redirects := 0; ; redirects++ {
		d.host = hostOf(target)
		resp, err := d.get(target)
		if err != nil {
			return nil, d.explain(err)
		}
		location, redirected := redirectOf(resp)
		if !redirected {
			if err := d.accept(resp); err != nil {
				resp.Body.Close()
				return nil, err
			}
			return resp, nil
		}
		resp.Body.Close()
		if redirects == maxRedirects {
			return nil, refuse(RuleRedirects, d.host, "it redirects once more after %d redirects", maxRedirects)
		}
		if target, err = d.redirect(target, location); err != nil {
			return nil, err
		}
	}
}

// get sends one request and waits for the response's header.
func (d *download) get(target *url.URL) (*http.Response, error) {
	timer := d.limit("HeaderTimeout", d.cfg.HeaderTimeout)
	defer timer.Stop()
	req := &http.Request{
		Method: http.MethodGet,
		URL:    target,
		Header: http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"go-worker"}},
	}
	// Not http.Client: it would follow redirects by rules of its own, and put whole URLs into errors.
	return d.transport.RoundTrip(req.WithContext(d.ctx))
}

// redirectOf returns where a response sends the client to.
func redirectOf(resp *http.Response) (location string, ok bool) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location"), true
	}
	return "", false
}

// redirect checks the target of a redirect.
func (d *download) redirect(from *url.URL, location string) (*url.URL, error) {
	if location == "" || len(location) > MaxURLLength {
		return nil, refuse(RuleURL, d.host, "it redirects to no URL, or one of more than %d bytes", MaxURLLength)
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil, refuse(RuleURL, d.host, "it redirects to something that is no URL") // err repeats parts of it
	}
	if from.Scheme == "https" && to.Scheme == "http" {
		return nil, refuse(RuleDowngrade, d.host, "it redirects from https to http")
	}
	return to, d.permit(to)
}
