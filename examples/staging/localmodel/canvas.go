package localmodel

import (
	"image"
	"image/color"
	"image/draw"

	xdraw "golang.org/x/image/draw"
)

// flatten copies any picture onto white, its bounds at (0, 0), scaled down so that no side is longer than limit.
func flatten(original image.Image, limit int) *image.RGBA {
	b := original.Bounds()
	w, h := b.Dx(), b.Dy()
	if longest := max(w, h); longest > limit {
		w, h = max(1, w*limit/longest), max(1, h*limit/longest)
	}
	canvas := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(canvas, canvas.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	if w == b.Dx() && h == b.Dy() {
		draw.Draw(canvas, canvas.Rect, original, b.Min, draw.Over)
		return canvas
	}
	if b.Dx() > 3*w || b.Dy() > 3*h {
		// far too large: a cheap first step keeps the good one affordable
		rough := image.NewRGBA(image.Rect(0, 0, min(b.Dx(), 2*w), min(b.Dy(), 2*h)))
		xdraw.ApproxBiLinear.Scale(rough, rough.Rect, original, b, draw.Src, nil)
		original, b = rough, rough.Rect
	}
	xdraw.BiLinear.Scale(canvas, canvas.Rect, original, b, draw.Over, nil)
	return canvas
}

// thumbnail is the canvas as linear light, its longest side at most limit: what perception works on.
type thumbnail struct {
	w, h  int
	scale float64 // thumbnail pixels per canvas pixel
	pix   [][3]float32
}

func newThumbnail(canvas *image.RGBA, limit int) *thumbnail {
	w, h := canvas.Rect.Dx(), canvas.Rect.Dy()
	scale := 1.0
	small := canvas
	if longest := max(w, h); longest > limit {
		scale = float64(limit) / float64(longest)
		small = image.NewRGBA(image.Rect(0, 0, max(1, int(float64(w)*scale+0.5)), max(1, int(float64(h)*scale+0.5))))
		xdraw.BiLinear.Scale(small, small.Rect, canvas, canvas.Rect, draw.Src, nil)
	}
	t := &thumbnail{w: small.Rect.Dx(), h: small.Rect.Dy(), scale: scale}
	t.pix = make([][3]float32, t.w*t.h)
	for i := range t.pix {
		p := small.Pix[4*i : 4*i+3 : 4*i+3]
		t.pix[i] = [3]float32{toLinear[p[0]], toLinear[p[1]], toLinear[p[2]]}
	}
	return t
}

// at returns the pixel nearest to (u, v), or the nearest one inside.
func (t *thumbnail) at(u, v float64) [3]float32 {
	x := int(clamp(u, 0, float64(t.w-1)))
	y := int(clamp(v, 0, float64(t.h-1)))
	return t.pix[y*t.w+x]
}

func (t *thumbnail) inside(u, v float64) bool {
	return u >= 0 && v >= 0 && u < float64(t.w) && v < float64(t.h)
}

func luminance(p [3]float32) float64 {
	return 0.2126*float64(p[0]) + 0.7152*float64(p[1]) + 0.0722*float64(p[2])
}
