package predict

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// DefaultBaseURL is Replicate's API.
const DefaultBaseURL = "https://api.replicate.com/v1"

const (
	defaultMaxOutput       = 50 << 20
	defaultMaxResponse     = 8 << 20
	defaultRequestTimeout  = 30 * time.Second
	defaultDownloadTimeout = 2 * time.Minute
	defaultPollMin         = time.Second
	defaultPollMax         = 5 * time.Second
	defaultLifetime        = time.Hour
	defaultSettle          = 10 * time.Second
	defaultGrace           = 2 * time.Second

	maxValue = 1e30 // of a price: multiplied by any time it is still a number
)

// Secret is a string that no formatting, logging or encoding shows.
type Secret string

const hidden = "[secret]"

// Format implements fmt.Formatter.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Config says which model a Model runs, and how. Token and one of Version, Model and Deployment are required; the zero
// value of every other field works. Functions are called from many goroutines at once.
type Config struct {
	// BaseURL is where the API is, without a slash at its end. Empty means DefaultBaseURL.
	BaseURL string
	// Token is sent to the API, and to nobody else, as "Authorization: Bearer …".
	Token Secret

	// Version is the version of a model to run: its id, or "owner/name:id".
	Version string
	// Model is a model to run in the version that the API chooses: "owner/name".
	Model string
	// Deployment is a deployment to run: "owner/name".
	Deployment string

	// Input makes the model's input of a request. An error of it fails the attempt, or the job if it is permanent. Nil
	// means DefaultInput.
	Input func(ctx context.Context, req stage.Request) (map[string]any, error)
	// Output finds the picture in what a prediction has as its output: the URL of it, or a data URL. An error of it is
	// permanent. Nil means DefaultOutput.
	Output func(output json.RawMessage) (string, error)
	// Final is asked about the message of a prediction that failed; true means that trying again is useless, as when the
	// message speaks of a content policy, and fails the job at once. Nil means that nothing is.
	Final func(message string) bool

	// PricePerSecond and PricePerPrediction are what a prediction costs, in any currency: Cost is the sum of both. They
	// are the host's word, the API tells no prices.
	PricePerSecond     float64
	PricePerPrediction float64

	// Limiter bounds how many predictions are created. Models with the same token share one. Nil means no bounds.
	Limiter *Limiter
	// Webhook parks jobs until the API calls. Nil means that a job holds its slot and asks.
	Webhook *Webhook

	// Transport carries all requests. Nil means one of its own, that uses no proxy; its idle connections are closed
	// by CloseIdleConnections. An HTTP client of the host's own is its Transport; the addresses that it connects to
	// are the host's affair then.
	Transport http.RoundTripper
	// AllowHTTP permits http where https is required: for tests, and for an API within the host's own network.
	AllowHTTP bool
	// OutputHosts are the hosts that outputs are copied from, redirects included: "example.com", or "*.example.com" for
	// all names below it, or "*" for any. The API's own is always one of them. None means replicate.delivery and all below
	// it. Outputs are only copied over https, and from port 443. A host that only an entry with * lets in must have an
	// address of the public internet; in a network without IPv4, whose name servers make 64:ff9b::/96 of an IPv4 address
	// (NAT64), that one must be public.
	OutputHosts []string
	// MaxOutput is the size of the largest picture that is copied, in bytes. Zero means 50 MiB.
	MaxOutput int64
	// MaxResponse is the size of the largest answer of the API that is read, in bytes. An answer holds the input, too, so
	// it must exceed that. Zero means 8 MiB.
	MaxResponse int64

	// RequestTimeout bounds one call of the API. Zero means 30 seconds.
	RequestTimeout time.Duration
	// DownloadTimeout bounds the copying of an output. Zero means 2 minutes.
	DownloadTimeout time.Duration
	// PollMin and PollMax are the first and the longest pause between two questions about a prediction. Zero means 1 and 5
	// seconds.
	PollMin, PollMax time.Duration
	// Lifetime is how long a prediction may take from its creation, parked or not, in whole minutes when the API is told.
	// After it the prediction is canceled and counts as failed. Jobs that are not parked are usually ended by their
	// Timeout before. Zero means 1 hour.
	Lifetime time.Duration
	// Settle is how long after a create without an answer the API is taken to show what came of it, and how long an output
	// that isn't there is waited for. Zero means 10 seconds.
	Settle time.Duration
	// Grace is how long a create under way is waited for after the attempt was ended, and how long a cancel and a
	// checkpoint may take then; all of it together takes twice as long at most. It should be less than half of
	// worker.Config.CancelGrace. Zero means 2 seconds.
	Grace time.Duration

	// Created is told of each prediction that a job is about to follow, before the job is parked; of the same one again
	// when a later attempt had to look for it, or cannot know whether the host was told. It is for hosts that cancel jobs:
	// no worker hears of it when a job is canceled while it is parked or put off, but whoever knows the id can call
	// Model.Cancel. It should not take long: an attempt waits for it. Nil means that nobody is told.
	Created func(ctx context.Context, job *worker.Job, predictionID string)

	// CancelOnLeaseLost cancels the prediction of a job whose lease is lost. It is off: the worker that has the job now
	// goes on with the very prediction, and would have to pay for another one.
	CancelOnLeaseLost bool

	// IdempotencyHeader names the header in which the API takes a key that makes a repeated create answer with the first
	// prediction. A create without an answer is simply repeated then. Set it only where the API promises that: net/http
	// repeats such requests by itself. Replicate has none. Empty means that none is sent.
	IdempotencyHeader string
	// KeyInput names a field of the model's input that takes the key of a create, for models that have one to spare: one
	// that doesn't know the field may refuse it. It makes looking for a prediction exact.
	KeyInput string
	// Match reports whether a prediction that the API lists is the one that was to be created. It is given those that were
	// created about then. Nil means DefaultMatch.
	//
	// What cannot be known is whether the API lists everything at once. Settle waits for it; what is not listed then counts
	// as never created. Where the API has no list, or shows neither key nor input, nothing can be known, and the
	// prediction counts as one that failed: another one is paid, and the job fails when that is lost, too.
	Match func(sent Sent, p Prediction) bool
}

