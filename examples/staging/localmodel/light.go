package localmodel

import "math"

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
