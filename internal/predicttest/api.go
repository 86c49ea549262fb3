package predicttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Ops are what the API is asked for, as Misbehave and Count name them.
const (
	OpCreate = "create"
	OpGet    = "get"
	OpList   = "list"
	OpCancel = "cancel"
	OpOutput = "output"
)

// API is the fake. Its fields are set before it is used; then it may be used by many at once.
type API struct {
	// Token is the only one that is let in.
	Token string
	// Takes is how long a prediction runs; it is starting in the first fifth of that. Zero means that one is over at once.
	Takes time.Duration
	// Outcome says what becomes of the nth prediction, from 1. Nil means that all succeed.
	Outcome func(n int) Outcome
	// Picture is what all predictions make.
	Picture []byte
	// Misbehave is asked before each request is served, with how often there was such a one, from 1. True means that
	// it has answered.
	Misbehave func(op string, n int, w http.ResponseWriter, r *http.Request) bool
	// Created is called when the nth prediction was created and before that is answered. True means that it has answered.
	Created func(n int, w http.ResponseWriter, r *http.Request) bool
	// HidesInput keeps inputs and webhooks out of all answers, as if they had been removed.
	HidesInput bool
	// PlainHTTP says that outputs are at http, not https.
	PlainHTTP bool

	mu          sync.Mutex
	counts      map[string]int
	predictions []*Prediction // oldest first
}

// Outcome is what becomes of a prediction.
type Outcome struct {
	Status string // empty: succeeded
	Error  string // why it failed
	Output any    // instead of the URL of Picture
	Never  bool   // it runs for ever
}

// Prediction is one that was created.
type Prediction struct {
	ID      string
	Model   string // or deployment
	Version string
	Webhook string
	Input   json.RawMessage
	Header  http.Header // of the request that created it

	n        int
	created  time.Time
	canceled time.Time
	finished bool // before its time
	outcome  Outcome
}

// Creations counts the predictions that were created: what has to be paid.
func (a *API) Creations() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.predictions)
}

// Predictions returns those that were created, oldest first.
func (a *API) Predictions() []Prediction {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Prediction
	for _, p := range a.predictions {
		all = append(all, *p)
	}
	return all
}

// Canceled lists the predictions that were canceled while they ran.
func (a *API) Canceled() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for _, p := range a.predictions {
		if !p.canceled.IsZero() {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// Cancel cancels a prediction as its owner would on a page.
func (a *API) Cancel(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.findLocked(id); p != nil {
		a.cancelLocked(p)
	}
}

// Finish ends a prediction before its time is over.
func (a *API) Finish(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.findLocked(id); p != nil {
		p.finished = true
	}
}

// Count returns how many requests of a kind came.
func (a *API) Count(op string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[op]
}

// Drop ends a connection without an answer.
func Drop() { panic(http.ErrAbortHandler) }

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op, subject := route(r)
	n := a.count(op)
	switch {
	case a.Misbehave != nil && a.Misbehave(op, n, w, r):
	case r.Header.Get("Authorization") != "Bearer "+a.Token:
		problem(w, http.StatusUnauthorized, "no such token")
	default:
		a.serve(op, subject, w, r)
	}
}

// route tells what is asked for, and of what.
func route(r *http.Request) (op, subject string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case parts[0] == "output" && len(parts) == 2:
		return OpOutput, parts[1]
	case r.Method == http.MethodPost && len(parts) == 3 && parts[0] == "predictions" && parts[2] == "cancel":
		return OpCancel, parts[1]
	case r.Method == http.MethodPost && parts[len(parts)-1] == "predictions":
		return OpCreate, strings.Join(parts[:len(parts)-1], "/")
	case r.Method == http.MethodGet && len(parts) == 1 && parts[0] == "predictions":
		return OpList, ""
	case r.Method == http.MethodGet && len(parts) == 2 && parts[0] == "predictions":
		return OpGet, parts[1]
	}
	return "unknown", ""
}

func (a *API) count(op string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts == nil {
		a.counts = make(map[string]int)
	}
	a.counts[op]++
	return a.counts[op]
}

func (a *API) serve(op, subject string, w http.ResponseWriter, r *http.Request) {
	switch op {
	case OpCreate:
		a.create(subject, w, r)
	case OpList:
		a.list(w, r)
	case OpGet, OpCancel:
		a.one(op, subject, w, r)
	case OpOutput:
		_, _ = w.Write(a.Picture)
	default:
		problem(w, http.StatusNotFound, "no such page")
	}
}

