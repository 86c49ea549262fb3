package localmodel

import (
	"context"
	"image"
	"math"
	"slices"
)

// paintFloor lays the rugs and the soft shadows that the furniture throws away from the light.
func paintFloor(canvas *image.RGBA, s *scene, placed []placement, stock *catalogue) error {
	for _, item := range placed {
		if item.kind != rug {
			continue
		}
		picture, err := stock.load(item.sprite)
		if err != nil {
			return err
		}
		paintRug(canvas, s, item, picture)
	}
	paintShadows(canvas, s, placed)
	return nil
}

// paintRug warps a rug's texture onto the floor.
func paintRug(canvas *image.RGBA, s *scene, item placement, picture *image.RGBA) {
	box := floorBounds(s, item.x, item.z, item.halfX+0.1, item.halfZ+0.1)
	length, breadth := item.halfX, item.halfZ
	if item.turned {
		length, breadth = breadth, length
	}
	// texture pixels per metre, and the gain at the rug's far and near end
	perX, perZ := float64(picture.Rect.Dx())/2/length, float64(picture.Rect.Dy())/2/breadth
	_, _, depth, _ := s.cam.project(item.x, 0, item.z)
	surface := newTexture(picture, perX*math.Max(depth, 0.5)/s.cam.focal)
	far, near := s.gain(item.x, item.z+item.halfZ*0.7, 0.3), s.gain(item.x, item.z-item.halfZ*0.7, 0.3)

	for v := box.Min.Y; v < box.Max.Y; v++ {
		for u := box.Min.X; u < box.Max.X; u++ {
			x, z, ok := s.cam.onFloor(float64(u)+0.5, float64(v)+0.5)
			if !ok {
				continue
			}
			dx, dz := x-item.x, z-item.z
			inX, inZ := item.halfX-math.Abs(dx), item.halfZ-math.Abs(dz)
			pixel := z / s.cam.focal                       // metres across
			pixelDeep := z * z / (s.cam.focal * eyeHeight) // metres in depth
			cover := clamp(inX/pixel+0.5, 0, 1) * clamp(inZ/pixelDeep+0.5, 0, 1)
			p := canvas.Pix[canvas.PixOffset(u, v):][:3:3]
			if cover < 1 {
				// the rug's thickness shades the floor beside it
				outside := math.Hypot(math.Max(-inX, 0), math.Max(-inZ, 0))
				shade := 1 - 0.30*clamp(1-outside/0.07, 0, 1)
				for k := range p {
					p[k] = uint8(float64(p[k]) * shade)
				}
			}
			if cover == 0 {
				continue
			}
			along, across := dx, dz
			if item.turned {
				along, across = dz, -dx
			}
			r, g, b, _ := surface.read((along+length)*perX, (breadth-across)*perZ)
			mix := clamp(0.5+dz/(2*item.halfZ), 0, 1)
			for k, c := range [3]float32{r, g, b} {
				gain := math.Pow(far[k]*mix+near[k]*(1-mix), 1/2.2)
				p[k] = uint8(clamp(float64(p[k])*(1-cover)+float64(c)*gain*cover+0.5, 0, 255))
			}
		}
	}
}

// floorBounds is the part of the picture that shows a rectangle of the floor.
func floorBounds(s *scene, x, z, halfX, halfZ float64) image.Rectangle {
	u0, v0, u1, v1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, cx := range []float64{x - halfX, x + halfX} {
		for _, cz := range []float64{z - halfZ, z + halfZ} {
			u, v, _, ok := s.cam.project(cx, 0, cz)
			if !ok {
				return image.Rect(0, max(0, int(s.cam.horizon)), s.width, s.height)
			}
			u0, u1 = math.Min(u0, u), math.Max(u1, u)
			v0, v1 = math.Min(v0, v), math.Max(v1, v)
		}
	}
	return pixels(u0, v0, u1, v1).Intersect(image.Rect(0, 0, s.width, s.height))
}

// pixels is the smallest rectangle of whole pixels round the given one, kept to what an int can hold.
func pixels(u0, v0, u1, v1 float64) image.Rectangle {
	const far = 1 << 20
	return image.Rect(int(math.Floor(clamp(u0, -far, far))), int(math.Floor(clamp(v0, -far, far))),
		int(math.Ceil(clamp(u1, -far, far))), int(math.Ceil(clamp(v1, -far, far))))
}

