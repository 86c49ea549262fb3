package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/stage"
)

// modelName goes into results, with a version that changes when pictures do.
const modelName = "localmodel/1"

// decorator is a stage.Model: it turns encoded pictures into images for localmodel, and back.
type decorator struct {
	local  *localmodel.Model
	encode encoder
	pace   time.Duration // a pause after each step, so that people have time to watch
}

type encoder func(io.Writer, image.Image) error

var _ stage.Model = (*decorator)(nil)

func newDecorator(encode encoder, pace time.Duration) (*decorator, error) {
	local, err := localmodel.New()
	if err != nil {
		return nil, err
	}
	return &decorator{local: local, encode: encode, pace: pace}, nil
}

// Stage implements stage.Model. What is wrong with the request stays wrong, so such errors are permanent.
func (d *decorator) Stage(ctx context.Context, req stage.Request) (stage.Picture, error) {
	photo, err := stage.Decode(req.Original)
	if err != nil {
		return stage.Picture{}, err
	}
	furnished, err := d.local.Render(ctx, photo, localmodel.Request{
		RoomType: req.RoomType, Style: req.Style, Prompt: req.UserPrompt, Seed: req.Seed,
	}, func(fraction float64, message string) {
		if fraction == 1 { // there is one more thing to do
			message = "encoding the picture"
		}
		req.Progress(fraction, message)
		d.pause(ctx)
	})
	if field := (*localmodel.FieldError)(nil); errors.As(err, &field) || errors.Is(err, localmodel.ErrNoPicture) {
		return stage.Picture{}, worker.Permanent(err)
	}
	if err != nil {
		return stage.Picture{}, err
	}
	var encoded bytes.Buffer
	if err := d.encode(&encoded, furnished); err != nil {
		return stage.Picture{}, fmt.Errorf("encode: %w", err)
	}
	return stage.Picture{Data: encoded.Bytes(), Model: modelName}, nil
}

func (d *decorator) pause(ctx context.Context) {
	if d.pace == 0 {
		return
	}
	select {
	case <-time.After(d.pace):
	case <-ctx.Done(): // the model looks at it before its next step
	}
}

func encodeJPEG(w io.Writer, img image.Image) error {
	return jpeg.Encode(w, img, &jpeg.Options{Quality: 88})
}

// choose finds an option by its name or label, whatever the case; an empty value is the first one. The field is what
// people call it.
func choose(field string, options []localmodel.Option, value string) (localmodel.Option, error) {
	plain := strings.NewReplacer("-", "_", " ", "_")
	wanted := plain.Replace(strings.ToLower(strings.TrimSpace(value)))
	known := make([]string, len(options))
	for i, o := range options {
		if wanted == "" || wanted == o.Name || wanted == plain.Replace(strings.ToLower(o.Label)) {
			return o, nil
		}
		known[i] = o.Name
	}
	return localmodel.Option{}, fmt.Errorf("unknown %s %.60q: use one of %s", field, value, strings.Join(known, ", "))
}
