package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	eyeHeight = 1.5 // as in common.inc
	distance  = 3.8 // of every piece from the eye
	mapGap    = 16  // rows between light map and shadow, so that neither bleeds into the other
	shadowRim = 0.5 // metres of floor round a piece that its shadow may cover
)

// styleNames are indexed by Style in styles.inc.
var styleNames = []string{"modern", "scandinavian", "industrial", "bohemian"}

// piece is one kind of furniture: a bounding box in metres, the resolution, and the views that are rendered.
type piece struct {
	name                 string
	width, depth, height float64
	headroom             float64 // how far what stands on it may rise above that
	density              float64 // pixels per metre at the piece's distance
	views                []view
}

// view is an orientation (degrees, 0 faces the viewer, 90 faces left) and a place beside the line of sight:
// sideways distance over distance from the eye. The model mirrors views for the other side.
type view struct{ yaw, side float64 }

var (
	backWall = []view{{0, 0}, {0, 0.3}, {0, 0.6}}
	sideWall = []view{{90, 0.35}, {90, 0.65}}
)

var pieces = []piece{
	{"sofa", 2.1, 0.95, 0.9, 0, 290, append(backWall[:3:3], sideWall...)},
	{"armchair", 0.86, 0.9, 0.95, 0, 320, []view{{40, 0.3}, {40, 0.6}, {20, 0.15}}},
	{"coffeetable", 1.2, 0.95, 0.55, 0, 320, []view{{0, 0}, {0, 0.35}, {90, 0.15}}},
	{"floorlamp", 0.75, 0.75, 1.75, 0, 290, []view{{0, 0.3}}},
	{"plant", 1.0, 1.0, 1.75, 0, 290, []view{{0, 0.3}}},
	{"bed", 1.75, 2.2, 1.2, 0.12, 290, append(backWall[:2:2], sideWall...)},
	{"nightstand", 0.55, 0.45, 0.95, 0, 320, append(backWall[:2:2], sideWall[:1]...)},
	{"sideboard", 1.7, 0.5, 1.2, 0.25, 290, append(backWall[:3:3], sideWall...)},
	{"dining", 2.2, 2.0, 1.0, 0.3, 290, []view{{0, 0}, {0, 0.3}, {90, 0.15}}},
	{"desk", 1.5, 1.35, 1.25, 0, 290, append(backWall[:2:2], sideWall...)},
	{"bookshelf", 1.1, 0.4, 2.0, 0, 290, append(backWall[:3:3], sideWall...)},
	{"island", 1.9, 1.5, 1.2, 0, 290, []view{{0, 0}, {0, 0.3}, {90, 0.15}}},
}

// sprite is one entry of the manifest that the model reads.
type sprite struct {
	File    string  `json:"file"`
	Piece   string  `json:"piece"`
	Style   string  `json:"style"`
	Yaw     float64 `json:"yaw"`
	Side    float64 `json:"side"`
	Density float64 `json:"density"` // pixels per metre at the piece's place
	AnchorX float64 `json:"anchorX"` // where its place on the floor is in the picture, in pixels
	AnchorY float64 `json:"anchorY"`
	Width   float64 `json:"width"` // the footprint before turning, in metres, and the height
	Depth   float64 `json:"depth"`
	Height  float64 `json:"height"`
}

type baker struct {
	art, work, out string
	light          bool // also keep the light maps
	reuse          bool // take renderings from the work folder that are there already
}

// window returns the part of the picture plane that shows the piece and its shadow.
func (p piece) window(v view) (u0, u1, v0, v1 float64) {
	u0, v0 = math.Inf(1), math.Inf(1)
	u1, v1 = math.Inf(-1), math.Inf(-1)
	sin, cos := math.Sincos(v.yaw * math.Pi / 180)
	add := func(x, y, z float64) {
		px, pz := v.side*distance+x*cos+z*sin, distance-x*sin+z*cos
		u0, u1 = math.Min(u0, px/pz), math.Max(u1, px/pz)
		v0, v1 = math.Min(v0, (y-eyeHeight)/pz), math.Max(v1, (y-eyeHeight)/pz)
	}
	for _, sx := range []float64{-1, 1} {
		for _, sz := range []float64{-1, 1} {
			add(sx*(p.width/2+0.04), p.height+p.headroom+0.04, sz*(p.depth/2+0.04))
			add(sx*(p.width/2+shadowRim), 0, sz*(p.depth/2+shadowRim))
		}
	}
	return u0, u1, v0, v1
}

