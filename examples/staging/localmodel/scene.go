package localmodel

import (
	"image"
	"math"
	"slices"
)

// scene is what the model believes about a picture: the camera, the box that the room is, and its light.
type scene struct {
	width, height     int
	cam               camera
	left, right, back float64 // walls: x of the side walls, z of the far one
	near              float64 // z at which the floor leaves the picture in the middle of its lower edge
	light             light
	busy              float64 // clutter above which a part of a wall isn't bare

	small    *thumbnail
	smallCam camera
	edges    *edgeMap
}

const (
	thumbnailSide  = 480
	defaultHorizon = 0.45 // of the height
	defaultFloor   = 0.66 // of the height: where the far wall meets the floor when it can't be seen
)

// perceive looks for the horizon, the walls' direction, the walls themselves and the light. Every step falls back to what is
// usual for photographs of rooms, so any picture has a scene.
func perceive(canvas *image.RGBA) *scene {
	s := &scene{width: canvas.Rect.Dx(), height: canvas.Rect.Dy(), small: newThumbnail(canvas, thumbnailSide)}
	s.edges = newEdgeMap(s.small)
	u, v := s.edges.vanishingPoint()
	s.smallCam = newCamera(s.small.w, s.small.h, v, u)
	foot := s.findBackWall()
	s.findSideWalls(foot)
	s.cam = s.smallCam.scaled(1 / s.small.scale)
	s.light = s.readLight()
	s.busy = s.findBusy()
	return s
}

// edgeMap holds brightness and its gradient for every pixel of a thumbnail.
type edgeMap struct {
	w, h   int
	bright []float32 // about perceived brightness, 0..1
	gx, gy []float32
}

func newEdgeMap(t *thumbnail) *edgeMap {
	e := &edgeMap{w: t.w, h: t.h}
	e.bright = make([]float32, t.w*t.h)
	for i, p := range t.pix {
		e.bright[i] = float32(math.Sqrt(luminance(p)))
	}
	e.gx = make([]float32, t.w*t.h)
	e.gy = make([]float32, t.w*t.h)
	for y := 1; y < t.h-1; y++ {
		for x := 1; x < t.w-1; x++ {
			i := y*t.w + x
			up, mid, down := e.bright[i-t.w-1:i-t.w+2], e.bright[i-1:i+2], e.bright[i+t.w-1:i+t.w+2]
			e.gx[i] = (up[2] - up[0] + 2*(mid[2]-mid[0]) + down[2] - down[0]) / 8
			e.gy[i] = (down[0] - up[0] + 2*(down[1]-up[1]) + down[2] - up[2]) / 8
		}
	}
	return e
}

// segment is a pixel on an edge with the edge's direction, of unit length.
type segment struct{ x, y, dx, dy, weight float64 }

// slanted returns up to limit edge pixels that may lead to the vanishing point: neither upright nor level. The limit keeps
// every n-th, so that the whole picture has its say.
func (e *edgeMap) slanted(limit int) []segment {
	const (
		faintest = 0.012
		most     = 0.06 // beyond it an edge doesn't count for more
	)
	var all []segment
	for y := 2; y < e.h-2; y++ {
		for x := 2; x < e.w-2; x++ {
			gx, gy := float64(e.gx[y*e.w+x]), float64(e.gy[y*e.w+x])
			size := math.Hypot(gx, gy)
			if size < faintest {
				continue
			}
			dx, dy := -gy/size, gx/size
			if math.Abs(dx) < 0.12 || math.Abs(dy) < 0.10 {
				continue
			}
			all = append(all, segment{float64(x), float64(y), dx, dy, math.Min(size, most)})
		}
	}
	if len(all) <= limit {
		return all
	}
	kept := make([]segment, 0, limit)
	for i := range limit {
		kept = append(kept, all[i*len(all)/limit])
	}
	return kept
}

