package predict

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

func TestPause(t *testing.T) {
	for n := range 100 {
		for _, share := range []float64{0, 0.5, 0.999} {
			d := pause(n, time.Second, 5*time.Second, share)
			assert.GreaterOrEqual(t, d, time.Second)
			assert.LessOrEqual(t, d, 5*time.Second)
		}
	}
	assert.Equal(t, time.Second, pause(0, time.Second, 5*time.Second, 0))
	assert.Equal(t, 1250*time.Millisecond, pause(0, time.Second, 5*time.Second, 1))
	assert.Equal(t, 3750*time.Millisecond, pause(9, time.Second, 5*time.Second, 0))
	assert.Equal(t, 5*time.Second, pause(9, time.Second, 5*time.Second, 1))
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		header, detail string
		want           time.Duration
	}{
		{"", "", 0}, {"7", "", 7 * time.Second}, {" 7 ", "", 7 * time.Second}, {"0.5", "", 500 * time.Millisecond},
		{"-7", "", 0}, {"NaN", "", 0}, {"soon", "", 0}, {"1e300", "", time.Hour}, {"Inf", "", time.Hour}, {"86400", "", time.Hour},
		{"Sun, 29 Nov 2026 09:00:30 GMT", "", 30 * time.Second}, {"Sun, 29 Nov 2026 08:00:30 GMT", "", 0},
		{"", "Request was throttled. Your rate limit resets in ~30s.", 30 * time.Second},
		{"7", "Your rate limit resets in ~30s.", 7 * time.Second},
	} {
		assert.Equal(t, row.want, retryAfter(row.header, row.detail, now), "%q %q", row.header, row.detail)
	}
}

func TestTidy(t *testing.T) {
	assert.Equal(t, "a b c", tidy(" a\x00\nb\t\xff c "))
	assert.Equal(t, "see https://a.test/x and http://b.test", tidy("see https://a.test/x?sig=1&y#z and http://b.test?q."))
	assert.Equal(t, "HTTPS://a.test/x", tidy("HTTPS://u:p@a.test/x?SIG=1"))
	assert.Equal(t, `"GET /k and s3://b/k" is it x = y ? yes`, tidy(`"GET /k?X-Amz-Signature=1&b and s3://b/k?c=d" is it x = y ? yes`))
	assert.Less(t, len(tidy(strings.Repeat("x ", 1<<20))), 400)
	assert.Equal(t, "https://a.test/x?", tidy("https://a.test/x?")+"?", "an empty query goes as well")
	assert.Len(t, []rune(tidy(strings.Repeat("é", 1000))), 301)
}

func TestDefaultInput(t *testing.T) {
	photo := stage.Image{Data: []byte("abc"), MediaType: "image/png"}
	input, err := DefaultInput(t.Context(), stage.Request{Original: photo, OriginalURL: "rooms/7.png", Prompt: "a room", Seed: 7})
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"image": "data:image/png;base64,YWJj", "prompt": "a room", "seed": int64(7)}, input)

	photo.Data = make([]byte, MaxDataURI+1)
	_, err = DefaultInput(t.Context(), stage.Request{Original: photo, OriginalURL: "rooms/7.png"})
	assert.ErrorContains(t, err, "the limit for sending it along is 1048576")
	assert.True(t, worker.IsPermanent(err))

	input, err = DefaultInput(t.Context(), stage.Request{Original: photo, OriginalURL: "https://a.test/7.png"})
	require.NoError(t, err)
	assert.Equal(t, "https://a.test/7.png", input["image"])
}

func TestDefaultOutput(t *testing.T) {
	for output, want := range map[string]string{
		`"u"`: "u", `["u","v"]`: "u", ` [ ["u"], 7 ] `: "u", `[[[["u"]]]]`: "u", `{"image":"u"}`: "u", `{"url":"u"}`: "u",
		`[{"url":"u","image":""}]`: "u",
		`[[[[["u"]]]]]`:            "", // a list around everything costs a look at everything
		`[]`:                       "", `[[]]`: "", `[null]`: "", `""`: "", `{}`: "", `7`: "", `{"image":7}`: "",
	} {
		got, err := DefaultOutput(json.RawMessage(output))
		assert.Equal(t, want, got, output)
		assert.Equal(t, want == "", err != nil, output)
	}
}