// render runs POV-Ray for one pass of a job.
func (b *baker) render(name, job string, pass, w, h int) (image.Image, error) {
	scene := filepath.Join(b.work, fmt.Sprintf("%s-%d.pov", name, pass))
	picture := scene + ".png"
	if b.reuse {
		if old, err := readPNG(picture); err == nil {
			return old, nil
		}
	}
	job = fmt.Sprintf("#version 3.7;\n#declare Pass = %d;\n%s", pass, job)
	if err := os.WriteFile(scene, []byte(job), 0o600); err != nil {
		return nil, err
	}
	args := []string{"+I" + scene, "+L" + b.art, "+O" + picture, fmt.Sprintf("+W%d", w), fmt.Sprintf("+H%d", h),
		"+FN16", "File_Gamma=1.0", "-D", "-V", "+WT1"}
	if pass == 0 || pass == 2 || pass == 3 {
		args = append(args, "+UA")
	}
	if pass == 0 {
		args = append(args, "+A0.1", "+R2")
	}
	var log bytes.Buffer
	cmd := exec.Command("povray", args...)
	cmd.Stderr = &log
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s pass %d: %w: %s", name, pass, err, log.String())
	}
	return readPNG(picture)
}

// bake renders all passes of a view and packs them.
func (b *baker) bake(p piece, style int, v view) (*sprite, error) {
	u0, u1, v0, v1 := p.window(v)
	scale := p.density * distance
	w, h := int((u1-u0)*scale)&^1, int((v1-v0)*scale)&^1
	v0 = v1 - float64(h)/scale
	u1 = u0 + float64(w)/scale
	name := fmt.Sprintf("%s-%s-%02.0f-%02.0f", p.name, styleNames[style], v.yaw, v.side*100)
	job := fmt.Sprintf("#declare Style = %d; #declare Yaw = %g; #declare Side = %g; #declare Distance = %g;\n"+
		"#declare U0 = %g; #declare U1 = %g; #declare V0 = %g; #declare V1 = %g;\n"+
		"#include \"common.inc\"\n#include \"styles.inc\"\n#include \"pieces/%s.inc\"\n#include \"sprite.inc\"\n",
		style, v.yaw, v.side, distance, u0, u1, v0, v1, p.name)
	render := func(pass, w, h int) (image.Image, error) { return b.render(name, job, pass, w, h) }
	colour, err := render(0, w, h)
	if err != nil {
		return nil, err
	}
	shadow, err := render(1, w/2, h/2)
	if err != nil {
		return nil, err
	}
	floor, err := render(4, w/8, h/8)
	if err != nil {
		return nil, err
	}
	body := develop16(colour)
	const quarter = 4
	dark := darkness(shadow, floor, v1*scale/quarter, w/quarter, h/quarter)
	lit := image.NewGray(dark.Rect)
	if b.light {
		left, err := render(2, w/quarter, h/quarter)
		if err != nil {
			return nil, err
		}
		right, err := render(3, w/quarter, h/quarter)
		if err != nil {
			return nil, err
		}
		lit = sideLight(left, right)
	}
	crop := inked(body, dark, quarter)
	small := image.Rect(crop.Min.X/quarter, crop.Min.Y/quarter, crop.Max.X/quarter, crop.Max.Y/quarter)
	entry := &sprite{
		File: name + ".webp", Piece: p.name, Style: styleNames[style], Yaw: v.yaw, Side: v.side, Density: p.density,
		AnchorX: round(v.side*scale - u0*scale - float64(crop.Min.X)),
		AnchorY: round(v1*scale + eyeHeight/distance*scale - float64(crop.Min.Y)),
		Width:   p.width, Depth: p.depth, Height: p.height,
	}
	// the light map and the shadow share a picture, one above the other
	maps := image.NewGray(image.Rect(0, 0, small.Dx(), 2*small.Dy()+mapGap))
	draw.Draw(maps, image.Rect(0, 0, small.Dx(), small.Dy()), lit, small.Min, draw.Src)
	draw.Draw(maps, image.Rect(0, small.Dy()+mapGap, small.Dx(), 2*small.Dy()+mapGap), dark, small.Min, draw.Src)
	if err := b.webp(maps, name+"-light", "-q", "65"); err != nil {
		return nil, err
	}
	return entry, b.webp(body.SubImage(crop), name, "-q", "82", "-alpha_q", "100")
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// develop16 is the piece alone as a display picture with alpha.
func develop16(colour image.Image) *image.NRGBA {
	b := colour.Bounds()
	out := image.NewNRGBA(b)
	for y := range b.Dy() {
		for x := range b.Dx() {
			c := color.NRGBA64Model.Convert(colour.At(x, y)).(color.NRGBA64)
			if c.A < 300 {
				continue
			}
			shade := func(v uint16) uint8 { return uint8(math.Round(255 * film(1.15*float64(v)/65535))) }
			out.SetNRGBA(x, y, color.NRGBA{R: shade(c.R), G: shade(c.G), B: shade(c.B), A: uint8(c.A >> 8)})
		}
	}
	return out
}

// darkness is the shadow on the floor as a display value, 255 black, from the lit floor with the piece's shadow and without.
// horizon is the row above which there is no floor, for a picture of the size w by h.
func darkness(shadow, floor image.Image, horizon float64, w, h int) *image.Gray {
	out := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			if float64(y) < horizon+0.12*float64(h) {
				continue
			}
			fx, fy := (float64(x)+0.5)/float64(w), (float64(y)+0.5)/float64(h)
			open := soft(floor, fx, fy)
			if open < 2000 {
				continue
			}
			dark := 1 - math.Pow(math.Min(1, soft(shadow, fx, fy)/open), 1/2.2)
			// the wide, faint skirt of the shadow would show where it is cut off
			dark = math.Max(0, dark-0.05) / 0.95 * rim(x, y, w, h)
			out.SetGray(x, y, color.Gray{Y: uint8(math.Round(255 * math.Min(0.9, dark)))})
		}
	}
	return out
}