// paintShadows darkens the floor on the sides of the furniture that are turned away from the light. The close, dark
// shadows under the pieces are part of their sprites.
func paintShadows(canvas *image.RGBA, s *scene, placed []placement) {
	const step = 4 // shadows are soft: reckoned for every fourth pixel
	top := max(0, int(s.cam.horizon)+1)
	w, h := s.width/step+2, max(0, s.height-top)/step+2
	shade := make([]float64, w*h)
	for j := range h {
		for i := range w {
			shade[j*w+i] = 1
			x, z, ok := s.cam.onFloor(float64(i*step), float64(top+j*step))
			if !ok || z > s.back || x < s.left || x > s.right {
				continue
			}
			for _, item := range placed {
				if item.kind != furniture {
					continue
				}
				throw := 0.28 * item.sprite.Height * item.scale
				dx := math.Abs(x-(item.x-s.light.across*throw)) - item.halfX*0.9
				dz := math.Abs(z-(item.z-s.light.along*throw*0.6)) - item.halfZ*0.9
				off := math.Hypot(math.Max(dx, 0), math.Max(dz, 0)) + math.Min(math.Max(dx, dz), 0)
				t := clamp((0.30-off)/0.45, 0, 1)
				shade[j*w+i] *= 1 - 0.22*t*t*(3-2*t)
			}
		}
	}
	for v := top; v < s.height; v++ {
		j, fj := (v-top)/step, float64((v-top)%step)/step
		for u := range s.width {
			i, fi := u/step, float64(u%step)/step
			k := j*w + i
			dark := (shade[k]*(1-fi)+shade[k+1]*fi)*(1-fj) + (shade[k+w]*(1-fi)+shade[k+w+1]*fi)*fj
			if dark > 0.999 {
				continue
			}
			p := canvas.Pix[canvas.PixOffset(u, v):][:3:3]
			for c := range p {
				p[c] = uint8(float64(p[c])*dark + 0.5)
			}
		}
	}
}

