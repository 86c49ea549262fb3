package localmodel

import (
	"math"
	"slices"
)

// light is how a picture is lit.
type light struct {
	white    [3]float64 // what white paint would be, in linear light
	fromLeft float64    // -1..1: how much more comes from the left
	across   float64    // x and z of the direction it comes from, as seen from the room's middle
	along    float64
	floor    float64 // the floor's middling luminance
}

func (s *scene) readLight() light {
	values := make([]float64, len(s.small.pix))
	for i, p := range s.small.pix {
		values[i] = luminance(p)
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	at := func(q float64) float64 { return sorted[int(q*float64(len(sorted)-1))] }

	l := light{floor: s.floorLuminance(values)}
	l.white = s.whitePaint(values, at(0.55), math.Max(at(0.92), at(0.55)+1e-6))
	l.fromLeft = s.lightFromLeft(values, math.Max(at(0.97), 0.3))
	l.across = -l.fromLeft
	l.along = math.Sqrt(1 - l.fromLeft*l.fromLeft)
	return l
}

// whitePaint is the mean colour of the brighter, not burnt-out part of the picture: what lies between two luminances.
func (s *scene) whitePaint(values []float64, low, high float64) (white [3]float64) {
	count := 0.0
	for i, p := range s.small.pix {
		if values[i] < low || values[i] > high {
			continue
		}
		for k := range white {
			white[k] += float64(p[k])
		}
		count++
	}
	level := 0.0
	for k := range white {
		white[k] /= math.Max(count, 1)
		level += white[k] / 3
	}
	level = math.Max(level, 1e-4)
	for k := range white {
		// half of the tint is the light's, the other half the paint's
		tint := 1 + 0.5*(white[k]/level-1)
		white[k] = level * clamp(tint, 0.8, 1.2)
	}
	return white
}

// lightFromLeft weighs where the brightest spots are, windows most likely, with which half of the room is brighter.
func (s *scene) lightFromLeft(values []float64, glare float64) float64 {
	t := s.small
	var glareX, glareWeight, left, right float64
	for y := range t.h {
		upright := float64(y) > 0.2*float64(t.h) && float64(y) < s.smallCam.horizon+0.15*float64(t.h) // no ceiling, little floor
		for x := range t.w {
			value := values[y*t.w+x]
			position := (float64(x)+0.5)/float64(t.w)*2 - 1
			if value >= glare && upright {
				glareX += position
				glareWeight++
			}
			if position < 0 {
				left += value
			} else {
				right += value
			}
		}
	}
	fromLeft := 2.2 * (left - right) / math.Max(left+right, 1e-6)
	if glareWeight > 0 {
		fromLeft -= 0.8 * glareX / glareWeight
	}
	return clamp(fromLeft, -0.8, 0.8)
}

func (s *scene) floorLuminance(values []float64) float64 {
	var floor []float64
	for y := int(s.smallCam.horizon) + 1; y < s.small.h; y += 3 {
		for x := 0; x < s.small.w; x += 3 {
			if fx, fz, ok := s.smallCam.onFloor(float64(x), float64(y)); ok && fx > s.left && fx < s.right && fz < s.back {
				floor = append(floor, values[y*s.small.w+x])
			}
		}
	}
	if len(floor) == 0 {
		return 0.2
	}
	slices.Sort(floor)
	return math.Max(floor[len(floor)/2], 1e-4)
}

// gain is what the colours of a piece of furniture, standing on a spot of this size, are multiplied with in linear light.
func (s *scene) gain(x, z, radius float64) [3]float64 {
	sum, count := 0.0, 0.0
	for i := -2; i <= 2; i++ {
		for j := -2; j <= 2; j++ {
			u, v, _, ok := s.smallCam.project(x+radius*float64(i)/2, 0, clamp(z+radius*float64(j)/2, s.near, s.back-0.05))
			if ok && s.small.inside(u, v) {
				sum += luminance(s.small.at(u, v))
				count++
			}
		}
	}
	local := 1.0
	if count > 0 {
		local = clamp(math.Pow(sum/count/s.light.floor, 0.5), 0.7, 1.3)
	}
	const ordinaryWhite = 0.60 // of a well-exposed room
	var gain [3]float64
	for k := range 3 {
		gain[k] = clamp(local*math.Pow(s.light.white[k]/ordinaryWhite, 0.8), 0.04, 1.35)
	}
	return gain
}

// toLinear turns an sRGB byte into linear light.
var toLinear = func() (table [256]float32) {
	for i := range table {
		v := float64(i) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		table[i] = float32(v)
	}
	return table
}()

// displayed turns linear light into an sRGB value, both 0..1.
func displayed(light float64) float64 {
	switch {
	case light <= 0:
		return 0
	case light <= 0.0031308:
		return 12.92 * light
	}
	return 1.055*math.Pow(light, 1/2.4) - 0.055
}
