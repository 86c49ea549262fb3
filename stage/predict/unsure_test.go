package predict

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/stage"
)

// dialect is an API that writes fields of its answers in another way.
type dialect struct {
	http.RoundTripper
	fields map[string]any
}

func (d dialect) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.RoundTripper.RoundTrip(r)
	if err != nil || answer.Header.Get("Content-Type") != "application/json" {
		return answer, err
	}
	defer answer.Body.Close()
	var said map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return nil, err
	}
	told := []any{said}
	if list, ok := said["results"].([]any); ok {
		told = list
	}
	for _, p := range told {
		for name, value := range d.fields {
			p.(map[string]any)[name] = value
		}
	}
	data, err := json.Marshal(said)
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	return answer, err
}

// An API of the kind may write what is not needed in its own way. Nothing is paid twice for it.
func TestDialects(t *testing.T) {
	for name, fields := range map[string]map[string]any{
		"no metrics":      {"metrics": []any{}},
		"time as text":    {"metrics": map[string]any{"predict_time": "2.5"}},
		"model as object": {"model": map[string]any{"name": "x"}},
		"version as date": {"version": 20261129},
		"data removed":    {"data_removed": "no"},
		"webhook":         {"webhook": false},
		"time of create":  {"created_at": 1764412800},
	} {
		t.Run(name, func(t *testing.T) {
			for _, lost := range []bool{false, true} {
				inBubble(t, func(t *testing.T, r *rig) {
					if lost {
						r.api.Created = after(drop)
					}
					r.cfg.Transport = dialect{r.cfg.Transport, fields}
					resultOf(t, r.run())
					assert.Equal(t, 1, r.api.Creations())
				})
			}
		})
	}
}

// A time that cannot be is not counted, and doesn't keep the result from being written.
func TestTimesThatCannotBe(t *testing.T) {
	for _, seconds := range []any{1e308, -1, "1e999", nil, 1e7} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.cfg.Transport = dialect{r.cfg.Transport, map[string]any{"metrics": map[string]any{"predict_time": seconds}}}
			p := resultOf(t, r.run()).Prediction
			assert.Zero(t, p.Seconds)
			assert.Equal(t, 0.01, p.Cost)
		})
	}
}

// A list that is none is told in few words.
func TestStrangeListsAreToldBriefly(t *testing.T) {
	for _, list := range []string{`"` + strings.Repeat("x", 5000), `"` + strings.Repeat("x", 5000) + `"`,
		`{"results":"` + strings.Repeat("x", 5000) + `"}`, `{"next":` + strings.Repeat("9", 5000) + `}`} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.api.Misbehave = times(predicttest.OpList, always, says(200, list))
			_, _, err := r.model().api.find(t.Context(), Sent{Key: "k"}, nil, DefaultMatch)
			require.Error(t, err)
			assert.Less(t, len(err.Error()), 500)
		})
	}
}

// A list that is cut, wherever, is not taken for one that has nothing more.
func TestListsThatAreCut(t *testing.T) {
	const entry = `{"id":"other","status":"failed","webhook":"https://hook.test/?key=l"}`
	for _, list := range []string{
		`{"results":[` + entry + `],"next":"https://api.test/predictions?cursor=x"}`,
		`{"previous":null,"next":null,"results":[` + entry + `,` + entry + `]}`,
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			cut := 0
			r.api.Misbehave = func(_ string, _ int, w http.ResponseWriter, req *http.Request) bool {
				says(200, list[:cut])(w, req)
				return true
			}
			model := r.model()
			for ; cut < len(list); cut++ {
				_, _, err := model.api.find(t.Context(), Sent{Key: "k"}, nil, DefaultMatch)
				require.ErrorContains(t, err, "the answer is no list of predictions", list[:cut])
			}
		})
	}
}

// An API that cannot be asked what came of a create is paid twice at most, however often its answers are lost.
func TestCreatesThatCannotBeLookedFor(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"there is no list":         func(r *rig) { r.api.Misbehave = times(predicttest.OpList, always, code(404)) },
		"it hides inputs":          func(r *rig) { r.api.HidesInput = true },
		"its list cannot be read":  func(r *rig) { r.cfg.Transport = dialect{r.cfg.Transport, map[string]any{"id": 7}} },
		"it says of none what ran": func(r *rig) { r.cfg.Transport = dialect{r.cfg.Transport, map[string]any{"input": nil}} },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.api.Created = func(int, http.ResponseWriter, *http.Request) bool { predicttest.Drop(); return true }
				change(r)
				st := r.run()
				assert.Equal(t, worker.StateFailed, st.State)
				assert.Contains(t, st.Error, "cannot tell whether")
				assert.Equal(t, 2, r.api.Creations())
				assert.Equal(t, 3, st.Attempt, "the third looks in vain, too")
			})
		})
	}
}