// Whatever an API answers is looked at a few times, not once for each of the lists that are around it.
func TestDefaultOutputOfListsInLists(t *testing.T) {
	deep := strings.Repeat("[", 9_000) + `"` + strings.Repeat("x", 4<<20) + `"` + strings.Repeat("]", 9_000)
	_, err := DefaultOutput(json.RawMessage(deep))
	require.ErrorContains(t, err, "none of the known forms")
}

func TestDefaultMatch(t *testing.T) {
	const input = `{"prompt":"x","seed":7,"scale":1.0}`
	sent := Sent{Key: "k", InputSum: InputSum(json.RawMessage(input)), Version: "owner/model:v1"}
	for name, row := range map[string]struct {
		p    Prediction
		want bool
	}{
		"the same":         {Prediction{Input: json.RawMessage(` { "seed": 7, "scale": 1, "prompt": "x"}`), Version: "v1"}, true},
		"no version":       {Prediction{Input: json.RawMessage(input)}, true},
		"another version":  {Prediction{Input: json.RawMessage(input), Version: "v2"}, false},
		"another seed":     {Prediction{Input: json.RawMessage(`{"prompt":"x","seed":8,"scale":1}`)}, false},
		"less":             {Prediction{Input: json.RawMessage(`{"prompt":"x","seed":7}`)}, false},
		"more":             {Prediction{Input: json.RawMessage(`{"prompt":"x","seed":7,"scale":1,"steps":3}`)}, false},
		"nothing":          {Prediction{}, false},
		"null":             {Prediction{Input: json.RawMessage(`null`)}, false},
		"empty":            {Prediction{Input: json.RawMessage(`{}`)}, false},
		"our webhook":      {Prediction{Webhook: "https://hook.test/?job=1&key=k"}, true},
		"another webhook":  {Prediction{Webhook: "https://hook.test/?key=l", Input: json.RawMessage(input)}, false},
		"a webhook of all": {Prediction{Webhook: "https://hook.test/", Input: json.RawMessage(input)}, true},
	} {
		assert.Equal(t, row.want, DefaultMatch(sent, row.p), name)
	}
	assert.False(t, DefaultMatch(Sent{}, Prediction{Input: json.RawMessage(`{}`)}), "nothing is not the same as nothing")
	assert.False(t, DefaultMatch(Sent{Model: "a/b", InputSum: sent.InputSum}, Prediction{Model: "a/c", Input: json.RawMessage(input)}))
	marked := Sent{Key: "k", KeyInput: "note", InputSum: sent.InputSum}
	assert.True(t, DefaultMatch(marked, Prediction{Input: json.RawMessage(`{"note":"k"}`)}))
	assert.False(t, DefaultMatch(marked, Prediction{Input: json.RawMessage(input)}))
}

func TestPredictionIsReadLeniently(t *testing.T) {
	var p Prediction
	require.NoError(t, json.Unmarshal([]byte(`{"id":"a","created_at":"yesterday","metrics":null,"error":{"code":7},"webhook":null}`), &p))
	assert.True(t, p.CreatedAt.IsZero())
	assert.Equal(t, `prediction a failed: {"code":7}`, (&Prediction{ID: "a", Status: Failed, Error: p.Error}).failure().Error())
	p.Error = json.RawMessage(`["https:\/\/b.test\/k?X-Amz-Signature=1", 7]`)
	assert.Equal(t, `prediction a failed: ["https://b.test/k",7]`, (&Prediction{ID: "a", Status: Failed, Error: p.Error}).failure().Error())
	for _, nothing := range []string{"", "null", `""`, "{"} {
		assert.Equal(t, "no reason was given", (&Prediction{Error: json.RawMessage(nothing)}).failure().Message)
	}
	require.NoError(t, json.Unmarshal([]byte(`{"created_at":"2026-11-29T09:00:00.5Z"}`), &p))
	assert.Equal(t, 2026, p.CreatedAt.Year())
}
