package predict

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// spoiledError says that a prediction that succeeded has no picture for us, or not now.
type spoiledError struct{ reason string }

func (e *spoiledError) Error() string { return "output: " + e.reason }

const maxRedirects = 3

// copyOutput is the Op of an APIError that is the answer of a host of outputs, which may be the API's.
const copyOutput = "copy the output"

// newOutputs makes the client that outputs are copied with.
func newOutputs(cfg Config, base *url.URL) *http.Client {
	return &http.Client{
		Transport: cfg.Transport,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return worker.Permanent(fmt.Errorf("it was redirected more than %d times", maxRedirects))
			}
			if err := cfg.mayCopy(r.URL, base); err != nil {
				return err
			}
			if !sameOrigin(r.URL, base) {
				r.Header.Del("Authorization")
			}
			r.Header.Del("Referer") // it is where we come from, with a signature perhaps
			return nil
		},
	}
}

// mayCopy reports why outputs are not copied from a URL; nil means that they are.
func (c Config) mayCopy(u *url.URL, base *url.URL) error {
	if _, err := checkURL(u.String(), c.AllowHTTP); err != nil {
		return worker.Permanent(errors.New("its URL is refused: " + tidy(err.Error())))
	}
	if sameOrigin(u, base) {
		return nil
	}
	if u.Port() != "" && u.Port() != "443" && !c.AllowHTTP {
		return worker.Permanent(fmt.Errorf("its URL is refused: its port is %s", u.Port()))
	}
	if host := u.Hostname(); !c.listed(host, true) {
		return worker.Permanent(fmt.Errorf("its host %q is none of OutputHosts", tidy(host)))
	}
	return nil
}

// listed reports whether a host is in OutputHosts: by its own name, or also by a wildcard.
func (c Config) listed(host string, wildcards bool) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, rule := range c.OutputHosts {
		rule = strings.ToLower(rule)
		below, wild := strings.CutPrefix(rule, "*")
		if host == rule || wild && wildcards && strings.HasSuffix(host, below) {
			return true
		}
	}
	return false
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// copyOutput reads the picture that a prediction made.
func (m *Model) copyOutput(ctx context.Context, p Prediction) ([]byte, error) {
	if text := string(bytes.TrimSpace(p.Output)); text == "" || text == "null" {
		return nil, &spoiledError{"it is gone"}
	}
	where, err := m.cfg.Output(p.Output)
	if err != nil {
		return nil, worker.Permanent(fmt.Errorf("output: %w", err))
	}
	var data []byte
	if strings.HasPrefix(where, "data:") {
		data, err = m.decode(where)
	} else {
		data, err = m.download(ctx, where)
	}
	if err != nil {
		return nil, err
	}
	if _, _, err := image.DecodeConfig(bytes.NewReader(data)); errors.Is(err, image.ErrFormat) {
		if found := http.DetectContentType(data); !strings.HasPrefix(found, "image/") {
			return nil, &spoiledError{"it is no picture: it looks like " + found}
		}
	}
	return data, nil
}

// decode reads a data URL.
func (m *Model) decode(dataURL string) ([]byte, error) {
	_, text, found := strings.Cut(dataURL, ";base64,")
	if !found {
		return nil, &spoiledError{"it is a data URL that is not in base64"}
	}
	if int64(base64.StdEncoding.DecodedLen(len(text))) > m.cfg.MaxOutput+2 { // padding
		return nil, m.tooLarge()
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, &spoiledError{"it is a broken data URL"}
	}
	return data, nil
}

func (m *Model) tooLarge() error {
	return worker.Permanent(fmt.Errorf("output: %w: the limit is %d bytes (MaxOutput)", errTooLarge, m.cfg.MaxOutput))
}

// download reads what is at a URL. Errors don't show it: whoever has it has the picture.
func (m *Model) download(ctx context.Context, where string) ([]byte, error) {
	if len(where) > stage.MaxURLLength {
		return nil, worker.Permanent(fmt.Errorf("output: its URL has more than %d bytes", stage.MaxURLLength))
	}
	u, err := url.Parse(where)
	if err != nil {
		return nil, worker.Permanent(errors.New("output: its URL is broken"))
	}
	if err := m.cfg.mayCopy(u, m.api.base); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	limit := m.cfg.DownloadTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it was not there within %v", limit))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("output: %w", bare(err))
	}
	if sameOrigin(u, m.api.base) {
		m.api.authorize(request)
	}
	data, err := m.read(request)
	switch {
	case ctx.Err() == nil:
		return data, err
	case err == nil: // a server that noticed our going away may have ended its answer properly, before its end
		return nil, fmt.Errorf("output: %w", context.Cause(ctx))
	}
	return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
}

func (m *Model) read(request *http.Request) ([]byte, error) {
	response, err := m.outputs.Do(request)
	if err != nil {
		return nil, fmt.Errorf("output: %w", bare(err))
	}
	defer response.Body.Close()
	switch status := response.StatusCode; {
	case (&APIError{Status: status}).permanent(): // for this output: another prediction has another one
		return nil, &spoiledError{fmt.Sprintf("it is gone: %d %s", status, http.StatusText(status))}
	case status != http.StatusOK:
		failed := failure(copyOutput, response)
		failed.elsewhere = !sameOrigin(response.Request.URL, m.api.base)
		return nil, failed
	case response.ContentLength > m.cfg.MaxOutput:
		return nil, m.tooLarge()
	}
	data, err := io.ReadAll(&limited{response.Body, m.cfg.MaxOutput, m.cfg.MaxOutput})
	switch {
	case errors.Is(err, errTooLarge):
		return nil, m.tooLarge()
	case err != nil:
		return nil, fmt.Errorf("output: %w", err)
	case len(data) == 0:
		return nil, &spoiledError{"it is empty"}
	}
	return data, nil
}
