package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// listed is how many jobs GET /jobs tells about.
const listed = 100

// api is the program's face: a page, and what it talks to.
type api struct {
	album   *album
	beat    time.Duration   // between signs of life on a stream
	closing <-chan struct{} // closed when streams are to end
}

// job is what JSON tells about an order.
type job struct {
	ID          string         `json:"id"`
	CreatedAt   time.Time      `json:"created_at"`
	RoomType    string         `json:"room_type"`
	Room        string         `json:"room"` // for people
	Style       string         `json:"style"`
	StyleLabel  string         `json:"style_label"` // for people
	Prompt      string         `json:"prompt,omitempty"`
	OriginalURL string         `json:"original_url"`
	EventsURL   string         `json:"events_url"`
	Status      *worker.Status `json:"status,omitempty"` // the last one
}

// routes lists all there is.
func (a *api) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("POST /jobs", answer(a.submit))
	mux.Handle("GET /jobs", answer(a.list))
	mux.Handle("GET /jobs/{id}", answer(a.show))
	mux.Handle("GET /jobs/{id}/events", answer(a.events))
	mux.Handle("GET /images/{file...}", answer(a.image))
	return mux, addPage(mux, a.album.samples)
}

// submit takes in an order, and tells where to look for its outcome.
func (a *api) submit(w http.ResponseWriter, r *http.Request) error {
	o, err := a.readOrder(w, r)
	if err != nil {
		return err
	}
	// Who goes away now has ordered all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	p, err := a.album.accept(ctx, o)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/jobs/"+p.id)
	return a.reply(ctx, w, http.StatusAccepted, p)
}

func (a *api) show(w http.ResponseWriter, r *http.Request) error {
	p := a.album.find(r.PathValue("id"))
	if p == nil {
		return errNoJob
	}
	return a.reply(r.Context(), w, http.StatusOK, p)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	jobs := []job{}
	for _, p := range a.album.newest(listed) {
		j, err := a.describe(r.Context(), p)
		if err != nil {
			return err
		}
		jobs = append(jobs, j)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"jobs": jobs})
}

func (a *api) reply(ctx context.Context, w http.ResponseWriter, code int, p *page) error {
	j, err := a.describe(ctx, p)
	if err != nil {
		return err
	}
	return writeJSON(w, code, j)
}

func (a *api) describe(ctx context.Context, p *page) (job, error) {
	status, err := a.album.status(ctx, p.id)
	if err != nil && !errors.Is(err, worker.ErrJobNotFound) { // not found: it is just being enqueued
		return job{}, err
	}
	return job{
		ID: p.id, CreatedAt: p.at, RoomType: p.room.Name, Room: p.room.Label, Style: p.style.Name,
		StyleLabel: p.style.Label, Prompt: p.prompt, OriginalURL: "/images/" + p.file,
		EventsURL: "/jobs/" + p.id + "/events", Status: status,
	}, nil
}

// pictureTypes are the only files that are served: whatever the bytes are, browsers take them for pictures.
var pictureTypes = map[string]string{".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}

// image serves originals and staged pictures. os.Root sees to it that no path leads elsewhere.
func (a *api) image(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("file")
	mediaType := pictureTypes[path.Ext(name)]
	if mediaType == "" || strings.HasPrefix(path.Base(name), ".") {
		return errNoPicture
	}
	file, err := a.album.root.Open(name)
	if err != nil {
		return errNoPicture
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errNoPicture
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "private, max-age=86400, immutable") // a name never gets other bytes
	http.ServeContent(w, r, "", info.ModTime(), file)
	return nil
}

// problem is an error for whoever asked.
type problem struct {
	code  int
	field string // of the form, if one is to blame
	err   error
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

var (
	errNoJob     = &problem{code: http.StatusNotFound, err: errors.New("there is no such job")}
	errNoPicture = &problem{code: http.StatusNotFound, err: errors.New("there is no such picture")}
)

// answer is a handler that tells its error as JSON: {"error": "…", "field": "…"}.
type answer func(w http.ResponseWriter, r *http.Request) error

func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := a(w, r)
	if err == nil {
		return
	}
	p := &problem{code: http.StatusInternalServerError, err: err}
	if errors.Is(err, errAlbumFull) {
		p.code = http.StatusInsufficientStorage
	}
	errors.As(err, &p)
	body := map[string]string{"error": p.Error()}
	if p.field != "" {
		body["field"] = p.field
	}
	_ = writeJSON(w, p.code, body) // fails only when nobody listens any more
}

func writeJSON(w http.ResponseWriter, code int, v any) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // fails only when nobody listens any more
	return nil
}