// soft reads a grey picture between its pixels; fx and fy go from 0 to 1.
func soft(m image.Image, fx, fy float64) float64 {
	b := m.Bounds()
	px := math.Min(math.Max(fx*float64(b.Dx())-0.5, 0), float64(b.Dx()-1)-0.001)
	py := math.Min(math.Max(fy*float64(b.Dy())-0.5, 0), float64(b.Dy()-1)-0.001)
	x, y := int(px), int(py)
	dx, dy := px-float64(x), py-float64(y)
	at := func(x, y int) float64 {
		v, _, _, _ := m.At(x, y).RGBA()
		return float64(v)
	}
	return (at(x, y)*(1-dx)+at(x+1, y)*dx)*(1-dy) + (at(x, y+1)*(1-dx)+at(x+1, y+1)*dx)*dy
}

// rim fades shadows out towards the picture's edges.
func rim(x, y, w, h int) float64 {
	edge := math.Min(math.Min(float64(x), float64(w-1-x)), float64(h-1-y))
	t := math.Min(1, edge/18)
	return t * t * (3 - 2*t)
}

// inked is the part of the picture that shows anything, in whole pixels of the maps, which are smaller by step.
func inked(body *image.NRGBA, dark *image.Gray, step int) image.Rectangle {
	var box image.Rectangle
	for y := range dark.Rect.Dy() * step {
		for x := range dark.Rect.Dx() * step {
			if body.NRGBAAt(x, y).A > 4 || dark.GrayAt(x/step, y/step).Y > 2 {
				box = box.Union(image.Rect(x/step*step, y/step*step, x/step*step+step, y/step*step+step))
			}
		}
	}
	return box
}

// sideLight is 128 where the piece is lit alike from both sides, more where the left side lights it more.
func sideLight(left, right image.Image) *image.Gray {
	out := image.NewGray(left.Bounds())
	for y := range left.Bounds().Dy() {
		for x := range left.Bounds().Dx() {
			lr, lg, lb, la := left.At(x, y).RGBA()
			rr, rg, rb, _ := right.At(x, y).RGBA()
			l, r := float64(lr+lg+lb), float64(rr+rg+rb)
			v := 128.0
			if la > 0x8000 && l+r > 0 {
				v += 120 * (l - r) / (l + r + 1500)
			}
			out.SetGray(x, y, color.Gray{Y: uint8(v)})
		}
	}
	return out
}

func (b *baker) webp(m image.Image, name string, options ...string) error {
	raw := filepath.Join(b.work, name+".png")
	f, err := os.Create(raw)
	if err != nil {
		return err
	}
	if err := png.Encode(f, m); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	args := append(options, "-quiet", "-m", "6", raw, "-o", filepath.Join(b.out, name+".webp"))
	if text, err := exec.Command("cwebp", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cwebp %s: %w: %s", name, err, text)
	}
	return nil
}

// sprites bakes all pieces, or the named ones, and brings the manifest up to date.
func (b *baker) sprites(only map[string]bool) error {
	manifest := filepath.Join(b.out, "manifest.json")
	old := map[string]sprite{}
	if text, err := os.ReadFile(manifest); err == nil {
		var list []sprite
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		for _, s := range list {
			old[s.File] = s
		}
	}
	var list []sprite
	for _, p := range pieces {
		for style := range styleNames {
			for _, v := range p.views {
				name := fmt.Sprintf("%s-%s-%02.0f-%02.0f.webp", p.name, styleNames[style], v.yaw, v.side*100)
				if len(only) > 0 && !only[p.name] && !only[p.name+"-"+styleNames[style]] {
					if s, ok := old[name]; ok {
						list = append(list, s)
					}
					continue
				}
				s, err := b.bake(p, style, v)
				if err != nil {
					return err
				}
				list = append(list, *s)
				fmt.Println(s.File)
			}
		}
	}
	for _, f := range flats {
		for style := range styleNames {
			name := fmt.Sprintf("%s%d-%s.webp", f.name, f.kind%2+1, styleNames[style])
			if len(only) > 0 && !only[f.name] {
				if s, ok := old[name]; ok {
					list = append(list, s)
				}
				continue
			}
			s, err := b.flat(f, style)
			if err != nil {
				return err
			}
			list = append(list, *s)
			fmt.Println(s.File)
		}
	}
	text, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(manifest, append(text, '\n'), 0o644)
}
