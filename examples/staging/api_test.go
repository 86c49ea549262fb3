package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"image"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// form is what a page sends. The field image is a file.
type form map[string]string

func (f form) encode(t *testing.T) (io.Reader, string) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for field, value := range f {
		if field != "image" {
			require.NoError(t, w.WriteField(field, value))
			continue
		}
		file, err := w.CreateFormFile(field, "room")
		require.NoError(t, err)
		_, err = file.Write([]byte(value))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return &body, w.FormDataContentType()
}

// do sends a request and returns the answer's code, header and body.
func (p *program) do(t *testing.T, req *http.Request) (int, http.Header, string) {
	t.Helper()
	resp, err := p.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(body)
}

func (p *program) get(t *testing.T, path string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	require.NoError(t, err)
	return p.do(t, req)
}

func (p *program) post(t *testing.T, f form, headers ...string) (int, string) {
	t.Helper()
	body, contentType := f.encode(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/jobs", body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", contentType)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	code, _, answer := p.do(t, req)
	return code, answer
}

// order posts a form that is in order.
func (p *program) order(t *testing.T, f form) job {
	t.Helper()
	code, answer := p.post(t, f)
	require.Equal(t, http.StatusAccepted, code, answer)
	var j job
	require.NoError(t, json.Unmarshal([]byte(answer), &j))
	return j
}

// event is a Server-Sent Event as a browser reads it.
type event struct {
	id, name string
	status   worker.Status
}

// openStream is an open connection for events.
type openStream struct {
	code      int
	mediaType string
	body      io.Reader
}

// open opens a stream of events, for three minutes at most: only what is broken takes that long.
func (p *program) open(t *testing.T, path, lastID string) openStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	require.NoError(t, err)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := p.client.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return openStream{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Body}
}

// follow reads a stream to its end, which must come by itself.
func (p *program) follow(t *testing.T, path, lastID string) []event {
	t.Helper()
	from := p.open(t, path, lastID)
	require.Equal(t, http.StatusOK, from.code)
	require.Equal(t, "text/event-stream", from.mediaType)
	return readEvents(t, from.body)
}

func readEvents(t *testing.T, from io.Reader) []event {
	t.Helper()
	var events []event
	var e event
	for lines := bufio.NewScanner(from); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			require.NoError(t, json.Unmarshal([]byte(value), &e.status))
		case "":
			if e.name != "" {
				events = append(events, e)
			}
			e = event{}
		}
	}
	return events
}

// All but the end is tested on one program, as each stages its bundled picture first.
func TestAPI(t *testing.T) {
	p := begin(t, nil)
	for name, test := range map[string]func(*testing.T, *program){
		"upload is staged": testUploadIsStaged, "late reader": testLateReader, "sample and again": testSampleAndAgain,
		"bad orders": testBadOrders, "damaged picture": testDamagedPicture, "images": testImages, "guard": testGuard,
	} {
		t.Run(name, func(t *testing.T) { test(t, p) })
	}
	assert.Equal(t, 0, p.end(t))
}

