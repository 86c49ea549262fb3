package localmodel

// room is a type of room and the plan it is furnished by.
type room struct {
	Option
	lay func(p *planner)
}

// rooms are the types of room, the default first.
var rooms = []room{
	{Option{"living_room", "Living room"}, livingRoom},
	{Option{"bedroom", "Bedroom"}, bedroom},
	{Option{"dining_room", "Dining room"}, diningRoom},
	{Option{"office", "Home office"}, office},
	{Option{"kitchen", "Kitchen"}, kitchen},
}

// wallsFrom returns all walls, the preferred one first.
func (p *planner) wallsFrom(farFirst int) []wall {
	sides := []wall{leftWall, rightWall}
	if p.chance(50) {
		sides = []wall{rightWall, leftWall}
	}
	if p.chance(farFirst) {
		return []wall{backWall, sides[0], sides[1]}
	}
	return []wall{sides[0], sides[1], backWall}
}

// hero places what the room is named for at the first wall that has room; if none has, in the middle of the floor.
func (p *planner) hero(piece string, walls []wall) (placement, spot) {
	x, z := p.focus()
	for _, w := range walls {
		if item, at, ok := p.against(piece, []wall{w}, p.middle(x, z+0.2, 0.35)); ok {
			return item, at
		}
	}
	yaw, _, deep := p.stand(piece, spot{backWall, x})
	item, _ := p.force(piece, yaw, x, deep)
	return item, spot{backWall, x}
}

// focus is the middle of the floor that can be seen.
func (p *planner) focus() (x, z float64) {
	s := p.scene
	z = (s.near + p.back) / 2
	// the line of sight at that depth, as far as the walls allow
	x = clamp(z*s.cam.sin/s.cam.cos, s.left+1, s.right-1)
	return x/2 + (s.left+s.right)/4, z
}

func livingRoom(p *planner) {
	sofa, at := p.hero("sofa", p.wallsFrom(60))
	nx, nz := inward(at.wall)
	turned := at.wall != backWall
	_, sofaDeep, _ := p.size("sofa", 0)
	_, tableDeep, _ := p.size("coffeetable", 0)
	reach := sofaDeep + tableDeep + 0.38*p.scale
	tableX, tableZ := sofa.x+nx*reach, sofa.z+nz*reach
	drift := p.between(-0.12, 0.12)
	if turned {
		tableZ += drift
	} else {
		tableX += drift
	}
	p.layRug(sofa.x+nx*(reach-0.15), sofa.z+nz*(reach-0.15), p.between(0.98, 1.12), turned)
	p.put("coffeetable", facing(at.wall), tableX, tableZ)

	p.armchair(at, tableX, tableZ)
	if p.hints.minimal {
		p.hang(at)
		return
	}
	p.beside(sofa, at, "floorlamp")
	p.storage(at, 45)
	if !p.hints.noPlants {
		p.corner("plant")
	}
	p.hang(at)
}

// armchair puts an armchair where it faces the table from the side that the sofa leaves open.
func (p *planner) armchair(at spot, tableX, tableZ float64) {
	side := p.either(-1, 1)
	switch at.wall {
	case leftWall:
		side = 1
	case rightWall:
		side = -1
	}
	yaw := p.either(40, 30)
	for range 8 {
		x := tableX + side*p.between(1.15, 1.45)*p.scale
		z := tableZ + p.between(-0.05, 0.5)*p.scale
		if at.wall != backWall {
			x = tableX + side*p.between(1.05, 1.35)*p.scale
			z = tableZ + p.between(-0.1, 0.8)*p.scale
		}
		if _, ok := p.put("armchair", side*yaw, x, z); ok {
			return
		}
		if at.wall == backWall {
			side = -side
		}
	}
}

// beside puts a piece that has no front next to one that stands at a wall.
func (p *planner) beside(item placement, at spot, piece string) {
	halfX, halfZ, _ := p.size(piece, 0)
	nx, _ := inward(at.wall)
	var spots [][2]float64
	for _, end := range []float64{-1, 1} {
		off := p.between(0.02, 0.15)
		x := item.x + end*(item.halfX+halfX+off)
		z := item.z + item.halfZ - halfZ - 0.05
		if at.wall != backWall {
			x = item.x - nx*(item.halfX-halfX)
			z = item.z + end*(item.halfZ+halfZ+off)
		}
		spots = append(spots, [2]float64{x, z})
	}
	p.putAtBarest(piece, spots)
}

