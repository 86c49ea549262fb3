package localmodel

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"image"
	"image/draw"
	"io/fs"
	"math"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/webp"
)

// The furniture was rendered from our own scenes: see ../art/render.sh.
//
//go:embed sprites
var embedded embed.FS

// sprite is one rendered view of a piece of furniture, with its shadow, or the texture of a rug or a picture.
type sprite struct {
	File    string  `json:"file"`
	Piece   string  `json:"piece"`
	Style   string  `json:"style"`
	Yaw     float64 `json:"yaw"`     // degrees; 0 faces the viewer, 90 the left
	Side    float64 `json:"side"`    // how far beside the line of sight, over the distance
	Density float64 `json:"density"` // pixels per metre where the piece stands
	AnchorX float64 `json:"anchorX"` // the pixel of the spot it stands on
	AnchorY float64 `json:"anchorY"`
	Width   float64 `json:"width"` // metres, before turning
	Depth   float64 `json:"depth"`
	Height  float64 `json:"height"`
}

// catalogue is all the furniture there is. Pictures are decoded when they are painted and not kept.
type catalogue struct {
	files   fs.FS
	sprites []sprite
}

func openCatalogue(files fs.FS) (*catalogue, error) {
	text, err := fs.ReadFile(files, "sprites/manifest.json")
	if err != nil {
		return nil, fmt.Errorf("read list of furniture: %w", err)
	}
	c := &catalogue{files: files}
	if err := json.Unmarshal(text, &c.sprites); err != nil {
		return nil, fmt.Errorf("decode list of furniture: %w", err)
	}
	for _, s := range c.sprites {
		if _, err := fs.Stat(files, "sprites/"+s.File); err != nil {
			return nil, fmt.Errorf("find furniture: %w", err)
		}
	}
	return c, nil
}

// all returns the sprites of a piece in a style, in the list's order.
func (c *catalogue) all(piece, style string) []*sprite {
	var list []*sprite
	for i := range c.sprites {
		if s := &c.sprites[i]; s.Piece == piece && s.Style == style {
			list = append(list, s)
		}
	}
	return list
}

// evenSided pieces look the same from the front and from behind.
var evenSided = map[string]bool{"coffeetable": true, "dining": true, "plant": true}

// view returns the sprite that comes nearest to a piece turned by yaw, seen side (sideways distance over distance) off
// the line of sight, and whether it is to be mirrored. It is nil when there is none that is turned like that.
func (c *catalogue) view(piece, style string, yaw, side float64) (best *sprite, mirrored bool) {
	nearest := math.Inf(1)
	for _, s := range c.all(piece, style) {
		for _, flip := range []bool{false, true} {
			sYaw, sSide := s.Yaw, s.Side
			if flip {
				sYaw, sSide = -sYaw, -sSide
			}
			turn := math.Abs(math.Remainder(sYaw-yaw, 360))
			if evenSided[piece] {
				turn = math.Abs(math.Remainder(sYaw-yaw, 180))
			}
			if turn > 30 {
				continue
			}
			if off := math.Abs(sSide-side) + turn/60; off < nearest {
				nearest, best, mirrored = off, s, flip
			}
		}
	}
	return best, mirrored
}

// load decodes a sprite's picture, premultiplied.
func (c *catalogue) load(s *sprite) (*image.RGBA, error) { return c.decode(s.File) }

// loadMaps decodes what goes with a view, at a quarter of its size: how much more it is lit from the left (above 128) or
// from the right, and how dark its shadow on the floor is.
func (c *catalogue) loadMaps(s *sprite) (lit, dark *image.RGBA, err error) {
	both, err := c.decode(s.File[:len(s.File)-len(".webp")] + "-light.webp")
	if err != nil {
		return nil, nil, err
	}
	const gap = 16 // rows between the two
	half := (both.Rect.Dy() - gap) / 2
	if half < 1 {
		return nil, nil, fmt.Errorf("decode maps of %s: too small", s.File)
	}
	lit, dark = image.NewRGBA(image.Rect(0, 0, both.Rect.Dx(), half)), image.NewRGBA(image.Rect(0, 0, both.Rect.Dx(), half))
	draw.Draw(lit, lit.Rect, both, image.Point{}, draw.Src)
	draw.Draw(dark, dark.Rect, both, image.Pt(0, half+gap), draw.Src)
	return lit, dark, nil
}

