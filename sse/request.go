package sse

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/real-staging-ai/go-worker"
)

// refusal is why a request gets no stream.
type refusal struct {
	code int
	err  error
}

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

// admit returns the topics of a request that may be streamed.
func (h *Handler) admit(r *http.Request) ([]string, *refusal) {
	if refused := checkMethod(r); refused != nil {
		return nil, refused
	}
	topics, err := h.config.Topics(r)
	if err == nil {
		topics, err = checkTopics(topics, h.config.MaxTopics)
	}
	if err != nil {
		return nil, &refusal{code: http.StatusBadRequest, err: err}
	}
	if h.config.Authorize == nil {
		return nil, &refusal{code: http.StatusForbidden, err: errNoAuthorize}
	}
	for _, topic := range topics {
		if err := h.config.Authorize(r, topic); err != nil {
			return nil, &refusal{code: http.StatusForbidden, err: err}
		}
	}
	return topics, nil
}

func checkMethod(r *http.Request) *refusal {
	if r.Method == http.MethodGet {
		return nil
	}
	return &refusal{code: http.StatusMethodNotAllowed, err: fmt.Errorf("method is %s: only GET streams", r.Method)}
}

// queryTopics is the Config.Topics of hosts that have none.
func queryTopics(r *http.Request) ([]string, error) { return r.URL.Query()["topic"], nil }

// checkTopics returns the topics without repetitions. It holds them to the limits of a job's topic.
func checkTopics(topics []string, limit int) ([]string, error) {
	if len(topics) == 0 {
		return nil, errors.New("topic is missing")
	}
	distinct := make([]string, 0, min(len(topics), limit))
	for _, topic := range topics {
		if slices.Contains(distinct, topic) {
			continue
		}
		if err := checkTopic(topic); err != nil {
			return nil, err
		}
		if len(distinct) == limit {
			return nil, fmt.Errorf("topic is given more than %d times: that is the limit", limit)
		}
		distinct = append(distinct, topic)
	}
	return distinct, nil
}

func checkTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("topic is empty")
	case len(topic) > worker.MaxTopicLength:
		return fmt.Errorf("topic has %d bytes: the limit is %d", len(topic), worker.MaxTopicLength)
	case !utf8.ValidString(topic):
		return fmt.Errorf("topic %q is not valid UTF-8", topic)
	case strings.ContainsFunc(topic, unicode.IsControl):
		return fmt.Errorf("topic %q contains a control character", topic)
	}
	return nil
}

// lastEventID is the id that the viewer has seen last. Polyfills that cannot send a header use the query.
func lastEventID(r *http.Request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	return r.URL.Query().Get("lastEventId")
}

// writeError is the Config.Error of hosts that have none. What the host's Authorize or a backend said is not for viewers.
func writeError(w http.ResponseWriter, _ *http.Request, code int, err error) {
	text := http.StatusText(code)
	if code == http.StatusBadRequest || code == http.StatusMethodNotAllowed {
		text = err.Error()
	}
	http.Error(w, text, code)
}
