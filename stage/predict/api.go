package predict

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// APIError is an answer of the API that is no success.
type APIError struct {
	// Op is what was asked for: "create", "get", "list", "cancel" or "copy the output".
	Op string
	// Status is the HTTP status.
	Status int
	// Detail is what the API says about it, made fit for a log. It may be empty.
	Detail string
	// RetryAfter is how long the API asks to be left alone. Zero when it doesn't.
	RetryAfter time.Duration

	elsewhere bool // another host than the API's has answered
}

func (e *APIError) Error() string {
	text := fmt.Sprintf("prediction API: %s: %d %s", e.Op, e.Status, http.StatusText(e.Status))
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// permanent reports whether asking again is useless.
func (e *APIError) permanent() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Status >= 400 && e.Status < 500
}

// statusOf returns the HTTP status that err comes from, 0 if it comes from none.
func statusOf(err error) int {
	var answer *APIError
	if errors.As(err, &answer) {
		return answer.Status
	}
	return 0
}

// refused reports whether a create had no effect for sure: the API says so, or was never reached. With any other error,
// a prediction may have been created.
func refused(err error) bool {
	var answer *APIError
	if errors.As(err, &answer) {
		return answer.permanent() || answer.Status == http.StatusTooManyRequests || answer.Status/100 == 3
	}
	var network *net.OpError
	var name *net.DNSError
	return errors.As(err, &network) && network.Op == "dial" || errors.As(err, &name)
}

// api is the HTTP side of one API.
type api struct {
	base        *url.URL
	authorize   func(*http.Request) // a function, so that no formatting of it shows the token
	client      *http.Client
	timeout     time.Duration
	maxResponse int64
}

func newAPI(cfg Config, base *url.URL) *api {
	token := string(cfg.Token)
	return &api{
		base:        base,
		authorize:   func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) },
		timeout:     cfg.RequestTimeout,
		maxResponse: cfg.MaxResponse,
		client: &http.Client{
			Transport: cfg.Transport,
			// The token goes nowhere else, and a create must not be sent twice.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// create creates a prediction.
func (a *api) create(ctx context.Context, path string, header http.Header, body []byte) (Prediction, error) {
	return a.prediction(ctx, call{op: "create", method: http.MethodPost, path: path, header: header, body: body})
}

// get tells how far a prediction is.
func (a *api) get(ctx context.Context, id string) (Prediction, error) {
	return a.prediction(ctx, call{op: "get", method: http.MethodGet, path: "/predictions/" + id})
}

// cancel ends a prediction, and returns what became of it.
func (a *api) cancel(ctx context.Context, id string) (Prediction, error) {
	return a.prediction(ctx, call{op: "cancel", method: http.MethodPost, path: "/predictions/" + id + "/cancel"})
}

// prediction makes a call whose answer is a prediction.
func (a *api) prediction(ctx context.Context, c call) (p Prediction, err error) {
	err = a.do(ctx, c, a.maxResponse, func(body io.Reader) error {
		data, err := io.ReadAll(body)
		switch {
		case errors.Is(err, errTooLarge):
			return fmt.Errorf("%w (MaxResponse)", err)
		case err != nil:
			return err
		}
		if err := json.Unmarshal(data, &p); err != nil {
			return fmt.Errorf("the answer is no prediction: it looks like %s", http.DetectContentType(data))
		}
		if !validID(p.ID) {
			return errors.New("the answer names no prediction")
		}
		return nil
	})
	return p, err
}

// call is one request.
type call struct {
	op, method, path string
	query            url.Values
	header           http.Header
	body             []byte
}

// do makes a call and has its answer read, up to limit bytes of it.
func (a *api) do(ctx context.Context, c call, limit int64, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.timeout, fmt.Errorf("no answer within %v", a.timeout))
	defer cancel()
	target := *a.base
	target.Path, target.RawQuery = target.Path+c.path, c.query.Encode()
	request, err := http.NewRequestWithContext(ctx, c.method, target.String(), bytes.NewReader(c.body))
	if err != nil {
		return fmt.Errorf("prediction API: %s: %w", c.op, bare(err))
	}
	for name, values := range c.header {
		request.Header[name] = values
	}
	if c.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	a.authorize(request)

	err = a.ask(c.op, request, limit, read)
	if answer := (*APIError)(nil); err == nil || errors.As(err, &answer) {
		return err
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return fmt.Errorf("prediction API: %s: %w", c.op, err)
}

// ask sends a request and has the answer read.
func (a *api) ask(op string, request *http.Request, limit int64, read func(io.Reader) error) error {
	response, err := a.client.Do(request)
	if err != nil {
		return bare(err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return failure(op, response)
	}
	return read(&limited{response.Body, limit, limit})
}

// bare makes of an error of net/http what may be told. That is neither the URL, which may hold secrets, nor what a server
// has sent, which may repeat some and be as long as it likes, nor an address, which may be one of an inner network.
func bare(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var (
		network     net.Error // those of connections and name servers, and timeouts
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &network):
		return &toldError{withoutAddress(err), err}
	case errors.As(err, &certificate), worker.IsPermanent(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled):
		return err
	}
	text, _, _ := strings.Cut(err.Error(), `"`) // net/http quotes what was sent
	return &toldError{tidy(text), err}
}

// withoutAddress is the text of an error of a connection, or of name servers, without their addresses.
func withoutAddress(err error) string {
	var (
		name    *net.DNSError
		network *net.OpError
		address *net.AddrError
	)
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "there is no such host"
	case name != nil:
		return "the name servers don't answer"
	case errors.As(err, &network) && network.Err != nil:
		return network.Op + ": " + withoutAddress(network.Err)
	case errors.As(err, &address):
		return address.Err
	}
	return tidy(err.Error())
}

