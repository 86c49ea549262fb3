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

// UnmarshalJSON implements json.Unmarshaler. It insists on the id only: a field that is not of the form it has at Replicate
// counts as not told, so that an API that writes some in its own way can be used all the same.
func (p *Prediction) UnmarshalJSON(data []byte) error {
	var told map[string]json.RawMessage
	if err := json.Unmarshal(data, &told); err != nil {
		return err
	}
	*p = Prediction{Input: told["input"], Output: told["output"], Error: told["error"]}
	var metrics map[string]json.RawMessage
	for _, field := range []struct {
		value json.RawMessage
		into  any
	}{
		{told["status"], &p.Status}, {told["model"], &p.Model}, {told["version"], &p.Version}, {told["webhook"], &p.Webhook},
		{told["data_removed"], &p.DataRemoved}, {told["metrics"], &metrics},
	} {
		_ = json.Unmarshal(field.value, field.into) // what fails is left zero
	}
	_ = json.Unmarshal(metrics["predict_time"], &p.Metrics.PredictTime)
	if json.Unmarshal(told["created_at"], &p.CreatedAt) != nil {
		p.CreatedAt = time.Time{}
	}
	if len(told["id"]) == 0 {
		return nil
	}
	return json.Unmarshal(told["id"], &p.ID)
}

// FailedError is why a prediction brought no picture. It is permanent when it was the job's second one, or when
// Config.Final says so.
type FailedError struct {
	ID      string `json:"id,omitempty"` // of the prediction; empty when the API cannot tell whether there is one
	Status  Status `json:"status,omitempty"`
	Message string `json:"message,omitempty"` // the model's, made fit for a log
}

func (e *FailedError) Error() string {
	if e.ID == "" {
		return "prediction: " + e.Message
	}
	return fmt.Sprintf("prediction %s %s: %s", e.ID, e.Status, e.Message)
}

// failure describes a prediction that is over without success.
func (p Prediction) failure() *FailedError {
	var said any
	_ = json.Unmarshal(p.Error, &said) // what is no JSON says nothing
	text, ok := said.(string)
	if !ok {
		plain, _ := json.Marshal(said) // as tidy knows it: without escaped slashes
		text = string(plain)
	}
	if text = tidy(text); text == "" || text == "null" {
		text = "no reason was given"
	}
	return &FailedError{ID: p.ID, Status: p.Status, Message: text}
}

var (
	queryText = regexp.MustCompile(`(?i)(https?://[^\s?#"'<>]*)[?#][^\s"'<>]*`)
	pairsText = regexp.MustCompile(`\?[^\s"'<>]*=[^\s"'<>]*`) // of a URL without its beginning
	userText  = regexp.MustCompile(`(?i)(https?://)[^\s/?#"'<>]*@`)
)

// tidy makes a text of somebody else's fit for an error: a line of 300 characters at most, and without the credentials and
// the queries of URLs, as those of presigned ones are as good as passwords.
func tidy(text string) string {
	text = text[:min(len(text), maxDetail)]
	text = pairsText.ReplaceAllString(queryText.ReplaceAllString(text, "$1"), "")
	text = userText.ReplaceAllString(text, "$1")
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
