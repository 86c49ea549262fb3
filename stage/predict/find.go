package predict

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	clockSkew = time.Minute // that the API's clock may differ from ours, either way, and ours from another worker's
	maxPages  = 100         // of the API's list, of about 100 predictions each
	listedFor = time.Hour   // so long a prediction can be found: then Replicate removes its input
)

// Sent is what is known of a prediction that may have been created.
type Sent struct {
	// Key was made for it: the input has it as Config.KeyInput, the webhook's URL as its parameter "key".
	Key string
	// KeyInput is Config.KeyInput.
	KeyInput string
	// InputSum is the InputSum of the input that was sent.
	InputSum string
	// Version and Model are those of the Config.
	Version, Model string
	// First and Last are when it was first and last sent, by the clocks of the workers that did. When such a clock was far
	// ahead, First is as early as can be: when the job was enqueued.
	First, Last time.Time
}

// DefaultMatch finds a prediction by what Replicate's list shows of it, the first that it shows of these:
//
//   - the key, in the webhook's URL or in the input;
//   - the input: all of it must be equal. The seed in it is the job's own unless a user chose one, so two jobs have the
//     same input only when the same picture is to be made of the same photo; then one prediction serves both. An input
//     that changes between attempts, with a URL that is signed anew say, is not found.
//
// Where the list shows what was run, that must be the same, too. Replicate removes inputs after an hour.
func DefaultMatch(sent Sent, p Prediction) bool {
	if !sent.mayRun(p) {
		return false
	}
	if hook, err := url.Parse(p.Webhook); err == nil && hook.Query().Has("key") {
		return hook.Query().Get("key") == sent.Key
	}
	if sent.KeyInput != "" {
		var input map[string]any
		return json.Unmarshal(p.Input, &input) == nil && input[sent.KeyInput] == sent.Key
	}
	return sent.InputSum != "" && InputSum(p.Input) == sent.InputSum
}

// mayRun reports whether a prediction runs what was to be run, as far as it shows that.
func (s Sent) mayRun(p Prediction) bool {
	return (s.Version == "" || p.Version == "" || strings.HasSuffix(":"+s.Version, ":"+p.Version)) &&
		(s.Model == "" || p.Model == "" || p.Model == s.Model)
}

// mayBe reports whether a prediction that doesn't match may be the one all the same, since it shows too little.
func (s Sent) mayBe(p Prediction) bool {
	return !validID(p.ID) || s.mayRun(p) && p.Webhook == "" && InputSum(p.Input) == ""
}

// InputSum is a checksum of an input: equal for equal JSON, however it is written. It is empty for an empty input.
func InputSum(input json.RawMessage) string {
	var value map[string]any
	if json.Unmarshal(input, &value) != nil || len(value) == 0 {
		return ""
	}
	plain, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(plain)
	return hex.EncodeToString(sum[:])
}

// errUntold says that the API cannot tell what was created.
var errUntold = errors.New("the API cannot tell what was created")

// find looks for a prediction that may have been created, among those of that time. Past ones are known to be others.
// Of several it prefers one that succeeded, then one that is under way. False means that there is none.
func (a *api) find(ctx context.Context, sent Sent, past []string, match func(Sent, Prediction) bool) (Prediction, bool, error) {
	from, to := sent.First.Add(-2*clockSkew), sent.Last.Add(a.timeout+clockSkew)
	query := url.Values{
		"created_after":  {from.UTC().Format(time.RFC3339)},
		"created_before": {to.UTC().Format(time.RFC3339)},
	}
	var best Prediction
	doubt := false
	for range maxPages {
		oldest := time.Time{}
		next, err := a.list(ctx, query, func(p Prediction) {
			oldest = p.CreatedAt
			switch inTime := p.CreatedAt.IsZero() || !p.CreatedAt.Before(from) && !p.CreatedAt.After(to); {
			case !inTime || slices.Contains(past, p.ID):
			case !validID(p.ID) || !match(sent, p):
				doubt = doubt || sent.mayBe(p)
			case rank(p) > rank(best):
				best = p
			}
		})
		switch status := statusOf(err); {
		case status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
			return Prediction{}, false, errUntold
		case err != nil:
			return Prediction{}, false, err
		case next != nil && (oldest.IsZero() || !oldest.Before(from)):
			query = next
		case best.ID == "" && doubt:
			return Prediction{}, false, errUntold
		default:
			return best, best.ID != "", nil
		}
	}
	return Prediction{}, false, fmt.Errorf("prediction API: list: more than %d pages since %v", maxPages, from)
}

// rank says which of several predictions that match is the one to go on with. One that was stopped is the last choice, but
// it is one: it has to be counted.
func rank(p Prediction) int {
	switch {
	case p.ID == "":
		return 0
	case p.Status.stopped():
		return 1
	case p.Status == Failed:
		return 2
	case p.Status == Succeeded:
		return 4
	}
	return 3
}

// list reads one page, and returns the query of the next one, nil if this was the last. A page may be large, as it holds
// inputs, so its predictions are looked at one by one: each may be as large as any other answer.
func (a *api) list(ctx context.Context, query url.Values, look func(Prediction)) (next url.Values, err error) {
	get := call{op: "list", method: http.MethodGet, path: "/predictions", query: query}
	err = a.do(ctx, get, math.MaxInt64-1, func(body io.Reader) error {
		part := &limited{body, a.maxResponse, a.maxResponse}
		following, err := readPage(json.NewDecoder(part), func(p Prediction) {
			part.left = a.maxResponse
			look(p)
		})
		if strange := (*json.UnmarshalTypeError)(nil); errors.As(err, &strange) {
			err = errors.New("a field has another type") // json's own error repeats the value, however long it is
		}
		if err != nil {
			return fmt.Errorf("the answer is no list of predictions: %w", err)
		}
		if u, err := url.Parse(following); err == nil && following != "" {
			next = u.Query() // to the same place, wherever the API points to
		}
		return nil
	})
	return next, err
}

func readPage(page *json.Decoder, look func(Prediction)) (next string, err error) {
	if err := expect(page, json.Delim('{')); err != nil {
		return "", err
	}
	listed := false
	for page.More() {
		name, err := page.Token()
		if err != nil {
			return "", err
		}
		switch name {
		case "results":
			listed = true
			err = readResults(page, look)
		case "next":
			var value *string
			if err = page.Decode(&value); value != nil {
				next = *value
			}
		default:
			err = page.Decode(new(json.RawMessage))
		}
		if err != nil {
			return "", err
		}
	}
	if err := expect(page, json.Delim('}')); err != nil { // a list that is cut is not all of it
		return "", err
	}
	if !listed {
		return "", errors.New("it has no results")
	}
	return next, nil
}

func readResults(page *json.Decoder, look func(Prediction)) error {
	if err := expect(page, json.Delim('[')); err != nil {
		return err
	}
	for page.More() {
		var raw json.RawMessage
		if err := page.Decode(&raw); err != nil {
			return err
		}
		var p Prediction
		if json.Unmarshal(raw, &p) != nil {
			p = Prediction{} // one of a strange form tells nothing
		}
		look(p)
	}
	return expect(page, json.Delim(']'))
}

func expect(page *json.Decoder, want json.Delim) error {
	got, err := page.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%s instead of %v", tidy(fmt.Sprint(got)), want)
	}
	return err
}