func (c *catalogue) decode(name string) (*image.RGBA, error) {
	data, err := fs.ReadFile(c.files, "sprites/"+name)
	if err != nil {
		return nil, fmt.Errorf("read furniture: %w", err)
	}
	picture, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", name, err)
	}
	return fromVideo(picture), nil
}

// fromVideo premultiplies a decoded WebP. Lossy WebP has black at 16 and white at 235 as video has, whereas image.YCbCr
// stands for JPEG's full range and would show it washed out.
func fromVideo(picture image.Image) *image.RGBA {
	b := picture.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	var planes *image.YCbCr
	var alpha *image.NYCbCrA
	switch p := picture.(type) {
	case *image.YCbCr:
		planes = p
	case *image.NYCbCrA:
		planes, alpha = &p.YCbCr, p
	default: // lossless
		draw.Draw(out, out.Rect, picture, b.Min, draw.Src)
		return out
	}
	for y := range b.Dy() {
		for x := range b.Dx() {
			k, c := planes.YOffset(b.Min.X+x, b.Min.Y+y), planes.COffset(b.Min.X+x, b.Min.Y+y)
			a := int32(255)
			if alpha != nil {
				a = int32(alpha.A[alpha.AOffset(b.Min.X+x, b.Min.Y+y)])
			}
			if a == 0 {
				continue
			}
			luma := 76309 * (int32(planes.Y[k]) - 16) // 255/219 in 1/65536
			cb, cr := int32(planes.Cb[c])-128, int32(planes.Cr[c])-128
			p := out.Pix[y*out.Stride+4*x:][:4:4]
			p[0] = channel(luma+104597*cr, a)
			p[1] = channel(luma-25675*cb-53279*cr, a)
			p[2] = channel(luma+132201*cb, a)
			p[3] = uint8(a)
		}
	}
	return out
}

// channel is a colour channel in 1/65536, multiplied by alpha.
func channel(v, alpha int32) uint8 {
	v = min(max((v+1<<15)>>16, 0), 255)
	return uint8((v*alpha + 127) / 255)
}

// texture is a picture that is read between its pixels, at the size that suits.
type texture struct {
	*image.RGBA
	shrunk float64 // how many of the picture's pixels one of these is wide
}

// newTexture shrinks a picture for readers that step over several of its pixels at once.
func newTexture(picture *image.RGBA, step float64) texture {
	t := texture{picture, 1}
	for step/t.shrunk > 1.7 && t.Rect.Dx() > 2 && t.Rect.Dy() > 2 {
		half := image.NewRGBA(image.Rect(0, 0, t.Rect.Dx()/2, t.Rect.Dy()/2))
		xdraw.BiLinear.Scale(half, half.Rect, t.RGBA, t.Rect, draw.Src, nil)
		t = texture{half, t.shrunk * 2}
	}
	return t
}

// read returns the four channels, 0..255, at a place given in pixels of the unshrunk picture; outside all are 0.
func (t texture) read(x, y float64) (r, g, b, a float32) {
	x, y = x/t.shrunk-0.5, y/t.shrunk-0.5
	x0, y0 := math.Floor(x), math.Floor(y)
	fx, fy := float32(x-x0), float32(y-y0)
	w, h := t.Rect.Dx(), t.Rect.Dy()
	ix, iy := int(x0), int(y0)
	if ix < -1 || iy < -1 || ix >= w || iy >= h {
		return 0, 0, 0, 0
	}
	add := func(ix, iy int, weight float32) {
		if ix < 0 || iy < 0 || ix >= w || iy >= h {
			return
		}
		p := t.Pix[iy*t.Stride+4*ix:][:4]
		r += weight * float32(p[0])
		g += weight * float32(p[1])
		b += weight * float32(p[2])
		a += weight * float32(p[3])
	}
	add(ix, iy, (1-fx)*(1-fy))
	add(ix+1, iy, fx*(1-fy))
	add(ix, iy+1, (1-fx)*fy)
	add(ix+1, iy+1, fx*fy)
	return r, g, b, a
}
