package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

const maxBody = 64 << 10 // bytes of a request

// api serves the orders over HTTP.
//
//	POST   /images       {"source_url": "https://…", "notify": "a@b.example"} → 202 and the image
//	GET    /images/{id}  → 200 and the image
//	DELETE /images/{id}  → 204
func (o *orders) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /images", func(w http.ResponseWriter, r *http.Request) {
		var p stageImage
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&p); err != nil {
			o.refuse(w, http.StatusBadRequest, fmt.Errorf("the body is no order: %w", err))
			return
		}
		if err := p.Validate(); err != nil {
			o.refuse(w, http.StatusBadRequest, err)
			return
		}
		id, err := o.place(r.Context(), p)
		if err != nil {
			o.fail(w, err)
			return
		}
		w.Header().Set("Location", "/images/"+id)
		o.answer(w, http.StatusAccepted, image{ID: id, Status: "queued"})
	})
	mux.HandleFunc("GET /images/{id}", func(w http.ResponseWriter, r *http.Request) {
		img, err := o.get(r.Context(), r.PathValue("id"))
		if err != nil {
			o.fail(w, err)
			return
		}
		o.answer(w, http.StatusOK, img)
	})
	mux.HandleFunc("DELETE /images/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := o.remove(r.Context(), r.PathValue("id")); err != nil {
			o.fail(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// fail answers with an error, by its kind.
func (o *orders) fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errNotFound):
		o.refuse(w, http.StatusNotFound, err)
	case errors.Is(err, errBusy):
		o.refuse(w, http.StatusTooManyRequests, err)
	default:
		o.log.Error("a request failed", "error", err)
		o.refuse(w, http.StatusInternalServerError, errors.New("something went wrong"))
	}
}

func (o *orders) refuse(w http.ResponseWriter, code int, err error) {
	o.answer(w, code, map[string]string{"error": err.Error()})
}

func (o *orders) answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // if that fails, nobody listens
}