// toldError tells less than the error that it wraps.
type toldError struct {
	text string
	err  error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.err }

// limited is io.LimitReader with an error at its end, and for a body, whose other errors it makes bare.
type limited struct {
	from        io.Reader
	left, limit int64
}

var errTooLarge = errors.New("too large")

func (l *limited) Read(b []byte) (int, error) {
	// One byte more tells whether there is more.
	n, err := l.from.Read(b[:min(int64(len(b)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%w: the limit is %d bytes", errTooLarge, l.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = bare(err)
	}
	return n, err
}

const (
	maxDetail     = 8 << 10 // of the answer to a call that failed
	maxRetryAfter = time.Hour
)

// failure makes the error of an answer that is no success.
func failure(op string, response *http.Response) *APIError {
	err := &APIError{Op: op, Status: response.StatusCode}
	data, _ := io.ReadAll(io.LimitReader(response.Body, maxDetail)) // the status says enough
	var problem struct{ Title, Detail string }
	if json.Unmarshal(data, &problem) == nil {
		err.Detail = tidy(withoutToken(or(problem.Detail, problem.Title), response.Request))
	}
	err.RetryAfter = retryAfter(response.Header.Get("Retry-After"), err.Detail, time.Now())
	return err
}

// withoutToken hides the token that a request was sent with, which some services repeat when they don't like it.
func withoutToken(text string, request *http.Request) string {
	if request == nil {
		return text
	}
	if token, found := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer "); found {
		text = strings.ReplaceAll(text, token, hidden)
	}
	return text
}

// resetText is how Replicate says in its detail what others say in the header.
var resetText = regexp.MustCompile(`resets in ~?(\d+)s`)

// retryAfter reads how long the API asks to be left alone: seconds, or a date. At most an hour is believed.
func retryAfter(header, detail string, now time.Time) time.Duration {
	if found := resetText.FindStringSubmatch(detail); header == "" && found != nil {
		header = found[1]
	}
	wait := time.Duration(0)
	if seconds, err := strconv.ParseFloat(strings.TrimSpace(header), 64); err == nil && seconds > 0 {
		wait = time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	} else if date, err := http.ParseTime(header); err == nil {
		wait = date.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// pause is how long to wait before the nth question, from 0: it grows by half each time, and a share from 0 to 1 decides
// where in the last half of it.
func pause(n int, least, most time.Duration, share float64) time.Duration {
	bound := min(float64(least)*math.Pow(1.5, float64(min(n, 64))), float64(most))
	low := max(bound*0.75, float64(least))
	high := min(bound*1.25, float64(most))
	return time.Duration(low + share*(high-low))
}