var (
	ownerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)
	tokenText = regexp.MustCompile(`^[!-~]+$`)
	fieldName = regexp.MustCompile(`^[A-Za-z0-9-]*$`)
)

// unsent are headers that net/http keeps to itself, or leaves out when it speaks HTTP/2: they are about a connection, or
// about how a request is written. A key in one of them is not sent, and a create would be repeated without it.
var unsent = []string{"Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Keep-Alive",
	"Proxy-Connection", "Upgrade", "Te"}

// check reports all that is wrong. It never shows the token.
func (c Config) check() error {
	problems := []error{c.checkWhat()}
	if _, err := checkURL(c.BaseURL, c.AllowHTTP); err != nil {
		problems = append(problems, fmt.Errorf("BaseURL: %w", err))
	}
	if !tokenText.MatchString(string(c.Token)) {
		problems = append(problems, errors.New("Token is empty or has characters that a header cannot carry"))
	}
	for name, value := range map[string]float64{
		"PricePerSecond": c.PricePerSecond, "PricePerPrediction": c.PricePerPrediction,
		"MaxOutput": float64(c.MaxOutput), "MaxResponse": float64(c.MaxResponse),
		"RequestTimeout": float64(c.RequestTimeout), "DownloadTimeout": float64(c.DownloadTimeout),
		"PollMin": float64(c.PollMin), "PollMax": float64(c.PollMax), "Lifetime": float64(c.Lifetime),
		"Settle": float64(c.Settle), "Grace": float64(c.Grace),
	} {
		if !(value >= 0) { // NaN, too
			problems = append(problems, fmt.Errorf("%s is %v: it must not be negative", name, value))
		}
		if value > maxValue {
			problems = append(problems, fmt.Errorf("%s is %v: the limit is %v", name, value, maxValue))
		}
	}
	if c.PollMax != 0 && c.PollMin > c.PollMax {
		problems = append(problems, fmt.Errorf("PollMin is %v: it must not exceed PollMax, %v", c.PollMin, c.PollMax))
	}
	switch name := http.CanonicalHeaderKey(c.IdempotencyHeader); {
	case !fieldName.MatchString(name):
		problems = append(problems, fmt.Errorf("IdempotencyHeader is %q: a name has letters, digits and - only", name))
	case slices.Contains([]string{"Authorization", "Content-Type", "Accept", "Cancel-After"}, name):
		problems = append(problems, fmt.Errorf("IdempotencyHeader is %q: that one is taken", name))
	case slices.Contains(unsent, name):
		problems = append(problems, fmt.Errorf("IdempotencyHeader is %q: that one is the connection's, and is not sent", name))
	}
	for _, host := range c.OutputHosts {
		if host == "" || strings.ContainsAny(host, "/:@ ") {
			problems = append(problems, fmt.Errorf("OutputHosts: %q is no host", host))
		}
	}
	if c.Webhook != nil {
		if err := c.Webhook.check(c.AllowHTTP); err != nil {
			problems = append(problems, fmt.Errorf("Webhook: %w", err))
		}
	}
	return errors.Join(problems...)
}