// vanishingPoint returns where the lines that lead away from the viewer meet, in thumbnail pixels: its row is the horizon.
// Each slanted edge votes for the points it leads to; points where photographs usually have it start with an advantage.
func (e *edgeMap) vanishingPoint() (u, v float64) {
	w, h := float64(e.w), float64(e.h)
	u, v = w/2, h*defaultHorizon
	segments := e.slanted(5000)
	if len(segments) < 60 {
		return u, v
	}
	score := func(cu, cv float64) float64 {
		votes := 0.0
		for _, s := range segments {
			du, dv := cu-s.x, cv-s.y
			far := math.Hypot(du, dv)
			if far < 0.06*w { // too near to tell
				continue
			}
			off := (du*s.dy - dv*s.dx) / far / 0.035
			if off < 3 && off > -3 {
				votes += s.weight / (1 + off*off*off*off)
			}
		}
		au, av := (cu/w-0.5)/0.34, (cv/h-defaultHorizon)/0.10
		return votes * math.Exp(-0.5*(au*au+av*av))
	}
	search := func(u0, u1, v0, v1 float64, columns, rows int) {
		best := -1.0
		for r := range rows {
			for c := range columns {
				cu := u0 + (u1-u0)*float64(c)/float64(columns-1)
				cv := v0 + (v1-v0)*float64(r)/float64(rows-1)
				if got := score(cu, cv); got > best {
					best, u, v = got, cu, cv
				}
			}
		}
	}
	search(0.08*w, 0.92*w, 0.30*h, 0.62*h, 43, 15)
	search(u-0.02*w, u+0.02*w, v-0.023*h, v+0.023*h, 9, 9)
	return u, v
}

// contrast compares the two sides of a line through the points (u, v), whose unit normals are (nu, nv): the length of the
// mean difference of colour. Differences that don't agree along the line cancel out, so a line of texture counts little.
type contrast struct {
	sum   [3]float64
	count int
}

func (c *contrast) add(t *thumbnail, u, v, nu, nv float64) {
	const reach = 3.0 // pixels
	if !t.inside(u+nu*reach, v+nv*reach) || !t.inside(u-nu*reach, v-nv*reach) {
		return
	}
	for step := 1.0; step <= reach; step++ {
		a, b := t.at(u+nu*step, v+nv*step), t.at(u-nu*step, v-nv*step)
		for k := range 3 {
			c.sum[k] += (math.Sqrt(float64(a[k])) - math.Sqrt(float64(b[k]))) / reach
		}
	}
	c.count++
}

func (c *contrast) strength(least int) float64 {
	if c.count < least {
		return 0
	}
	n := float64(c.count)
	return math.Sqrt(c.sum[0]*c.sum[0]+c.sum[1]*c.sum[1]+c.sum[2]*c.sum[2]) / n
}

// faint is the contrast below which a line isn't believed to be a wall's foot.
const faint = 0.035

// findBackWall looks for the foot of the far wall, the line across the floor with the strongest contrast, and returns that.
func (s *scene) findBackWall() (strength float64) {
	c := s.smallCam
	bottom := float64(s.small.h)
	fallback := c.focal * eyeHeight / math.Max(defaultFloor*bottom-c.horizon, 0.12*bottom)
	best, found := faint, fallback
	for row := c.horizon + 0.10*bottom; row < 0.93*bottom; row += 0.5 {
		z := c.focal * eyeHeight / (row - c.horizon)
		var line contrast
		for i := range 61 {
			x := z * (float64(i)/60 - 0.5) * 0.8
			u, v, _, ok := c.project(x, 0, z)
			if !ok {
				continue
			}
			// the normal of this line in the picture
			u2, v2, _, ok := c.project(x+0.1, 0, z)
			if !ok {
				continue
			}
			du, dv := u2-u, v2-v
			size := math.Hypot(du, dv)
			if size == 0 {
				continue
			}
			line.add(s.small, u, v, -dv/size, du/size)
		}
		if got := line.strength(25); got > best {
			best, found = got, z
		}
	}
	s.back = clamp(found, 2.2, 9)
	s.near = c.focal * eyeHeight / math.Max(bottom-c.horizon, 1)
	return best
}

