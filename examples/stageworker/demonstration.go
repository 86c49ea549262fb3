package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/stage"
)

// demonstration is a stage.Model that needs no network and no money. It knows fewer rooms and styles than the defaults of
// package stage.
type demonstration struct{ local *localmodel.Model }

func newDemonstration() (*demonstration, error) {
	local, err := localmodel.New()
	return &demonstration{local}, err
}

// Stage implements stage.Model. What is wrong with a request stays wrong, so such errors are permanent.
func (d *demonstration) Stage(ctx context.Context, req stage.Request) (stage.Picture, error) {
	photo, err := stage.Decode(req.Original)
	if err != nil {
		return stage.Picture{}, err
	}
	furnished, err := d.local.Render(ctx, photo, localmodel.Request{
		RoomType: req.RoomType, Style: req.Style, Prompt: req.UserPrompt, Seed: req.Seed,
	}, req.Progress)
	if field := (*localmodel.FieldError)(nil); errors.As(err, &field) {
		return stage.Picture{}, worker.Permanent(err)
	}
	if err != nil {
		return stage.Picture{}, err
	}
	var encoded bytes.Buffer
	if err := jpeg.Encode(&encoded, furnished, &jpeg.Options{Quality: 88}); err != nil {
		return stage.Picture{}, fmt.Errorf("encode: %w", err)
	}
	return stage.Picture{Data: encoded.Bytes(), Model: "localmodel/1"}, nil
}
