package localmodel

import (
	"image"
	"math"
)

// style is a way of furnishing and the look of its photographs.
type style struct {
	Option
	grade grade
}

// styles are the styles of furniture, the default first.
var styles = []style{
	{Option{"modern", "Modern"}, grade{exposure: 1.02, contrast: 0.24, saturation: 1.0, warmth: -0.014, vignette: 0.12}},
	{Option{"scandinavian", "Scandinavian"}, grade{exposure: 1.13, contrast: 0.06, saturation: 0.88, warmth: 0.006, lift: 0.018, vignette: 0.04}},
	{Option{"industrial", "Industrial"}, grade{exposure: 0.80, contrast: 0.42, saturation: 0.86, warmth: 0.020, split: 0.05, vignette: 0.26}},
	{Option{"bohemian", "Bohemian"}, grade{exposure: 1.00, contrast: 0.20, saturation: 1.10, warmth: 0.045, lift: 0.010, vignette: 0.10}},
}

// grade is the treatment of light and colour. The zero value but for exposure and saturation 1 changes nothing.
type grade struct {
	exposure   float64 // factor on linear light
	contrast   float64 // 0 none; about 0.3 is strong
	saturation float64 // factor
	warmth     float64 // shifts red up and blue down, or the other way
	lift       float64 // how far black is raised
	split      float64 // cool shadows and warm highlights
	vignette   float64 // how much the corners darken
}

// with adds what a prompt asked for.
func (g grade) with(h hints) grade {
	g.warmth += 0.04 * h.warmth
	g.exposure *= math.Pow(1.18, h.light)
	return g
}

// apply grades a picture in place.
func (g grade) apply(canvas *image.RGBA) {
	var curves [3][256]float32
	for k := range curves {
		tint := g.warmth * float64(1-k) // red up, blue down
		for i := range curves[k] {
			curves[k][i] = float32(255 * g.tone(float64(toLinear[i]), tint, float64(1-k)))
		}
	}
	saturation := float32(g.saturation)
	w, h := canvas.Rect.Dx(), canvas.Rect.Dy()
	across := make([]float32, w)
	for x := range across {
		d := (float64(x)+0.5)/float64(w)*2 - 1
		across[x] = float32(d * d)
	}
	for y := range h {
		d := (float64(y)+0.5)/float64(h)*2 - 1
		down := float32(d * d)
		row := canvas.Pix[y*canvas.Stride:][:4*w]
		for x := range w {
			p := row[4*x : 4*x+3 : 4*x+3]
			r, gr, b := curves[0][p[0]], curves[1][p[1]], curves[2][p[2]]
			luma := 0.2126*r + 0.7152*gr + 0.0722*b
			corner := (across[x] + down) / 2
			shade := 1 - float32(g.vignette)*corner*corner
			p[0] = toByte((luma + (r-luma)*saturation) * shade)
			p[1] = toByte((luma + (gr-luma)*saturation) * shade)
			p[2] = toByte((luma + (b-luma)*saturation) * shade)
		}
	}
}

// tone is one channel's curve from linear light to a display value, 0..1.
func (g grade) tone(light, tint, cool float64) float64 {
	light *= g.exposure
	const knee = 0.7
	if g.exposure > 1 && light > knee { // a soft shoulder, so that what exposure adds doesn't burn out
		steep := (g.exposure - knee) / (1 - knee)
		part := math.Min((light-knee)/(g.exposure-knee), 1)
		light = knee + (1-knee)*steep*part/(1+(steep-1)*part)
	}
	v := displayed(light)
	v += g.contrast * (v - 0.5) * v * (1 - v) * 2
	v += tint * (0.35 + v) * (1.2 - v) * 1.4
	v += g.split * cool * (v - 0.45) * (1 - v) * 2
	return g.lift + (1-g.lift)*clamp(v, 0, 1)
}

func toByte(v float32) uint8 {
	switch {
	case v <= 0:
		return 0
	case v >= 255:
		return 255
	}
	return uint8(v + 0.5)
}