func (c Config) checkWhat() error {
	given := 0
	for _, what := range []string{c.Version, c.Model, c.Deployment} {
		if what != "" {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("%d of Version, Model and Deployment are set: it must be one", given)
	}
	for field, what := range map[string]string{"Model": c.Model, "Deployment": c.Deployment} {
		if what != "" && !ownerName.MatchString(what) {
			return fmt.Errorf("%s is %q: it must be of the form owner/name", field, what)
		}
	}
	return nil
}

// checkURL returns the URL if requests may be sent to it. The error doesn't show it: it may hold secrets.
func checkURL(text string, allowHTTP bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is no URL")
	case u.Scheme != "https" && (u.Scheme != "http" || !allowHTTP):
		return nil, fmt.Errorf("its scheme is %q: it must be https", u.Scheme)
	case u.Host == "":
		return nil, errors.New("it has no host")
	case u.User != nil:
		return nil, errors.New("it has credentials")
	}
	return u, nil
}

func (c Config) withDefaults() Config {
	c.BaseURL = strings.TrimSuffix(or(c.BaseURL, DefaultBaseURL), "/")
	c.MaxOutput = or(c.MaxOutput, defaultMaxOutput)
	c.MaxResponse = or(c.MaxResponse, defaultMaxResponse)
	c.RequestTimeout = or(c.RequestTimeout, defaultRequestTimeout)
	c.DownloadTimeout = or(c.DownloadTimeout, defaultDownloadTimeout)
	c.PollMax = or(c.PollMax, max(defaultPollMax, c.PollMin))
	c.PollMin = or(c.PollMin, min(defaultPollMin, c.PollMax))
	c.Lifetime = or(c.Lifetime, defaultLifetime)
	c.Settle = or(c.Settle, defaultSettle)
	c.Grace = or(c.Grace, defaultGrace)
	if c.Input == nil {
		c.Input = DefaultInput
	}
	if c.Output == nil {
		c.Output = DefaultOutput
	}
	if c.Created == nil {
		c.Created = func(context.Context, *worker.Job, string) {}
	}
	if c.Final == nil {
		c.Final = func(string) bool { return false }
	}
	if c.Match == nil {
		c.Match = DefaultMatch
	}
	if len(c.OutputHosts) == 0 {
		c.OutputHosts = []string{"replicate.delivery", "*.replicate.delivery"}
	}
	return c
}

func or[V comparable](value, otherwise V) V {
	var zero V
	if value == zero {
		return otherwise
	}
	return value
}

// name is what a picture is said to be made by.
func (c Config) name() string { return c.Version + c.Model + c.Deployment }
