package predict

import (
	"bytes"
	"context"
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
)

// APIError is an answer of the API that is no success.
type APIError struct {
	// Op is what was asked for: "create", "get", "list" or "cancel".
	Op string
	// Status is the HTTP status.
	Status int
	// Detail is what the API says about it, made fit for a log. It may be empty.
	Detail string
	// RetryAfter is how long the API asks to be left alone. Zero when it doesn't.
	RetryAfter time.Duration
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
		if err != nil {
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

	response, err := a.client.Do(request)
	if err == nil {
		defer response.Body.Close()
		if response.StatusCode/100 != 2 {
			return failure(c.op, response)
		}
		err = read(&limited{response.Body, limit, limit})
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), bare(err))
	}
	if err != nil {
		return fmt.Errorf("prediction API: %s: %w", c.op, bare(err))
	}
	return nil
}

// bare takes from an error of net/http the URL, which may hold secrets.
func bare(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// limited is io.LimitReader with an error at its end.
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
	return n, err
}

const (
	maxDetail     = 8 << 10 // of the answer to a call that failed
	maxRetryAfter = time.Hour
)

// failure makes the error of an answer that is no success.
func failure(op string, response *http.Response) error {
	err := &APIError{Op: op, Status: response.StatusCode}
	data, _ := io.ReadAll(io.LimitReader(response.Body, maxDetail)) // the status says enough
	var problem struct{ Title, Detail string }
	if json.Unmarshal(data, &problem) == nil {
		err.Detail = tidy(or(problem.Detail, problem.Title))
	}
	err.RetryAfter = retryAfter(response.Header.Get("Retry-After"), err.Detail, time.Now())
	return err
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
