package localmodel

import (
	"image"
	"math"
	"math/rand/v2"
)

// placement is one thing in the room.
type placement struct {
	kind     kind
	sprite   *sprite
	mirrored bool
	x, z     float64 // where it stands on the floor plan, or the middle of a rug
	halfX    float64 // half of its extent on the floor plan
	halfZ    float64
	scale    float64 // of its size
	turned   bool    // a rug whose length runs along z
	wall     wall    // where a picture hangs, how far along the wall and how high its middle is
	along, y float64
}

type kind int

const (
	furniture kind = iota
	rug
	picture
)

// planner places things one by one; a thing that finds no room is left out.
type planner struct {
	scene  *scene
	style  string
	stock  *catalogue
	dice   *rand.Rand
	hints  hints
	back   float64 // z of the far end of what is furnished
	scale  float64 // of all furniture: small rooms get small furniture
	placed []placement
}

// arrange lays out a room. It always places what the room is named for, even where it is cramped.
func arrange(s *scene, r *room, st *style, h hints, stock *catalogue, dice *rand.Rand) []placement {
	p := &planner{scene: s, style: st.Name, stock: stock, dice: dice, hints: h}
	p.back = math.Max(math.Min(s.back, 6.2), math.Min(s.near+1.6, s.back))
	p.scale = clamp(math.Min((s.right-s.left)/3.3, p.back/3.3), 0.6, 1)
	r.lay(p)
	return p.placed
}

// between is a random number from a to b.
func (p *planner) between(a, b float64) float64 { return a + (b-a)*p.dice.Float64() }

// either is a or b, at random.
func (p *planner) either(a, b float64) float64 {
	if p.dice.IntN(2) == 0 {
		return a
	}
	return b
}

// chance is true n times out of a hundred.
func (p *planner) chance(percent int) bool { return p.dice.IntN(100) < percent }

// size returns a piece's footprint after turning by yaw, and its height.
func (p *planner) size(piece string, yaw float64) (halfX, halfZ, height float64) {
	list := p.stock.all(piece, p.style)
	if len(list) == 0 {
		return 0, 0, 0
	}
	sin, cos := math.Sincos(yaw * math.Pi / 180)
	w, d := list[0].Width/2*p.scale, list[0].Depth/2*p.scale
	return math.Abs(w*cos) + math.Abs(d*sin), math.Abs(w*sin) + math.Abs(d*cos), list[0].Height * p.scale
}

// free reports whether a footprint lies in the room, touches nothing, and can mostly be seen.
func (p *planner) free(x, z, halfX, halfZ, height float64) bool {
	const slack = 0.03
	s := p.scene
	if x-halfX < s.left-slack || x+halfX > s.right+slack || z+halfZ > math.Max(p.back, s.near)+slack {
		return false
	}
	for _, other := range p.placed {
		if other.kind == furniture && math.Abs(other.x-x) < other.halfX+halfX-slack && math.Abs(other.z-z) < other.halfZ+halfZ-slack {
			return false
		}
	}
	return p.visible(x, z, halfX, halfZ, height) > 0.72
}

// hidesHero reports whether a thing would stand in the way of what the room is named for, which is placed first.
func (p *planner) hidesHero(x, z, halfX, halfZ, height float64) bool {
	const much = 0.2
	for _, hero := range p.placed {
		if hero.kind != furniture {
			continue
		}
		if z > hero.z {
			return false
		}
		_, near := p.outline(x, z, halfX, halfZ, height)
		_, far := p.outline(hero.x, hero.z, hero.halfX, hero.halfZ, hero.sprite.Height*hero.scale)
		both := near.Intersect(far)
		return float64(both.Dx()*both.Dy()) > much*float64(far.Dx()*far.Dy())
	}
	return false
}

// visible is the share of a thing's outline that lies within the picture.
func (p *planner) visible(x, z, halfX, halfZ, height float64) float64 {
	ok, box := p.outline(x, z, halfX, halfZ, height)
	if !ok || box.Empty() {
		return 0
	}
	in := box.Intersect(image.Rect(0, 0, p.scene.width, p.scene.height))
	return float64(in.Dx()) * float64(in.Dy()) / (float64(box.Dx()) * float64(box.Dy()))
}

// outline is the rectangle of the picture that a thing takes up; ok is false for what is beside or behind the camera.
func (p *planner) outline(x, z, halfX, halfZ, height float64) (ok bool, box image.Rectangle) {
	u0, v0 := math.Inf(1), math.Inf(1)
	u1, v1 := math.Inf(-1), math.Inf(-1)
	for _, cx := range []float64{x - halfX, x + halfX} {
		for _, cz := range []float64{z - halfZ, z + halfZ} {
			for _, cy := range []float64{0, height} {
				u, v, depth, ok := p.scene.cam.project(cx, cy, cz)
				if !ok || depth < 0.8 {
					return false, image.Rectangle{}
				}
				u0, u1 = math.Min(u0, u), math.Max(u1, u)
				v0, v1 = math.Min(v0, v), math.Max(v1, v)
			}
		}
	}
	return true, pixels(u0, v0, u1, v1)
}

