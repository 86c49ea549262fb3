// Package localmodel is a demonstration of virtual staging that needs no network and no model weights: a picture of
// an empty room goes in, a furnished one comes out.
//
// It finds the floor of the picture and the direction of its walls, lays a plan for the type of room on that floor,
// places furniture that was rendered beforehand for such a view, lit as the picture is, and grades light and colour
// by style. The same picture and request give the same bytes on every run; another seed gives another arrangement.
//
// It is no substitute for a real model: it sees edges and colours, and knows nothing about what is in the picture.
package localmodel

import (
	"context"
	"fmt"
	"image"
	"math/rand/v2"
)

// MaxSide is the longest side of a result. Larger originals are scaled down to it.
const MaxSide = 2048

// Model stages pictures. It is safe for concurrent use. Create it with New.
type Model struct {
	furniture *catalogue
}

// New returns a model with the embedded furniture. It fails only when the embedded pictures don't fit their list.
func New() (*Model, error) {
	furniture, err := openCatalogue(embedded)
	if err != nil {
		return nil, err
	}
	return &Model{furniture: furniture}, nil
}

// Progress is told how far a rendering is: a fraction from 0 to 1 that never falls, and what is being done, for people.
type Progress = func(fraction float64, message string)

// Render returns the original, furnished as the request says, in its own size or scaled down to MaxSide; its bounds
// begin at (0, 0), transparent parts of the original become white. progress may be nil. The original isn't changed.
// A request that names an unknown room or style gives a *FieldError, an original without pixels ErrNoPicture, and a
// context that ends the cause of that, between two steps.
func (m *Model) Render(ctx context.Context, original image.Image, req Request, progress Progress) (*image.RGBA, error) {
	if progress == nil {
		progress = func(float64, string) {}
	}
	room, style, err := req.resolve()
	if err != nil {
		return nil, err
	}
	if original == nil || original.Bounds().Empty() {
		return nil, ErrNoPicture
	}

	var (
		canvas *image.RGBA
		seen   *scene
		placed []placement
		hints  = readPrompt(req.Prompt)
		dice   = rand.New(rand.NewPCG(uint64(req.Seed), seedStream(room.Name, style.Name)))
	)
	steps := []struct {
		at      float64
		message string
		do      func() error
	}{
		{0.05, "preparing the picture", func() error { canvas = flatten(original, MaxSide); return nil }},
		{0.20, "finding floor, walls and light", func() error { seen = perceive(canvas); return nil }},
		{0.35, fmt.Sprintf("arranging the %s", room.Label), func() error { placed = arrange(seen, room, style, hints, m.furniture, dice); return nil }},
		{0.50, "laying rugs and shadows", func() error { return paintFloor(canvas, seen, placed, m.furniture) }},
		{0.65, "placing the furniture", func() error { return paintFurniture(ctx, canvas, seen, placed, m.furniture) }},
		{0.85, fmt.Sprintf("grading light and colour: %s", style.Label), func() error { style.grade.with(hints).apply(canvas); return nil }},
	}
	for _, step := range steps {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		progress(step.at, step.message)
		if err := step.do(); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	progress(1, "done")
	return canvas, nil
}
