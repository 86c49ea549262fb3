package main

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

//go:embed page
var pageFiles embed.FS

// addPage serves the page and its files.
func addPage(mux *http.ServeMux, a *album) error {
	layout, err := template.ParseFS(pageFiles, "page/index.html")
	if err != nil {
		return err
	}
	var html bytes.Buffer
	err = layout.Execute(&html, map[string]any{
		"Rooms": localmodel.RoomTypes(), "Styles": localmodel.Styles(), "Samples": a.samples, "MaxBytes": maxPhoto,
		"MaxSeed": int64(maxSeed), "Concurrency": concurrency, "MaxAttempts": maxAttempts, "Minutes": jobTimeout.Minutes(),
		"Alone": a.studio.pool != nil, "Kept": !a.temporary,
	})
	if err != nil {
		return err
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(html.Bytes()) // fails only when nobody listens any more
	})
	for _, file := range []struct{ name, mediaType string }{
		{"style.css", "text/css; charset=utf-8"}, {"app.js", "text/javascript; charset=utf-8"}, {"icon.svg", "image/svg+xml"},
	} {
		mux.HandleFunc("GET /"+file.name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", file.mediaType)
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, pageFiles, "page/"+file.name)
		})
	}
	return nil
}
