// living.pov: an empty living room, seen straight on. The window is in the far wall, a second one lights it from the left.
#version 3.7;
#ifndef (Final) #declare Final = 0; #end
global_settings {
  assumed_gamma 1.0
  max_trace_level 6
  radiosity {
    pretrace_start 0.08 pretrace_end (Final ? 0.008 : 0.02)
    count (Final ? 320 : 90) nearest_count (Final ? 14 : 6) error_bound (Final ? 0.40 : 0.8)
    recursion_limit 3 low_error_factor 0.5 gray_threshold 0.1 minimum_reuse (Final ? 0.006 : 0.012) brightness 1.0
  }
}
#include "common.inc"
#include "rooms/parts.inc"
RoomCamera(<0, EyeHeight, 0>, 0, 0.43, 1.5)

#declare L = -2.55; #declare R = 2.45; #declare D = 5.7; #declare Front = -0.6; #declare H = 2.68; #declare T = 0.32;
#declare Wall = texture { pigment { rgb <0.80, 0.785, 0.75> } normal { granite 0.015 scale 0.08 } finish { diffuse 0.86 } }
#declare Ceiling = texture { pigment { rgb 0.88 } finish { diffuse 0.86 } }

Boards(L, R, Front, D, 0.145, 1.7, <0.46, 0.285, 0.155>, <0.27, 0.15, 0.072>, 0.35, 7)
box { <L - T, H, Front - T>, <R + T, H + 0.2, D + T> texture { Ceiling } }
box { <R, 0, Front - T>, <R + T, H, D + T> texture { Wall } }
box { <L - T, 0, Front - T>, <R + T, H, Front> texture { Wall } }

// far wall, with its window
#declare WX = -1.55; #declare WW = 1.9; #declare WY = 0.88; #declare WH = 1.42;
difference {
  box { <L - T, -0.1, D>, <R + T, H, D + T> }
  box { <WX, WY, D - 1>, <WX + WW, WY + WH, D + 1> }
  texture { Wall }
}
object { Window(WW, WH, T, 2) translate <WX, WY, D> }
object { Radiator(1.5, 0.14, 0.56) translate <WX + 0.2, 0, D> }

// left wall: a tall window behind the picture's edge that lets most of the light in
#declare VZ = 0.5; #declare VW = 2.0;
difference {
  box { <L - T, -0.1, Front - T>, <L, H, D + T> }
  box { <L - 1, 0.5, VZ>, <L + 1, 2.35, VZ + VW> }
  texture { Wall }
}
object { Window(VW, 1.85, T, 2) rotate -90*y translate <L, 0.5, VZ> }

// right wall: the door
object { Door(0.88, 2.04, 0.8) rotate 90*y translate <R, 0, 5.35> }

Skirting(<L, 0, D>, <R, 0, D>, -z, 0.09)
Skirting(<L, 0, Front>, <L, 0, D>, x, 0.09)
Skirting(<R, 0, Front>, <R, 0, 4.39>, -x, 0.09)
Skirting(<R, 0, 5.43>, <R, 0, D>, -x, 0.09)
object { Socket translate <1.2, 0.3, D> }
object { Socket rotate 90*y translate <R, 0.3, 4.1> }
object { Socket rotate 90*y translate <R, 1.08, 4.2> }

Outside(1.9, 0.34)
// daylight: the windows themselves shine, so that their frames cast no hard stripes
light_source { <WX + WW/2, WY + WH/2, D - 0.02> rgb <1.0, 1.03, 1.08>*0.6
  area_light x*WW, y*WH, 11, 11 adaptive 2 jitter area_illumination on
  spotlight point_at <WX + WW/2, WY + WH/2, 0> radius 0 falloff 89 tightness 1 fade_distance 1.4 fade_power 2 }
light_source { <WX + WW/2, WY + WH*0.6, D + T + 0.15> rgb <1.0, 1.03, 1.08>*0.34
  area_light x*WW, y*WH, 11, 11 adaptive 2 jitter area_illumination on
  spotlight point_at <WX + WW/2, WY + WH/2, 0> radius 0 falloff 89 tightness 1 fade_distance 1.0 fade_power 2 }
light_source { <L + 0.02, 1.45, VZ + VW/2> rgb <1.0, 1.0, 1.02>*1.08
  area_light z*VW, y*1.8, 11, 11 adaptive 2 jitter area_illumination on
  spotlight point_at <R, 1.45, VZ + VW/2> radius 0 falloff 89 tightness 1 fade_distance 1.4 fade_power 2 }