// put places a piece if there is room for it.
func (p *planner) put(piece string, yaw, x, z float64) (placement, bool) {
	halfX, halfZ, height := p.size(piece, yaw)
	if halfX == 0 || !p.free(x, z, halfX, halfZ, height) {
		return placement{}, false
	}
	if piece != "coffeetable" && p.hidesHero(x, z, halfX, halfZ, height) {
		return placement{}, false
	}
	return p.force(piece, yaw, x, z)
}

// force places a piece whatever is in its way.
func (p *planner) force(piece string, yaw, x, z float64) (placement, bool) {
	halfX, halfZ, _ := p.size(piece, yaw)
	sprite, mirrored := p.stock.view(piece, p.style, yaw, x/z)
	if sprite == nil {
		return placement{}, false
	}
	item := placement{kind: furniture, sprite: sprite, mirrored: mirrored, x: x, z: z, halfX: halfX, halfZ: halfZ, scale: p.scale}
	p.placed = append(p.placed, item)
	return item, true
}

// facing is the yaw of a piece whose back is to a wall.
func facing(w wall) float64 {
	switch w {
	case leftWall:
		return -90
	case rightWall:
		return 90
	}
	return 0
}

// inward is the direction from a wall into the room.
func inward(w wall) (x, z float64) {
	switch w {
	case leftWall:
		return 1, 0
	case rightWall:
		return -1, 0
	}
	return 0, -1
}

// spot is a place against a wall.
type spot struct {
	wall  wall
	along float64
}

// stand returns where the middle of a piece is that stands at a spot.
func (p *planner) stand(piece string, at spot) (yaw, x, z float64) {
	const gap = 0.04
	yaw = facing(at.wall)
	halfX, halfZ, _ := p.size(piece, yaw)
	switch at.wall {
	case leftWall:
		return yaw, p.scene.left + halfX + gap, at.along
	case rightWall:
		return yaw, p.scene.right - halfX - gap, at.along
	}
	return yaw, at.along, p.back - halfZ - gap
}

// against places a piece at the barest of some random spots along the walls given; near says what a spot costs besides.
// Storage stands before nothing: tall pieces mind what is high on the wall, such as windows, low ones doors and radiators.
func (p *planner) against(piece string, walls []wall, near func(spot) float64) (placement, spot, bool) {
	const tries = 20
	mindful := piece == "bookshelf" || piece == "sideboard"
	var best spot
	lowest, found := math.Inf(1), false
	for _, w := range walls {
		for range tries {
			at := spot{w, p.between(p.scene.left, p.scene.right)}
			if w != backWall {
				at.along = p.between(math.Max(p.scene.near*0.9, 1.5), p.back)
			}
			if !p.inPicture(at) {
				continue
			}
			yaw, x, z := p.stand(piece, at)
			halfX, halfZ, height := p.size(piece, yaw)
			if !p.free(x, z, halfX, halfZ, height) || p.hidesHero(x, z, halfX, halfZ, height) {
				continue
			}
			half := halfX
			if w != backWall {
				half = halfZ
			}
			low := p.scene.clutter(w, at.along-half, at.along+half, 0.12, math.Min(0.75, height))
			high := 0.0
			if height > 1.4*p.scale {
				high = p.scene.clutter(w, at.along-half, at.along+half, 0.8, height)
			}
			if mindful && (math.Max(low, high) > p.scene.busy || p.coversPicture(at, half, height)) {
				continue
			}
			cost := 14*low + 30*high + p.between(0, 0.25)
			if near != nil {
				cost += near(at)
			}
			if cost < lowest {
				lowest, best, found = cost, at, true
			}
		}
	}
	if !found {
		return placement{}, spot{}, false
	}
	yaw, x, z := p.stand(piece, best)
	item, ok := p.put(piece, yaw, x, z)
	return item, best, ok
}

// coversPicture reports whether a piece at a wall would stand in front of a picture that hangs there.
func (p *planner) coversPicture(at spot, half, height float64) bool {
	for _, other := range p.placed {
		if other.kind != picture || other.wall != at.wall {
			continue
		}
		w, h := other.sprite.Width/2*other.scale, other.sprite.Depth/2*other.scale
		if height > other.y-h && math.Abs(other.along-at.along) < w+half+0.1 {
			return true
		}
	}
	return false
}

// inPicture reports whether the foot of the wall can be seen at a spot.
func (p *planner) inPicture(at spot) bool {
	x, z := p.scene.onWall(at.wall, at.along)
	u, _, _, ok := p.scene.cam.project(x, 0, z)
	return ok && u > 0 && u < float64(p.scene.width)
}

// middle draws a piece towards a place along the far wall, and along the side walls towards a depth.
func (p *planner) middle(x, z, weight float64) func(spot) float64 {
	return func(at spot) float64 {
		if at.wall == backWall {
			return weight * math.Abs(at.along-x)
		}
		return weight * math.Abs(at.along-z)
	}
}

