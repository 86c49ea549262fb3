package stage

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

var imageID = uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11")

func validPayload() Payload {
	return Payload{ImageID: imageID, OriginalURL: "rooms/empty.jpg", RoomType: "bedroom", Style: "scandinavian"}
}

func TestPayloadDecodes(t *testing.T) {
	const id = `"image_id":"0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11"`
	seed := int64(-7)
	for _, row := range []struct {
		name, data, problem string
		want                Payload
	}{
		{name: "all fields", data: `{` + id + `,"original_url":"https://h/a.jpg","room_type":"bedroom","style":"boho","seed":-7,"prompt":"a cat"}`,
			want: Payload{imageID, "https://h/a.jpg", "bedroom", "boho", &seed, "a cat"}},
		{name: "only the required ones", data: `{` + id + `,"original_url":"a.jpg"}`, want: Payload{ImageID: imageID, OriginalURL: "a.jpg"}},
		{name: "optional ones null", data: `{` + id + `,"original_url":"a.jpg","room_type":null,"style":null,"seed":null,"prompt":null}`,
			want: Payload{ImageID: imageID, OriginalURL: "a.jpg"}},
		{name: "fields of a later version", data: `{` + id + `,"original_url":"a.jpg","mask":{"x":[1]},"v":2}`,
			want: Payload{ImageID: imageID, OriginalURL: "a.jpg"}},
		{name: "no image id", data: `{"original_url":"a.jpg"}`, problem: "image_id is missing"},
		{name: "image id null", data: `{"image_id":null,"original_url":"a.jpg"}`, problem: "image_id is missing"},
		{name: "image id zero", data: `{"image_id":"00000000-0000-0000-0000-000000000000","original_url":"a.jpg"}`, problem: "image_id is missing or zero"},
		{name: "image id no UUID", data: `{"image_id":"seven","original_url":"a.jpg"}`, problem: "UUID"},
		{name: "no URL", data: `{` + id + `}`, problem: "original_url is missing"},
		{name: "URL null", data: `{` + id + `,"original_url":null}`, problem: "original_url is missing"},
		{name: "seed no integer", data: `{` + id + `,"original_url":"a.jpg","seed":1.5}`, problem: "seed"},
		{name: "seed too large", data: `{` + id + `,"original_url":"a.jpg","seed":9223372036854775808}`, problem: "seed"},
		{name: "room type no string", data: `{` + id + `,"original_url":"a.jpg","room_type":3}`, problem: "room_type"},
		{name: "null", data: `null`, problem: "image_id is missing"},
		{name: "a list", data: `[]`, problem: "array"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got Payload
			err := json.Unmarshal([]byte(row.data), &got)
			if err == nil {
				err = got.Validate()
			}
			if row.problem != "" {
				require.ErrorContains(t, err, row.problem)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, row.want, got)
		})
	}
}

func TestPayloadValidate(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(*Payload)
		problem string // empty: it is valid
	}{
		{"as it is", func(*Payload) {}, ""},
		{"everything at its limit", func(p *Payload) {
			p.RoomType, p.Style = strings.Repeat("r", MaxLabelLength), strings.Repeat("s", MaxLabelLength)
			p.Prompt, p.OriginalURL = strings.Repeat("p", MaxPromptLength), strings.Repeat("u", MaxURLLength)
		}, ""},
		{"a URL too long", func(p *Payload) { p.OriginalURL = strings.Repeat("u", MaxURLLength+1) }, "original_url has 8193 bytes: the limit is 8192"},
		{"a room type too long", func(p *Payload) { p.RoomType = strings.Repeat("r", 129) }, "room_type has 129 bytes: the limit is 128"},
		{"a style too long", func(p *Payload) { p.Style = strings.Repeat("s", 129) }, "style has 129 bytes: the limit is 128"},
		{"a prompt too long", func(p *Payload) { p.Prompt = strings.Repeat("p", 4097) }, "prompt has 4097 bytes: the limit is 4096"},
		{"http", func(p *Payload) { p.OriginalURL = "https://example.com/a%20room.jpg?sig=1" }, ""},
		{"a file URL", func(p *Payload) { p.OriginalURL = "file:///srv/a.jpg" }, ""},
		{"an absolute path", func(p *Payload) { p.OriginalURL = "/srv/a.jpg" }, ""},
		{"S3", func(p *Payload) { p.OriginalURL = "s3://bucket/key" }, ""},
		{"no host", func(p *Payload) { p.OriginalURL = "https:///a.jpg" }, "original_url has the scheme https but no host"},
		{"no scheme", func(p *Payload) { p.OriginalURL = "//example.com/a.jpg" }, "original_url has a host but no scheme"},
		{"only a query", func(p *Payload) { p.OriginalURL = "?x=1" }, "original_url has neither a scheme nor a path"},
		{"a bad escape", func(p *Payload) { p.OriginalURL = "https://h/%zz" }, "original_url: invalid URL escape"},
		{"a control character", func(p *Payload) { p.OriginalURL = "https://h/\n" }, "original_url: net/url: invalid control character"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := validPayload()
			row.change(&p)
			if row.problem == "" {
				assert.NoError(t, p.Validate())
			} else {
				err := p.Validate()
				require.Error(t, err)
				assert.True(t, strings.HasPrefix(err.Error(), row.problem), err) // the standard library may say more
			}
		})
	}
}

func TestPayloadValidateReportsAllAndNoSecrets(t *testing.T) {
	p := Payload{OriginalURL: "https://h/%zz?sig=secret", Style: strings.Repeat("s", 200)}
	err := p.Validate()
	require.ErrorContains(t, err, "image_id")
	require.ErrorContains(t, err, "original_url")
	require.ErrorContains(t, err, "style")
	assert.NotContains(t, err.Error(), "secret")

	p.OriginalURL = "https://user:pass-secret#1@h/a.jpg" // what comes before # looks like a port
	err = p.Validate()
	require.ErrorContains(t, err, "original_url: invalid port")
	assert.NotContains(t, err.Error(), "secret")
}

func TestPayloadMakesJobs(t *testing.T) {
	job, err := worker.NewJob(validPayload())
	require.NoError(t, err)
	assert.Equal(t, "stage:run", job.Type)
	assert.JSONEq(t, `{"image_id":"0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11","original_url":"rooms/empty.jpg",
		"room_type":"bedroom","style":"scandinavian"}`, string(job.Payload))

	_, err = worker.NewJob(&Payload{})
	assert.ErrorContains(t, err, "image_id is missing")
}

func FuzzPayload(f *testing.F) {
	for _, seed := range []string{
		`{"image_id":"0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11","original_url":"https://h/a.jpg","seed":7,"prompt":"x"}`,
		`{"image_id":null,"original_url":"//h","seed":null}`, `null`, `[]`, `{"original_url":"%"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Payload
		if json.Unmarshal(data, &p) != nil || p.Validate() != nil {
			return
		}
		job, err := worker.NewJob(p)
		require.NoError(t, err, "a valid payload makes a job")
		var again Payload
		require.NoError(t, json.Unmarshal(job.Payload, &again))
		require.True(t, reflect.DeepEqual(p, again), "%+v became %+v", p, again)
		require.NoError(t, again.Validate())
	})
}