// A create that had no effect is sent again as often as the job has attempts: what the API lists of others is no reason
// for doubt if it runs something else.
func TestCreatesThatHadNoEffect(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.api.HidesInput = true
		other := r.cfg
		other.Version = "owner/model:v2"
		model, err := New(other)
		require.NoError(t, err)
		defer model.CloseIdleConnections()
		_, err = model.Stage(t.Context(), stage.Request{OriginalURL: "https://photos.test/8.png", Progress: func(float64, string) {}})
		require.NoError(t, err)

		r.api.Misbehave = times(predicttest.OpCreate, 4, code(500)) // with that one
		st := r.run()
		resultOf(t, st)
		assert.Equal(t, 4, st.Attempt)
		assert.Equal(t, 2, r.api.Creations())
	})
}

// A create that would come so late that another worker may have looked for it is not sent: this one stood still, or the
// queue is slow.
func TestLateCreates(t *testing.T) {
	for _, row := range []struct {
		slow, creations int
		fails           string
	}{{1, 1, ""}, {2, 1, ""}, {always, 0, "checkpoints take more than half of Settle, 10s"}} {
		inBubble(t, func(t *testing.T, r *rig) {
			n := 0
			r.queue.Fault = func(_ context.Context, call string) error {
				if call == "Checkpoint" {
					if n++; n <= row.slow {
						time.Sleep(defaultSettle/2 + time.Second)
						assert.Zero(t, r.api.Count(predicttest.OpCreate))
					}
				}
				return nil
			}
			r.api.Created = func(int, http.ResponseWriter, *http.Request) bool {
				assert.Equal(t, row.slow+1, n, "it is noted anew until that is quick")
				return false
			}
			st := r.run()
			assert.Equal(t, row.creations, r.api.Creations())
			if row.fails != "" {
				assert.Contains(t, st.Error, row.fails)
				return
			}
			resultOf(t, st)
			assert.Equal(t, 1, st.Attempt)
		})
	}
}

// Of several predictions that match, the best one is gone on with; others, of another time or known as done with, are not.
func TestFindTakesTheBest(t *testing.T) {
	at := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	entry := func(id, status string, created time.Time) string {
		return `{"id":"` + id + `","status":"` + status + `","created_at":"` + created.Format(time.RFC3339) + `","webhook":"https://hook.test/?key=k"}`
	}
	all := []string{
		entry("canceled", "canceled", at), entry("failed", "failed", at), entry("running", "processing", at),
		entry("done", "succeeded", at), entry("past", "succeeded", at),
		entry("early", "succeeded", at.Add(-time.Hour)), entry("late", "succeeded", at.Add(time.Hour)),
	}
	for name, row := range map[string]struct {
		listed []string
		want   string
	}{
		"all":               {all, "done"},
		"none that is done": {all[:3], "running"},
		"failed":            {all[:2], "failed"},
		"canceled":          {all[:1], "canceled"},
		"known":             {all[4:5], ""},
		"of another time":   {all[5:], ""},
		"another's key":     {[]string{strings.Replace(all[3], "key=k", "key=l", 1)}, ""},
	} {
		for range 2 {
			inBubble(t, func(t *testing.T, r *rig) {
				r.api.Misbehave = times(predicttest.OpList, always, says(200, `{"results":[`+strings.Join(row.listed, ",")+`]}`))
				p, found, err := r.model().api.find(t.Context(), Sent{Key: "k", First: at, Last: at}, []string{"past"}, DefaultMatch)
				require.NoError(t, err, name)
				assert.Equal(t, row.want, p.ID, name)
				assert.Equal(t, row.want != "", found, name)
			})
			slices.Reverse(row.listed)
		}
	}
}

// A list is as long as it is: predictions may hold a photo each, and a busy account has many.
func TestLookInALongList(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.MaxResponse = 1 << 16
		model := r.model()
		entry := `{"id":"other","status":"succeeded","input":{"image":"` + strings.Repeat("x", 1<<15) + `"}},`
		pages := 0
		r.api.Misbehave = func(op string, _ int, w http.ResponseWriter, req *http.Request) bool {
			if op != predicttest.OpList {
				return false
			}
			if pages++; pages < 30 {
				_, _ = io.WriteString(w, `{"next":"https://api.test/predictions?cursor=x","results":[`)
				for range 3 * min(pages, 2) {
					_, _ = io.WriteString(w, entry)
				}
				_, _ = io.WriteString(w, `{"id":"other","status":"failed"}]}`)
				return true
			}
			_, _ = io.WriteString(w, `{"next":null,"results":[{"id":"prediction1","status":"succeeded","webhook":"https://hook.test/?key=k"}]}`)
			return true
		}
		p, found, err := model.api.find(t.Context(), Sent{Key: "k"}, nil, DefaultMatch)
		require.NoError(t, err)
		assert.True(t, found)
		assert.Equal(t, "prediction1", p.ID)

		pages, entry = 0, `{"id":"other","input":"`+strings.Repeat("x", 3<<16)+`"},`
		_, _, err = model.api.find(t.Context(), Sent{Key: "k"}, nil, DefaultMatch)
		require.ErrorIs(t, err, errTooLarge, "but one prediction is no larger than MaxResponse")
		assert.False(t, errors.Is(err, errUntold))
	})
}
