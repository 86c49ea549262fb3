package main

import (
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
)

// film turns scene light into a display value, as a camera would: linear in the middle, with a soft shoulder
// instead of clipped highlights, then the sRGB curve.
func film(light float64) float64 {
	const knee = 0.55
	if light > knee {
		over := (light - knee) / (1 - knee)
		light = knee + (1-knee)*(1-math.Exp(-over))
	}
	return encodeSRGB(light)
}

func encodeSRGB(v float64) float64 {
	switch {
	case v <= 0:
		return 0
	case v >= 1:
		return 1
	case v <= 0.0031308:
		return 12.92 * v
	}
	return 1.055*math.Pow(v, 1/2.4) - 0.055
}

// develop makes a photograph of a linear 16 bit rendering: exposure, film curve, lens falloff and a little grain.
func develop(from, to string, exposure float64) error {
	linear, err := readPNG(from)
	if err != nil {
		return err
	}
	b := linear.Bounds()
	photo := image.NewRGBA(b)
	grain := rand.New(rand.NewPCG(1, 2))
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := linear.At(x, y).RGBA()
			dx := (float64(x)/float64(b.Dx()) - 0.5) * 2
			dy := (float64(y)/float64(b.Dy()) - 0.5) * 2
			gain := exposure * (1 - 0.06*(dx*dx+dy*dy))
			noise := grain.NormFloat64() * 0.006
			shade := func(v uint32) uint8 {
				return uint8(math.Round(255 * math.Min(1, math.Max(0, film(gain*float64(v)/65535)+noise))))
			}
			photo.SetRGBA(x, y, color.RGBA{R: shade(r), G: shade(g), B: shade(bl), A: 255})
		}
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if err := jpeg.Encode(out, photo, &jpeg.Options{Quality: 88}); err != nil {
		return fmt.Errorf("encode %s: %w", to, err)
	}
	return out.Close()
}

func readPNG(path string) (image.Image, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	img, err := png.Decode(in)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", path, err)
	}
	return img, nil
}