// findSideWalls looks for the feet of the side walls, which lead to the vanishing point. A wall whose foot has far less
// contrast than the far wall's was a floor board: then the wall is taken to be just outside the picture.
func (s *scene) findSideWalls(backStrength float64) {
	least := math.Max(faint, 0.4*backStrength)
	for _, side := range []float64{-1, 1} {
		best, found := least, s.sideOfView(side)
		for x := 0.9; x < 4.5; x += 0.03 {
			var line contrast
			for i := range 40 {
				z := s.back * (0.35 + 0.62*float64(i)/39)
				u, v, _, ok := s.smallCam.project(side*x, 0, z)
				if !ok {
					continue
				}
				u2, v2, _, _ := s.smallCam.project(side*x, 0, z*1.02)
				du, dv := u2-u, v2-v
				if size := math.Hypot(du, dv); size > 0 {
					line.add(s.small, u, v, -dv/size, du/size)
				}
			}
			if got := line.strength(8); got > best {
				best, found = got, x
			}
		}
		if side < 0 {
			s.left = -found
		} else {
			s.right = found
		}
	}
}

// sideOfView is how far to one side the picture shows the foot of the far wall.
func (s *scene) sideOfView(side float64) float64 {
	edge := 0.0
	if side > 0 {
		edge = float64(s.small.w)
	}
	dx, _, dz := s.smallCam.ray(edge, 0)
	return clamp(side*dx/math.Max(dz, 0.1)*s.back+0.05, 1.2, 2.6)
}

// clutter says how much goes on on a wall: the mean edge strength in a patch of it, about 0 for bare plaster and more
// than 0.02 for doors, windows and radiators. The patch goes from a to b along the wall and from y0 to y1 upwards. A patch
// of which little is in the picture counts as cluttered.
func (s *scene) clutter(w wall, a, b, y0, y1 float64) float64 {
	const steps = 14
	sum, inside := 0.0, 0
	for i := range steps {
		for j := range steps {
			along := a + (b-a)*(float64(i)+0.5)/steps
			y := y0 + (y1-y0)*(float64(j)+0.5)/steps
			x, z := s.onWall(w, along)
			u, v, _, ok := s.smallCam.project(x, y, z)
			if !ok || !s.small.inside(u, v) {
				continue
			}
			k := int(v)*s.edges.w + int(u)
			sum += math.Hypot(float64(s.edges.gx[k]), float64(s.edges.gy[k]))
			inside++
		}
	}
	if inside < steps*steps*3/4 {
		return 1
	}
	return sum / float64(inside)
}

// bare reports whether a patch of a wall, all of it in the picture, is even: nothing that hangs there already, no window, door
// or corner. The measures are as for clutter.
func (s *scene) bare(w wall, a, b, y0, y1 float64) bool {
	const (
		steps  = 26
		strong = 0.014 // gradient of an edge
		few    = 0.02  // share of the patch that may be edge
		spread = 0.17  // brightness that the light may vary by across the patch
	)
	edges, low, high := 0, float32(1), float32(0)
	for i := range steps {
		for j := range steps {
			x, z := s.onWall(w, a+(b-a)*(float64(i)+0.5)/steps)
			u, v, _, ok := s.smallCam.project(x, y0+(y1-y0)*(float64(j)+0.5)/steps, z)
			if !ok || u < 2 || v < 2 || u >= float64(s.small.w-2) || v >= float64(s.small.h-2) {
				return false
			}
			k := int(v)*s.edges.w + int(u)
			if math.Hypot(float64(s.edges.gx[k]), float64(s.edges.gy[k])) > strong {
				edges++
			}
			low, high = min(low, s.edges.bright[k]), max(high, s.edges.bright[k])
		}
	}
	return float64(edges) < few*steps*steps && high-low < spread
}

// findBusy tells clutter from a wall's own grain: what is far more than the calmest parts of the walls have.
func (s *scene) findBusy() float64 {
	var seen []float64
	for w := backWall; w <= rightWall; w++ {
		for along := -3.0; along < s.back; along += 0.4 {
			if got := s.clutter(w, along-0.4, along+0.4, 0.15, 1.9); got < 1 {
				seen = append(seen, got)
			}
		}
	}
	const least = 0.0062 // what a door has, white on white
	if len(seen) == 0 {
		return least
	}
	slices.Sort(seen)
	return math.Max(least, 1.6*seen[len(seen)/5])
}

type wall int

const (
	backWall wall = iota
	leftWall
	rightWall
)

// onWall returns the point of the floor plan at a place along a wall: x along the far wall, z along the others.
func (s *scene) onWall(w wall, along float64) (x, z float64) {
	switch w {
	case leftWall:
		return s.left, along
	case rightWall:
		return s.right, along
	}
	return along, s.back
}
