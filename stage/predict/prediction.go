package predict

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Status is how far a prediction is.
type Status string

// What the API says of predictions. Any other status is taken for one that is not over.
const (
	Starting   Status = "starting"
	Processing Status = "processing"
	Succeeded  Status = "succeeded"
	Failed     Status = "failed"
	Canceled   Status = "canceled" // by somebody, or by its deadline while it ran
	Aborted    Status = "aborted"  // by its deadline before it ran
)

// over reports whether a prediction with this status stays as it is.
func (s Status) over() bool { return s == Succeeded || s == Failed || s.stopped() }

// stopped reports whether the prediction was ended from outside.
func (s Status) stopped() bool { return s == Canceled || s == Aborted }

// Prediction is what the API tells of one.
type Prediction struct {
	ID          string          `json:"id"`
	Status      Status          `json:"status"`
	Model       string          `json:"model"`
	Version     string          `json:"version"`
	Input       json.RawMessage `json:"input"`
	Output      json.RawMessage `json:"output"`
	Error       json.RawMessage `json:"error"`
	Webhook     string          `json:"webhook"`
	CreatedAt   time.Time       `json:"created_at"`
	DataRemoved bool            `json:"data_removed"`
	Metrics     struct {
		PredictTime float64 `json:"predict_time"` // seconds
	} `json:"metrics"`
}

// UnmarshalJSON implements json.Unmarshaler. A time that isn't of RFC 3339 is left zero: an API that writes others can be
// used all the same.
func (p *Prediction) UnmarshalJSON(data []byte) error {
	type plain Prediction
	told := struct {
		*plain
		CreatedAt json.RawMessage `json:"created_at"`
	}{plain: (*plain)(p)}
	if err := json.Unmarshal(data, &told); err != nil {
		return err
	}
	if json.Unmarshal(told.CreatedAt, &p.CreatedAt) != nil {
		p.CreatedAt = time.Time{}
	}
	return nil
}

// FailedError is why a prediction brought no picture. It is permanent when it was the job's second one, or when
// Config.Final says so.
type FailedError struct {
	ID      string // of the prediction
	Status  Status
	Message string // the model's, made fit for a log
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("prediction %s %s: %s", e.ID, e.Status, e.Message)
}

// failure describes a prediction that is over without success.
func (p Prediction) failure() *FailedError {
	text := string(p.Error)
	if json.Unmarshal(p.Error, &text) != nil {
		text = string(p.Error) // not a string
	}
	if text = tidy(text); text == "" || text == "null" {
		text = "no reason was given"
	}
	return &FailedError{ID: p.ID, Status: p.Status, Message: text}
}

var queryText = regexp.MustCompile(`(https?://[^\s?#"'<>]*)[?#][^\s"'<>]*`)

// tidy makes a text of somebody else's fit for an error: a line of 300 characters at most, and without the queries of
// URLs, as those of presigned ones are as good as passwords.
func tidy(text string) string {
	text = queryText.ReplaceAllString(text, "$1")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 300 {
		text = string(runes[:300]) + "…"
	}
	return text
}

// validID reports whether an id may stand in a path.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`).MatchString