// storage puts a sideboard or a bookshelf, whichever of the two is preferred or finds room, at another wall.
func (p *planner) storage(taken spot, shelfFirst int) {
	pieces := []string{"sideboard", "bookshelf"}
	if p.chance(shelfFirst) {
		pieces = []string{"bookshelf", "sideboard"}
	}
	var walls []wall
	for _, w := range p.wallsFrom(50) {
		if w != taken.wall {
			walls = append(walls, w)
		}
	}
	if len(walls) == 2 {
		walls = append(walls, taken.wall)
	}
	x, _ := p.focus()
	for _, w := range walls {
		for _, piece := range pieces {
			if _, at, ok := p.against(piece, []wall{w}, p.middle(x, p.back-0.9, 0.2)); ok {
				if piece == "sideboard" {
					p.hang(at)
				}
				return
			}
		}
	}
}

func bedroom(p *planner) {
	bed, at := p.hero("bed", p.wallsFrom(65))
	nx, nz := inward(at.wall)
	turned := at.wall != backWall
	p.layRug(bed.x+nx*0.55*p.scale, bed.z+nz*0.55*p.scale, p.between(1.05, 1.18), turned)
	for _, end := range []float64{-1, 1} {
		halfX, halfZ, _ := p.size("nightstand", facing(at.wall))
		gap := p.between(0.06, 0.12)
		x, z := bed.x+end*(bed.halfX+halfX+gap), bed.z+bed.halfZ-halfZ
		if turned {
			x, z = bed.x-nx*(bed.halfX-halfX), bed.z+end*(bed.halfZ+halfZ+gap)
		}
		p.put("nightstand", facing(at.wall), x, z)
	}
	p.hang(at)
	if p.hints.minimal {
		return
	}
	p.storage(at, 45)
	if p.chance(70) {
		side := p.either(-1, 1)
		for _, sign := range []float64{side, -side} {
			x := p.scene.right - 0.55
			if sign < 0 {
				x = p.scene.left + 0.55
			}
			if _, ok := p.put("armchair", sign*40, x, p.back-p.between(0.6, 1.6)); ok {
				break
			}
		}
	}
	if !p.hints.noPlants {
		p.corner("plant")
	}
	if p.chance(60) {
		p.corner("floorlamp")
	}
}

func diningRoom(p *planner) {
	x, z := p.focus()
	z += 0.15
	yaw := p.either(0, 90)
	if p.scene.right-p.scene.left < 3 || p.back-p.scene.near < 2.6 {
		yaw = 0
	}
	p.layRug(x, z, p.between(1.22, 1.34), yaw != 0)
	placed := false
	for range 10 {
		if _, placed = p.put("dining", yaw, x+p.between(-0.35, 0.35), z+p.between(-0.1, 0.5)); placed {
			break
		}
	}
	if !placed {
		p.force("dining", 0, x, z)
	}
	p.storage(spot{wall: -1}, 25)
	if p.hints.minimal {
		return
	}
	if !p.hints.noPlants {
		p.corner("plant")
	}
	if p.chance(60) {
		p.corner("floorlamp")
	}
	p.hang(spot{backWall, p.between(p.scene.left+0.8, p.scene.right-0.8)})
	if p.chance(50) {
		p.corner("armchair")
	}
}

func office(p *planner) {
	desk, at := p.hero("desk", p.wallsFrom(55))
	nx, nz := inward(at.wall)
	p.layRug(desk.x+nx*0.55, desk.z+nz*0.55, p.between(0.95, 1.08), at.wall != backWall)
	p.hang(at)
	for _, w := range p.wallsFrom(50) {
		if _, _, ok := p.against("bookshelf", []wall{w}, p.middle(desk.x, p.back-0.8, 0.2)); ok {
			break
		}
	}
	if p.hints.minimal {
		return
	}
	side := p.either(-1, 1)
	x, z := p.focus()
	for _, sign := range []float64{side, -side} {
		if _, ok := p.put("armchair", sign*40, x+sign*p.between(1.1, 1.7)*p.scale, z+p.between(0, 0.8)); ok {
			break
		}
	}
	if !p.hints.noPlants {
		p.corner("plant")
	}
	p.corner("floorlamp")
}

func kitchen(p *planner) {
	x, z := p.focus()
	yaw := 0.0
	if p.scene.right-p.scene.left > 3.4 {
		yaw = p.either(0, 90)
	}
	placed := false
	for range 10 {
		if _, placed = p.put("island", yaw, x+p.between(-0.4, 0.4), z+p.between(0.1, 0.6)); placed {
			break
		}
	}
	if !placed {
		p.force("island", 0, x, z)
	}
	p.storage(spot{wall: -1}, 0)
	if p.hints.minimal {
		return
	}
	if !p.hints.noPlants {
		p.corner("plant")
	}
	p.hang(spot{backWall, p.between(p.scene.left+0.8, p.scene.right-0.8)})
}