// The whole way: upload, statuses as they come, the staged picture.
func testUploadIsStaged(t *testing.T, p *program) {
	room := emptyRoom(t)
	j := p.order(t, form{"image": string(room), "room_type": "bedroom", "style": "scandinavian", "seed": "7", "prompt": "no rug"})
	assert.Equal(t, "bedroom", j.RoomType)
	assert.Equal(t, "Bedroom", j.Room)

	events := p.follow(t, j.EventsURL, "")
	if events[0].status.State == worker.StateQueued { // a worker may be faster than the API tells of it
		events = events[1:]
	}
	require.GreaterOrEqual(t, len(events), 2)
	assert.Equal(t, worker.StateRunning, events[0].status.State)
	for i, e := range events {
		assert.Equal(t, "status", e.name)
		assert.Equal(t, j.ID, e.status.JobID)
		if i > 0 {
			assert.Greater(t, e.status.Version, events[i-1].status.Version)
			assert.GreaterOrEqual(t, e.status.Progress, events[i-1].status.Progress)
		}
	}
	last := events[len(events)-1].status
	require.Equal(t, worker.StateSucceeded, last.State, last.Error)
	assert.Equal(t, maxAttempts, last.MaxAttempts)
	var result stage.Result
	require.NoError(t, json.Unmarshal(last.Result, &result))
	assert.EqualValues(t, 7, result.Seed)

	code, header, staged := p.get(t, result.StagedURL)
	require.Equal(t, http.StatusOK, code)
	assert.Equal(t, "image/jpeg", header.Get("Content-Type"))
	assert.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
	picture, kind, err := image.Decode(strings.NewReader(staged))
	require.NoError(t, err)
	assert.Equal(t, "jpeg", kind)
	assert.Equal(t, image.Pt(320, 214), picture.Bounds().Size())
	assert.Greater(t, difference(t, room, picture), 1.0, "it is furnished")

	_, header, original := p.get(t, j.OriginalURL)
	assert.Equal(t, "image/png", header.Get("Content-Type"))
	assert.Equal(t, string(room), original)
}

// difference is the mean distance of the pixels' colours, from 0 to 255.
func difference(t *testing.T, before []byte, after image.Image) float64 {
	t.Helper()
	original, _, err := image.Decode(bytes.NewReader(before))
	require.NoError(t, err)
	sum, size := 0.0, original.Bounds().Size()
	for y := range size.Y {
		for x := range size.X {
			r, g, b, _ := original.At(x, y).RGBA()
			r2, g2, b2, _ := after.At(x, y).RGBA()
			for _, d := range []int{int(r) - int(r2), int(g) - int(g2), int(b) - int(b2)} {
				sum += float64(max(d, -d)) / 257 / 3
			}
		}
	}
	return sum / float64(size.X*size.Y)
}

// Who comes when all is over reads all of it, or what came after what was read before; then there is no more.
func testLateReader(t *testing.T, p *program) {
	j := p.order(t, form{"image": string(emptyRoom(t))})
	first := p.follow(t, j.EventsURL, "")
	assert.Equal(t, first, p.follow(t, j.EventsURL, ""))
	assert.Equal(t, first, p.follow(t, j.EventsURL, "not a version"))
	assert.Equal(t, first[2:], p.follow(t, j.EventsURL, first[1].id))
	from := p.open(t, j.EventsURL, first[len(first)-1].id)
	assert.Equal(t, http.StatusNoContent, from.code, "a browser must not ask again")

	var shown job
	_, _, body := p.get(t, "/jobs/"+j.ID)
	require.NoError(t, json.Unmarshal([]byte(body), &shown))
	assert.Equal(t, worker.StateSucceeded, shown.Status.State)
}

func (p *program) list(t *testing.T) []job {
	t.Helper()
	_, _, body := p.get(t, "/jobs")
	var list struct{ Jobs []job }
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	return list.Jobs
}

// A bundled picture needs no upload, and a picture that was staged can be staged again.
func testSampleAndAgain(t *testing.T, p *program) {
	before := p.list(t)
	bundled := before[len(before)-1] // the program staged it itself
	name := strings.TrimSuffix(strings.TrimPrefix(bundled.OriginalURL, "/images/samples/"), ".jpg")
	for _, f := range []form{{"sample": name, "style": "Scandinavian"}, {"again": bundled.ID, "style": "bohemian"}} {
		j := p.order(t, f)
		assert.Equal(t, bundled.OriginalURL, j.OriginalURL)
		events := p.follow(t, j.EventsURL, "")
		assert.Equal(t, worker.StateSucceeded, events[len(events)-1].status.State)
	}
	after := p.list(t)
	assert.Len(t, after, len(before)+2)
	assert.Equal(t, "bohemian", after[0].Style, "the newest comes first")
}

