package predict

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/safelog"
)

// Webhook is how the API tells that a prediction is over: it calls a WebhookHandler.
type Webhook struct {
	// URL is where the API finds the WebhookHandler, without a redirect. The job's id, its queue, the key of the create and
	// a signature of them are added to its query: job, queue, key, sig.
	URL string
	// Secret is one of the handler's secrets; it signs what is added. Empty is refused.
	Secret Secret
}

func (w *Webhook) check(allowHTTP bool) error {
	_, badURL := checkURL(w.URL, allowHTTP)
	if badURL != nil {
		badURL = fmt.Errorf("URL: %w", badURL)
	}
	_, badSecret := w.Secret.signingKey()
	return errors.Join(badURL, badSecret)
}

// urlFor is the URL for one create. It must have been checked.
func (w *Webhook) urlFor(job, queue, key string) string {
	u, _ := url.Parse(w.URL)
	secret, _ := w.Secret.signingKey()
	query := u.Query()
	query.Set("job", job)
	query.Set("queue", queue)
	query.Set("key", key)
	query.Set("sig", base64.RawURLEncoding.EncodeToString(signTarget(secret, job, queue, key)))
	u.RawQuery = query.Encode()
	return u.String()
}

// signTarget signs whom a webhook is for, since the API signs only what it says.
func signTarget(secret []byte, job, queue, key string) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, part := range []string{"predict webhook target", job, queue, key} {
		mac.Write(fmt.Appendf(nil, "%d:%s", len(part), part))
	}
	return mac.Sum(nil)
}

// signingKey decodes a secret of the form of Standard Webhooks: "whsec_" and base64. The error doesn't show it.
func (s Secret) signingKey() ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s), "whsec_"))
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("a webhook secret is not of the form whsec_… with 24 to 64 bytes in base64")
	}
	return key, nil
}

const (
	replayWindow       = 5 * time.Minute // that a webhook's timestamp may be off, either way
	maxSeen            = 10_000
	maxID              = 256 // bytes of a webhook's id
	defaultMaxBody     = 8 << 20
	defaultWakeTimeout = 10 * time.Second
)

// WebhookConfig is what a WebhookHandler is made of. Secrets and Wake are required.
type WebhookConfig struct {
	// Secrets are those that the API may sign with: one, or during a rotation the old one, too.
	Secrets []Secret
	// Wake makes a job that was put off run now: client.RunNow, with the queue as option. It may be called more than once for
	// a job, also for one that is over, or that was not put off yet. worker.ErrJobActive says the latter and makes the API
	// call again; a *worker.FinishedError, worker.ErrCanceled and worker.ErrJobNotFound say that there is nothing to wake.
	// Any other error is logged, and makes the API call again, too. A job that nobody wakes looks by itself.
	Wake func(ctx context.Context, jobID, queue string) error
	// MaxBytes is the size of the largest body that is read, in bytes: it holds the prediction's input, too. Zero means
	// 8 MiB.
	MaxBytes int64
	// Logger takes the errors of Wake. Nil means slog.Default(). A handler that panics loses a line.
	Logger *slog.Logger
}

// WebhookHandler takes the API's webhooks and wakes the jobs that they are for. It believes only what is signed by
// Standard Webhooks (HMAC-SHA256, "v1") at most five minutes ago. What a webhook says of the prediction is not used
// otherwise: the job asks the API. So a webhook that comes twice is harmless, and one that was taken is not passed on again.
type WebhookHandler struct {
	cfg  WebhookConfig
	keys [][]byte

	mu   sync.Mutex
	seen map[string]time.Time // ids that were taken, and when
}

var _ http.Handler = (*WebhookHandler)(nil)

// NewWebhookHandler makes a WebhookHandler, or reports all that is wrong with the configuration.
func NewWebhookHandler(cfg WebhookConfig) (*WebhookHandler, error) {
	var problems []error
	h := &WebhookHandler{seen: make(map[string]time.Time)}
	for i, secret := range cfg.Secrets {
		key, err := secret.signingKey()
		if err != nil {
			problems = append(problems, fmt.Errorf("Secrets[%d]: %w", i, err))
		}
		h.keys = append(h.keys, key)
	}
	if len(cfg.Secrets) == 0 {
		problems = append(problems, errors.New("Secrets is empty"))
	}
	if cfg.Wake == nil {
		problems = append(problems, errors.New("Wake is nil"))
	}
	if cfg.MaxBytes < 0 {
		problems = append(problems, fmt.Errorf("MaxBytes is %d: it must not be negative", cfg.MaxBytes))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("webhook handler: %w", err)
	}
	cfg.Secrets = nil // the keys are enough
	cfg.MaxBytes = or(cfg.MaxBytes, defaultMaxBody)
	cfg.Logger = safelog.New(cfg.Logger)
	h.cfg = cfg
	return h, nil
}

