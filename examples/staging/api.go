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
	"github.com/real-staging-ai/go-worker/sse"
)

// listed is how many jobs GET /jobs tells about.
const listed = 100

// api is the program's face: a page, and what it talks to.
type api struct {
	album  *album
	events *sse.Handler
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
	mux.Handle("GET /jobs/{id}/events", answer(a.follow))
	mux.Handle("GET /images/{file...}", answer(a.image))
	return mux, addPage(mux, a.album)
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
	e, err := a.album.withStatus(ctx, p, nil)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, e.job())
}

func (a *api) show(w http.ResponseWriter, r *http.Request) error {
	e, err := a.album.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, e.job())
}

func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	entries, err := a.album.newest(r.Context(), listed)
	if err != nil {
		return err
	}
	jobs := make([]job, len(entries))
	for i, e := range entries {
		jobs[i] = e.job()
	}
	return writeJSON(w, http.StatusOK, map[string]any{"jobs": jobs})
}

// follow streams a job's statuses. Whoever may see the album may see its jobs, so all there is to check is that there is
// such a job.
func (a *api) follow(w http.ResponseWriter, r *http.Request) error {
	p, err := a.album.findPage(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	_ = a.events.Stream(w, r, topicOf(p.id)) // the reader has been told
	return nil
}

func (e entry) job() job {
	return job{
		ID: e.id, CreatedAt: e.at, RoomType: e.room.Name, Room: e.room.Label, Style: e.style.Name,
		StyleLabel: e.style.Label, Prompt: e.prompt, OriginalURL: "/images/" + e.file,
		EventsURL: "/jobs/" + e.id + "/events", Status: e.status,
	}
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
	if err := a(w, r); err != nil {
		writeProblem(w, err)
	}
}

func writeProblem(w http.ResponseWriter, err error) {
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