func testBadOrders(t *testing.T, p *program) {
	room := string(emptyRoom(t))
	for name, row := range map[string]struct {
		form  form
		code  int
		field string
		want  string
	}{
		"no picture":      {form{"style": "modern"}, 400, "image", "there is no picture in the form"},
		"empty picture":   {form{"image": ""}, 400, "image", "there is no picture in the form"},
		"not a picture":   {form{"image": "<html>"}, 400, "image", "use JPEG, PNG or WebP"},
		"a head only":     {form{"image": room[:20]}, 400, "image", "damaged"},
		"too big":         {form{"image": strings.Repeat("x", maxPhoto+1)}, 413, "image", "at most 25 MiB"},
		"far too big":     {form{"image": strings.Repeat("x", maxForm+1)}, 413, "image", "at most 25 MiB"},
		"unknown room":    {form{"image": room, "room_type": "attic"}, 400, "room_type", `unknown room type "attic": use one of`},
		"unknown style":   {form{"image": room, "style": "baroque"}, 400, "style", `unknown style "baroque": use one of`},
		"seed of words":   {form{"image": room, "seed": "seven"}, 400, "seed", "whole number"},
		"negative seed":   {form{"image": room, "seed": "-1"}, 400, "seed", "whole number"},
		"long wishes":     {form{"image": room, "prompt": strings.Repeat("x", 5000)}, 400, "prompt", "too long"},
		"unknown sample":  {form{"sample": "../main"}, 400, "sample", "no bundled picture"},
		"unknown earlier": {form{"again": "1"}, 400, "again", "no such job"},
	} {
		t.Run(name, func(t *testing.T) {
			code, answer := p.post(t, row.form)
			assert.Equal(t, row.code, code, answer)
			var told map[string]string
			require.NoError(t, json.Unmarshal([]byte(answer), &told), answer)
			assert.Equal(t, row.field, told["field"])
			assert.Contains(t, told["error"], row.want)
		})
	}
	code, answer := p.post(t, form{"sample": "x"}, "Content-Type", "text/plain")
	assert.Equal(t, http.StatusUnsupportedMediaType, code, answer)
}

// A picture that only the model finds to be damaged fails for good, at the first attempt.
func testDamagedPicture(t *testing.T, p *program) {
	room := emptyRoom(t)
	j := p.order(t, form{"image": string(room[:len(room)-200])})
	events := p.follow(t, j.EventsURL, "")
	last := events[len(events)-1].status
	assert.Equal(t, worker.StateFailed, last.State)
	assert.Equal(t, 1, last.Attempt)
	assert.Contains(t, last.Error, "cut short")
}

// Only pictures are served, and only those below the directory.
func testImages(t *testing.T, p *program) {
	for _, path := range []string{
		"/images/", "/images/samples", "/images/samples/", "/images/samples/nothing.jpg", "/images/samples/.hidden.jpg",
		"/images/..%2f..%2fetc%2fpasswd", "/images/..%2f..%2froom.jpg", "/images/%2fetc%2fpasswd.jpg", "/jobs/1", "/jobs/1/events",
	} {
		code, _, _ := p.get(t, path)
		assert.Equal(t, http.StatusNotFound, code, path)
	}
}

// Other web sites can't use the program through a browser.
func testGuard(t *testing.T, p *program) {
	code, answer := p.post(t, form{"sample": "living-room"}, "Sec-Fetch-Site", "cross-site")
	assert.Equal(t, http.StatusForbidden, code, answer)
	code, answer = p.post(t, form{"sample": "living-room"}, "Origin", "https://example.com")
	assert.Equal(t, http.StatusForbidden, code, answer)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/jobs", nil)
	require.NoError(t, err)
	req.Host = "rebound.example.com"
	code, _, _ = p.do(t, req)
	assert.Equal(t, http.StatusMisdirectedRequest, code)

	code, header, page := p.get(t, "/")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, page, "Living room")
	assert.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	for _, path := range []string{"/app.js", "/style.css", "/icon.svg"} {
		code, _, _ := p.get(t, path)
		assert.Equal(t, http.StatusOK, code, path)
	}
}