func (a *API) create(what string, w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Version, Webhook string
		Input            json.RawMessage
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || len(asked.Input) == 0 || (what == "") == (asked.Version == "") {
		problem(w, http.StatusUnprocessableEntity, "version and input are required")
		return
	}
	a.mu.Lock()
	p := &Prediction{n: len(a.predictions) + 1, Version: asked.Version, Webhook: asked.Webhook, Input: asked.Input,
		Header: r.Header.Clone(), created: time.Now()}
	_, p.Model, _ = strings.Cut(what, "/")
	p.ID = fmt.Sprintf("prediction%d", p.n)
	if a.Outcome != nil {
		p.outcome = a.Outcome(p.n)
	}
	a.predictions = append(a.predictions, p)
	a.mu.Unlock()
	if a.Created != nil && a.Created(p.n, w, r) {
		return
	}
	a.answer(w, r, http.StatusCreated, p)
}

func (a *API) one(op, id string, w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	p := a.findLocked(id)
	if p != nil && op == OpCancel {
		a.cancelLocked(p)
	}
	a.mu.Unlock()
	if p == nil {
		problem(w, http.StatusNotFound, "no such prediction")
		return
	}
	a.answer(w, r, http.StatusOK, p)
}

func (a *API) findLocked(id string) *Prediction {
	i := slices.IndexFunc(a.predictions, func(p *Prediction) bool { return p.ID == id })
	if i < 0 {
		return nil
	}
	return a.predictions[i]
}

func (a *API) cancelLocked(p *Prediction) {
	if status := a.statusLocked(p); status == "starting" || status == "processing" {
		p.canceled = time.Now()
	}
}

const perPage = 100

// list serves the predictions of a time, latest first, in pages.
func (a *API) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, _ := time.Parse(time.RFC3339, query.Get("created_after"))
	before, err := time.Parse(time.RFC3339, query.Get("created_before"))
	if err != nil {
		before = time.Now().Add(time.Hour)
	}
	skip := 0
	_, _ = fmt.Sscan(query.Get("cursor"), &skip)
	a.mu.Lock()
	results, matching := []any{}, 0
	for _, p := range slices.Backward(a.predictions) {
		if p.created.Before(after) || !p.created.Before(before) {
			continue
		}
		if matching++; matching > skip && len(results) < perPage {
			results = append(results, a.showLocked(p, r))
		}
	}
	a.mu.Unlock()
	var next any
	if matching > skip+perPage {
		query.Set("cursor", fmt.Sprint(skip+perPage))
		next = (&url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawQuery: query.Encode()}).String()
	}
	write(w, http.StatusOK, map[string]any{"previous": nil, "next": next, "results": results})
}

func (a *API) answer(w http.ResponseWriter, r *http.Request, code int, p *Prediction) {
	a.mu.Lock()
	shown := a.showLocked(p, r)
	a.mu.Unlock()
	write(w, code, shown)
}

func (a *API) statusLocked(p *Prediction) string {
	age := time.Since(p.created)
	if p.finished {
		age = max(age, a.Takes)
	}
	switch {
	case !p.canceled.IsZero():
		return "canceled"
	case age < a.Takes/5:
		return "starting"
	case age < a.Takes || p.outcome.Never:
		return "processing"
	case p.outcome.Status != "":
		return p.outcome.Status
	}
	return "succeeded"
}

func (a *API) showLocked(p *Prediction, r *http.Request) map[string]any {
	status := a.statusLocked(p)
	shown := map[string]any{
		"id": p.ID, "model": p.Model, "version": p.Version, "status": status, "source": "api", "output": nil, "error": nil,
		"created_at": p.created.UTC().Format(time.RFC3339Nano), "metrics": map[string]any{}, "data_removed": a.HidesInput,
	}
	if !a.HidesInput {
		shown["input"], shown["webhook"] = p.Input, p.Webhook
	}
	switch status {
	case "succeeded":
		scheme := "https"
		if a.PlainHTTP {
			scheme = "http"
		}
		shown["output"] = scheme + "://" + r.Host + "/output/" + p.ID
		if p.outcome.Output != nil {
			shown["output"] = p.outcome.Output
		}
		shown["metrics"] = map[string]any{"predict_time": 2.5}
	case "failed":
		shown["error"] = p.outcome.Error
	}
	return shown
}

func problem(w http.ResponseWriter, code int, detail string) {
	write(w, code, map[string]any{"title": http.StatusText(code), "detail": detail, "status": code})
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // nobody listens any more
}
