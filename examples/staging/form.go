package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/stage"
)

const (
	maxForm    = maxPhoto + 1<<20 // what a form adds to its picture is little
	uploadTime = time.Minute
	maxSeed    = 1<<53 - 1 // larger ones get lost in JavaScript
)

// readOrder reads a form: the picture as one of image (an upload), sample (a bundled one's name) or again (the id of a
// job, for its original); room_type, style, prompt and seed, each of which may be left out.
func (a *api) readOrder(w http.ResponseWriter, r *http.Request) (o order, err error) {
	form, err := readForm(w, r)
	if err != nil {
		return o, err
	}
	value := func(field string) string {
		if values := form.Value[field]; len(values) > 0 {
			return strings.TrimSpace(values[0])
		}
		return ""
	}
	if o.room, err = choose("room type", localmodel.RoomTypes(), value("room_type")); err != nil {
		return o, wrong("room_type", err)
	}
	if o.style, err = choose("style", localmodel.Styles(), value("style")); err != nil {
		return o, wrong("style", err)
	}
	if o.prompt = value("prompt"); len(o.prompt) > stage.MaxPromptLength {
		return o, wrong("prompt", fmt.Errorf("the wishes are too long: at most %d bytes are read", stage.MaxPromptLength))
	}
	if o.seed, err = readSeed(value("seed")); err != nil {
		return o, err
	}
	return o, a.readPicture(r.Context(), &o, form, value)
}

// readForm reads the body, which is bounded in size and time.
func readForm(w http.ResponseWriter, r *http.Request) (*multipart.Form, error) {
	if r.ContentLength > maxForm {
		return nil, errUploadTooBig
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadTime)) // of a test's writer it is no matter
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseMultipartForm(maxForm)
	tooBig := (*http.MaxBytesError)(nil)
	switch {
	case err == nil:
		return r.MultipartForm, nil
	case errors.As(err, &tooBig):
		return nil, errUploadTooBig
	case errors.Is(err, http.ErrNotMultipart):
		return nil, &problem{code: http.StatusUnsupportedMediaType, err: errors.New("the request must be a form: multipart/form-data")}
	}
	return nil, &problem{code: http.StatusBadRequest, err: fmt.Errorf("the form cannot be read: %w", err)}
}

var errUploadTooBig = &problem{code: http.StatusRequestEntityTooLarge, field: "image", err: errPhotoTooBig}

func readSeed(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	seed, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seed < 0 || seed > maxSeed {
		return nil, wrong("seed", fmt.Errorf("the seed must be a whole number from 0 to %d", int64(maxSeed)))
	}
	return &seed, nil
}

// readPicture finds which picture is meant. An upload comes first.
func (a *api) readPicture(ctx context.Context, o *order, form *multipart.Form, value func(string) string) error {
	if files := form.File["image"]; len(files) > 0 && files[0].Size > 0 {
		return readUpload(o, files[0])
	}
	if name := value("sample"); name != "" {
		for _, s := range a.album.samples {
			if s.Name == name {
				o.file = s.File
				return nil
			}
		}
		return wrong("sample", fmt.Errorf("there is no bundled picture %.60q", name))
	}
	if id := value("again"); id != "" {
		p, err := a.album.findPage(ctx, id)
		switch {
		case errors.Is(err, errNoJob):
			return wrong("again", errNoJob.err)
		case err != nil:
			return err
		}
		o.file = p.file
		return nil
	}
	return wrong("image", errors.New("there is no picture in the form: choose one"))
}

func readUpload(o *order, header *multipart.FileHeader) error {
	if header.Size > maxPhoto {
		return errUploadTooBig
	}
	file, err := header.Open()
	if err != nil {
		return err
	}
	defer file.Close()
	if o.upload, err = io.ReadAll(file); err != nil {
		return err
	}
	if o.extension, err = checkPhoto(o.upload); err != nil {
		return wrong("image", err)
	}
	return nil
}

// wrong is an error about one field of the form.
func wrong(field string, err error) error {
	return &problem{code: http.StatusBadRequest, field: field, err: err}
}