// paintFurniture hangs the pictures and then paints the furniture, what is far away first.
func paintFurniture(ctx context.Context, canvas *image.RGBA, s *scene, placed []placement, stock *catalogue) error {
	for _, item := range placed {
		if item.kind != picture {
			continue
		}
		texture, err := stock.load(item.sprite)
		if err != nil {
			return err
		}
		paintPicture(canvas, s, item, texture)
	}
	order := slices.Clone(placed)
	slices.SortStableFunc(order, func(a, b placement) int {
		_, _, depthA, _ := s.cam.project(a.x, 0, a.z)
		_, _, depthB, _ := s.cam.project(b.x, 0, b.z)
		switch {
		case depthA > depthB:
			return -1
		case depthA < depthB:
			return 1
		}
		return 0
	})
	for _, item := range order {
		if item.kind != furniture {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		picture, err := stock.load(item.sprite)
		if err != nil {
			return err
		}
		lit, dark, err := stock.loadMaps(item.sprite)
		if err != nil {
			return err
		}
		paintSprite(canvas, s, item, picture, lit, dark)
	}
	return nil
}

// paintSprite paints a piece of furniture. A sprite is a picture on an upright plane through the spot where the piece stands,
// parallel to the room's far wall; turning the camera only warps it.
func paintSprite(canvas *image.RGBA, s *scene, item placement, picture, lit, dark *image.RGBA) {
	perMetre := item.sprite.Density / item.scale
	_, _, depth, ok := s.cam.project(item.x, 0, item.z)
	if !ok {
		return
	}
	step := perMetre * depth / s.cam.focal // sprite pixels per canvas pixel
	body := newTexture(picture, step)
	side, shadow := newTexture(lit, step/4), newTexture(dark, step/4)
	flip := 1.0
	if item.mirrored {
		flip = -1
	}
	// the outline in the picture: the plane's corners
	w, h := float64(picture.Rect.Dx()), float64(picture.Rect.Dy())
	u0, v0, u1, v1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, cx := range []float64{0, w} {
		for _, cy := range []float64{0, h} {
			x := item.x + flip*(cx-item.sprite.AnchorX)/perMetre
			u, v, _, ok := s.cam.project(x, (item.sprite.AnchorY-cy)/perMetre, item.z)
			if !ok {
				return
			}
			u0, u1 = math.Min(u0, u), math.Max(u1, u)
			v0, v1 = math.Min(v0, v), math.Max(v1, v)
		}
	}
	box := pixels(u0, v0, u1, v1).Intersect(canvas.Rect)
	gain := s.gain(item.x, item.z, math.Max(item.halfX, item.halfZ)+0.15)
	var scale [3]float32
	for k := range scale {
		scale[k] = float32(math.Pow(gain[k], 1/2.2))
	}
	const faintest = 4 // of shadows; less is the noise of their compression
	sideways := float32(0.40 * s.light.fromLeft * flip / 127)

	for v := box.Min.Y; v < box.Max.Y; v++ {
		for u := box.Min.X; u < box.Max.X; u++ {
			dx, dy, dz := s.cam.ray(float64(u)+0.5, float64(v)+0.5)
			if dz < 1e-3 {
				continue
			}
			t := item.z / dz
			sx := item.sprite.AnchorX + flip*(dx*t-item.x)*perMetre
			sy := item.sprite.AnchorY - (dy*t+eyeHeight)*perMetre
			p := canvas.Pix[canvas.PixOffset(u, v):][:3:3]
			if d, _, _, _ := shadow.read(sx/4, sy/4); d > faintest {
				for k := range p {
					p[k] = uint8(float32(p[k])*(1-(d-faintest)/255) + 0.5)
				}
			}
			r, g, b, a := body.read(sx, sy)
			if a < 1 {
				continue
			}
			m, _, _, _ := side.read(sx/4, sy/4)
			relit := 1 + clampSide(m-128)*sideways
			rest := (255 - a) / 255
			for k, c := range [3]float32{r, g, b} {
				p[k] = uint8(min(float32(p[k])*rest+min(c*scale[k]*relit, a)+0.5, 255))
			}
		}
	}
}

// clampSide keeps the map's frayed edges, where it runs out to black, from showing.
func clampSide(v float32) float32 { return max(-110, min(v, 110)) }

// paintPicture hangs a framed picture, with its shadow on the wall.
func paintPicture(canvas *image.RGBA, s *scene, item placement, picture *image.RGBA) {
	halfW, halfH := item.sprite.Width/2*item.scale, item.sprite.Depth/2*item.scale
	perMetre := float64(picture.Rect.Dx()) / 2 / halfW
	_, _, depth, ok := s.cam.project(item.x, item.y, item.z)
	if !ok {
		return
	}
	surface := newTexture(picture, perMetre*depth/s.cam.focal)
	gain := s.gain(item.x, item.z-0.4, 0.4)
	const rim = 0.1
	u0, v0, u1, v1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, da := range []float64{-halfW - rim, halfW + rim} {
		for _, dy := range []float64{-halfH - rim, halfH + rim} {
			x, z := s.onWall(item.wall, item.along+da)
			u, v, _, ok := s.cam.project(x, item.y+dy, z)
			if !ok {
				return
			}
			u0, u1 = math.Min(u0, u), math.Max(u1, u)
			v0, v1 = math.Min(v0, v), math.Max(v1, v)
		}
	}
	box := pixels(u0, v0, u1, v1).Intersect(canvas.Rect)
	for v := box.Min.Y; v < box.Max.Y; v++ {
		for u := box.Min.X; u < box.Max.X; u++ {
			along, up, ok := s.wallPoint(item.wall, float64(u)+0.5, float64(v)+0.5)
			if !ok {
				continue
			}
			da, dy := along-item.along, up-item.y
			if item.wall == rightWall {
				da = -da // seen from the room, z runs to the left there
			}
			pixel := depth / s.cam.focal
			cover := clamp((halfW-math.Abs(da))/pixel+0.5, 0, 1) * clamp((halfH-math.Abs(dy))/pixel+0.5, 0, 1)
			p := canvas.Pix[canvas.PixOffset(u, v):][:3:3]
			if cover < 1 {
				ox := math.Max(math.Abs(da-0.02*s.light.fromLeft)-halfW, 0)
				oy := math.Max(math.Abs(dy+0.025)-halfH, 0)
				shade := 1 - 0.28*clamp(1-math.Hypot(ox, oy)/0.06, 0, 1)
				for k := range p {
					p[k] = uint8(float64(p[k]) * shade)
				}
			}
			if cover == 0 {
				continue
			}
			r, g, b, _ := surface.read((da+halfW)*perMetre, (halfH-dy)*perMetre)
			for k, c := range [3]float32{r, g, b} {
				p[k] = uint8(clamp(float64(p[k])*(1-cover)+float64(c)*math.Pow(gain[k], 1/2.2)*cover+0.5, 0, 255))
			}
		}
	}
}

// wallPoint returns which point of a wall a pixel shows: how far along and how high.
func (s *scene) wallPoint(w wall, u, v float64) (along, up float64, ok bool) {
	dx, dy, dz := s.cam.ray(u, v)
	var t float64
	switch w {
	case backWall:
		t = s.back / dz
	case leftWall:
		t = s.left / dx
	case rightWall:
		t = s.right / dx
	}
	if !(t > 0) || math.IsInf(t, 0) {
		return 0, 0, false
	}
	if w == backWall {
		return dx * t, dy*t + eyeHeight, true
	}
	return dz * t, dy*t + eyeHeight, true
}
