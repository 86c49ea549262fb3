package main

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"os/exec"
	"path/filepath"
)

// flat is a picture for the wall or a rug: a texture that the model lays into the room itself.
type flat struct {
	name          string
	kind          int // in flat.inc
	width, height float64
	density       float64 // pixels per metre
}

var flats = []flat{
	{"picture", 0, 0.6, 0.8, 420},
	{"picture", 1, 1.0, 0.7, 420},
	{"rug", 2, 2.4, 1.6, 270},
	{"rug", 3, 2.4, 1.6, 270},
}

func (b *baker) flat(f flat, style int) (*sprite, error) {
	name := fmt.Sprintf("%s%d-%s", f.name, f.kind%2+1, styleNames[style])
	scene := filepath.Join(b.work, name+".pov")
	job := fmt.Sprintf("#version 3.7;\n#declare Style = %d; #declare Kind = %d; #declare W = %g; #declare H = %g;\n#include \"flat.inc\"\n",
		style, f.kind, f.width, f.height)
	if err := os.WriteFile(scene, []byte(job), 0o600); err != nil {
		return nil, err
	}
	out, err := exec.Command("povray", "+I"+scene, "+L"+b.art, "+O"+scene+".png", fmt.Sprintf("+W%.0f", f.width*f.density),
		fmt.Sprintf("+H%.0f", f.height*f.density), "+FN16", "File_Gamma=1.0", "-D", "-V", "+WT1", "+A0.1", "+R2").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	linear, err := readPNG(scene + ".png")
	if err != nil {
		return nil, err
	}
	display := image.NewNRGBA(linear.Bounds())
	for y := range display.Rect.Dy() {
		for x := range display.Rect.Dx() {
			r, g, bl, _ := linear.At(x, y).RGBA()
			shade := func(v uint32) uint8 { return uint8(math.Round(255 * film(float64(v)/65535))) }
			display.SetNRGBA(x, y, color.NRGBA{R: shade(r), G: shade(g), B: shade(bl), A: 255})
		}
	}
	entry := &sprite{File: name + ".webp", Piece: f.name, Style: styleNames[style], Density: f.density, Width: f.width, Depth: f.height}
	return entry, b.webp(display, name, "-q", "72")
}