// ServeHTTP answers 204 to a webhook that was taken, 4xx to one that never will be, 503 when its job is still running, and
// 500 when Wake failed.
func (h *WebhookHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, problem := h.take(w, r)
	if problem != "" {
		http.Error(w, problem, code)
		return
	}
	w.WriteHeader(code)
}

func (h *WebhookHandler) take(w http.ResponseWriter, r *http.Request) (code int, problem string) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return http.StatusMethodNotAllowed, "webhooks are POSTed"
	}
	id, stamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if id == "" || len(id) > maxID || err != nil || !recent(time.Unix(seconds, 0)) {
		return http.StatusUnauthorized, "the webhook has no id or no recent timestamp"
	}
	// Before the body, which may be large: nobody but the API knows such a URL.
	target := r.URL.Query()
	job, queue := target.Get("job"), target.Get("queue")
	if !h.meant(job, queue, target.Get("key"), target.Get("sig")) {
		return http.StatusUnauthorized, "the URL is not one of ours"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.MaxBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, "the webhook is too large"
	case err != nil:
		return http.StatusBadRequest, "the webhook was cut short"
	case !h.signed(id, stamp, body, r.Header.Values("webhook-signature")):
		return http.StatusUnauthorized, "no signature is right"
	}
	var p struct{ Status Status }
	switch err := json.Unmarshal(body, &p); {
	case err != nil:
		return http.StatusBadRequest, "the webhook is not about a prediction"
	case !p.Status.over() || h.known(id):
		return http.StatusNoContent, ""
	}
	ctx, cancel := context.WithTimeout(r.Context(), defaultWakeTimeout)
	defer cancel()
	err = h.cfg.Wake(ctx, job, queue)
	switch {
	case errors.Is(err, worker.ErrJobActive):
		return http.StatusServiceUnavailable, "the job is not waiting yet"
	case err != nil && !isOver(err):
		h.cfg.Logger.ErrorContext(ctx, "a webhook could not wake its job", "job", job, "queue", queue, "error", err)
		return http.StatusInternalServerError, "the job could not be woken"
	}
	h.learn(id)
	return http.StatusNoContent, ""
}

// isOver reports whether Wake says that there is nothing to wake.
func isOver(err error) bool {
	var finished *worker.FinishedError
	return errors.As(err, &finished) || errors.Is(err, worker.ErrCanceled) || errors.Is(err, worker.ErrJobNotFound)
}

func recent(at time.Time) bool {
	age := time.Since(at)
	return -replayWindow <= age && age <= replayWindow
}

// signed reports whether one of the signatures is made with one of the keys.
func (h *WebhookHandler) signed(id, stamp string, body []byte, signatures []string) bool {
	for _, key := range h.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		right := mac.Sum(nil)
		for _, signature := range strings.Fields(strings.Join(signatures, " ")) {
			text, ok := strings.CutPrefix(signature, "v1,")
			given, err := base64.StdEncoding.DecodeString(text)
			if ok && err == nil && hmac.Equal(given, right) {
				return true
			}
		}
	}
	return false
}

// meant reports whether the webhook was ordered for that job.
func (h *WebhookHandler) meant(job, queue, key, signature string) bool {
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || job == "" {
		return false
	}
	for _, secret := range h.keys {
		if hmac.Equal(given, signTarget(secret, job, queue, key)) {
			return true
		}
	}
	return false
}

// known reports whether a webhook was taken before.
func (h *WebhookHandler) known(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, found := h.seen[id]
	return found
}

// learn remembers a webhook for as long as its timestamp can be recent. When there are too many, all are forgotten: to
// wake a job once more is harmless.
func (h *WebhookHandler) learn(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.seen) >= maxSeen {
		for old, at := range h.seen {
			if time.Since(at) > 2*replayWindow {
				delete(h.seen, old)
			}
		}
		if len(h.seen) >= maxSeen {
			clear(h.seen)
		}
	}
	h.seen[id] = time.Now()
}
