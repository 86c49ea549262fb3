package localmodel

import "math"

const (
	eyeHeight     = 1.5  // metres above the floor: how the furniture was rendered, and what pictures are assumed to be
	focalPerWidth = 0.65 // focal length over the picture's longest side
)

// camera maps between a picture and its room. The room's axes follow its walls: x to the right, y up, z away from
// the viewer; the eye is at (0, eyeHeight, 0). The camera is turned about the vertical only; a horizon off the
// middle is taken for a shifted lens, so that verticals stay vertical.
type camera struct {
	focal    float64 // pixels
	middle   float64 // column of the line of sight
	horizon  float64 // row
	sin, cos float64 // of how far the camera is turned to the right of the room's z axis
}

func newCamera(width, height int, horizon, vanishing float64) camera {
	c := camera{
		focal:   focalPerWidth * float64(max(width, height)),
		middle:  float64(width) / 2,
		horizon: horizon,
	}
	c.sin, c.cos = math.Sincos(math.Atan2(c.middle-vanishing, c.focal))
	return c
}

// scaled is the same camera for the picture scaled by f.
func (c camera) scaled(f float64) camera {
	c.focal *= f
	c.middle *= f
	c.horizon *= f
	return c
}

// project returns where a point of the room is in the picture. depth is its distance along the line of sight; what
// isn't well before the camera has ok false.
func (c camera) project(x, y, z float64) (u, v, depth float64, ok bool) {
	across := x*c.cos - z*c.sin
	depth = x*c.sin + z*c.cos
	if depth < 0.05 {
		return 0, 0, depth, false
	}
	return c.middle + c.focal*across/depth, c.horizon + c.focal*(eyeHeight-y)/depth, depth, true
}

// ray returns the direction of a pixel in the room's axes, not normalised.
func (c camera) ray(u, v float64) (x, y, z float64) {
	across := (u - c.middle) / c.focal
	return across*c.cos + c.sin, (c.horizon - v) / c.focal, c.cos - across*c.sin
}

// onFloor returns the point of the floor that a pixel shows; ok is false at and above the horizon.
func (c camera) onFloor(u, v float64) (x, z float64, ok bool) {
	dx, dy, dz := c.ray(u, v)
	if dy > -1e-4 {
		return 0, 0, false
	}
	t := -eyeHeight / dy
	return dx * t, dz * t, true
}

func clamp(v, lo, hi float64) float64 {
	if !(v > lo) { // NaN too
		return lo
	}
	return math.Min(v, hi)
}