// layRug puts a rug under things; length runs along z when turned.
func (p *planner) layRug(x, z, size float64, turned bool) {
	choice := p.dice.IntN(2)
	list := p.stock.all("rug", p.style)
	if p.hints.noRug || len(list) == 0 {
		return
	}
	s := list[choice%len(list)]
	item := placement{kind: rug, sprite: s, x: x, z: z, scale: size * p.scale, turned: turned}
	item.halfX, item.halfZ = s.Width/2*item.scale, s.Depth/2*item.scale
	if turned {
		item.halfX, item.halfZ = item.halfZ, item.halfX
	}
	// keep it off the walls
	const gap = 0.12
	if limit := (p.scene.right-p.scene.left)/2 - gap; item.halfX > limit {
		item.halfX = limit
	}
	item.x = clamp(item.x, p.scene.left+item.halfX+gap, p.scene.right-item.halfX-gap)
	item.z = math.Min(item.z, p.back-item.halfZ-gap)
	p.placed = append(p.placed, item)
}

// hang puts a picture on the wall at a spot or, if something is there already, at the barest place of some tried along
// the same wall and then the others. It hangs none where the wall isn't bare.
func (p *planner) hang(at spot) {
	choice := p.dice.IntN(2)
	list := p.stock.all("picture", p.style)
	if p.hints.noPictures || len(list) == 0 {
		return
	}
	s := list[choice%len(list)]
	for _, other := range p.placed {
		if other.sprite == s { // each picture hangs only once
			s = list[(choice+1)%len(list)]
		}
	}
	w, h := s.Width*p.scale, s.Depth*p.scale
	middle := 1.58
	tryAt := func(at spot) bool {
		if at.wall == backWall && p.back < p.scene.back-0.01 {
			return false // nothing stands against the wall, which is far behind
		}
		const rim = 0.10
		if !p.scene.bare(at.wall, at.along-w/2-rim, at.along+w/2+rim, middle-h/2-rim, middle+h/2+rim) {
			return false
		}
		x, z := p.scene.onWall(at.wall, at.along)
		for _, other := range p.placed {
			tall := other.kind == furniture && other.sprite.Height*other.scale > 1.25
			if tall && math.Abs(other.x-x) < other.halfX+w/2 && math.Abs(other.z-z) < other.halfZ+w/2 {
				return false
			}
			if other.kind == picture && other.wall == at.wall && math.Abs(other.along-at.along) < w+0.6 {
				return false
			}
		}
		p.placed = append(p.placed, placement{kind: picture, sprite: s, x: x, z: z, wall: at.wall, along: at.along, y: middle, scale: p.scale})
		return true
	}
	if tryAt(at) {
		return
	}
	for range 24 {
		other := spot{backWall, p.between(p.scene.left+w, p.scene.right-w)}
		if p.chance(40) {
			other = spot{wall(1 + p.dice.IntN(2)), p.between(p.scene.near, p.back-w)}
		}
		if tryAt(other) {
			return
		}
	}
}

// corner puts a piece that has no front into one of the far corners or beside something.
func (p *planner) corner(piece string) {
	halfX, halfZ, _ := p.size(piece, 0)
	var spots [][2]float64
	for i := range 10 {
		x := p.scene.right - halfX*p.between(0.95, 1.15)
		if i%2 == 0 {
			x = p.scene.left + halfX*p.between(0.95, 1.15)
		}
		z := p.back - halfZ*p.between(0.9, 1.3)
		if p.chance(40) {
			z -= p.between(0, 1.5)
		}
		spots = append(spots, [2]float64{x, z})
	}
	p.putAtBarest(piece, spots)
}

// putAtBarest places a piece without a front at the one of the spots, x and z, that hides least of what is on the walls, such
// as doors. Small differences are left to chance.
func (p *planner) putAtBarest(piece string, spots [][2]float64) {
	halfX, halfZ, height := p.size(piece, 0)
	lowest, best := math.Inf(1), -1
	for i, at := range spots {
		cost := p.hides(at[0], at[1], math.Min(halfX, 0.35)) + p.between(0, 0.006)
		if cost < lowest && p.free(at[0], at[1], halfX, halfZ, height) && !p.hidesHero(at[0], at[1], halfX, halfZ, height) {
			lowest, best = cost, i
		}
	}
	if best >= 0 {
		p.put(piece, 0, spots[best][0], spots[best][1])
	}
}

// hides is the clutter of the walls right behind a spot.
func (p *planner) hides(x, z, half float64) float64 {
	s := p.scene
	worst := 0.0
	look := func(w wall, along, distance float64) {
		if distance < 1.1 {
			worst = math.Max(worst, math.Min(s.clutter(w, along-half, along+half, 0.1, 1.9), 0.1))
		}
	}
	look(backWall, clamp(x, s.left+half, s.right-half), s.back-z)
	look(leftWall, math.Min(z, s.back-half), x-s.left)
	look(rightWall, math.Min(z, s.back-half), s.right-x)
	return worst
}
