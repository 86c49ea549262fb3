// bedroom.pov: an empty bedroom, the camera turned 20 degrees to the right. The window is in the right wall,
// the door in the far one.
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
RoomCamera(<-0.75, EyeHeight, 0>, 20, 0.42, 1.5)

#declare L = -2.3; #declare R = 2.2; #declare D = 4.75; #declare Front = -0.6; #declare H = 2.58; #declare T = 0.34;
#declare Wall = texture { pigment { rgb <0.82, 0.81, 0.785> } normal { granite 0.015 scale 0.08 } finish { diffuse 0.86 } }
#declare Accent = texture { pigment { rgb <0.50, 0.545, 0.50> } normal { granite 0.015 scale 0.08 } finish { diffuse 0.86 } }
#declare Ceiling = texture { pigment { rgb 0.88 } finish { diffuse 0.86 } }

Boards(L, R, Front, D, 0.19, 2.1, <0.60, 0.47, 0.335>, <0.40, 0.29, 0.19>, 0.25, 11)
box { <L - T, H, Front - T>, <R + T, H + 0.2, D + T> texture { Ceiling } }
box { <L - T, 0, Front - T>, <L, H, D + T> texture { Wall } }
box { <L - T, 0, Front - T>, <R + T, H, Front> texture { Wall } }

// far wall: painted, with the door on the left
box { <L - T, 0, D>, <R + T, H, D + T> texture { Accent } }
object { Door(0.86, 2.02, 0.78) translate <L + 0.28, 0, D> }

// right wall, with its window
#declare VZ = 2.15; #declare VW = 1.6; #declare VY = 0.85; #declare VH = 1.4;
difference {
  box { <R, -0.1, Front - T>, <R + T, H, D + T> }
  box { <R - 1, VY, VZ>, <R + 1, VY + VH, VZ + VW> }
  texture { Wall }
}
object { Window(VW, VH, T, 2) rotate 90*y translate <R, VY, VZ + VW> }
object { Radiator(1.2, 0.14, 0.52) rotate 90*y translate <R, 0, VZ + VW - 0.2> }

Skirting(<L, 0, D>, <L + 0.2, 0, D>, -z, 0.08)
Skirting(<L + 1.22, 0, D>, <R, 0, D>, -z, 0.08)
Skirting(<L, 0, Front>, <L, 0, D>, x, 0.08)
Skirting(<R, 0, Front>, <R, 0, D>, -x, 0.08)
object { Socket translate <L + 1.45, 0.3, D> }
object { Socket translate <L + 1.38, 1.08, D> }
object { Socket translate <R - 0.35, 0.3, D> }

Outside(1.9, 0.34)
// daylight: the window, and a balcony door beside the camera
light_source { <R - 0.02, VY + VH/2, VZ + VW/2> rgb <1.0, 1.02, 1.05>*1.1
  area_light z*VW, y*VH, 11, 11 adaptive 2 jitter area_illumination on
  spotlight point_at <L, VY + VH/2, VZ + VW/2> radius 0 falloff 89 tightness 1 fade_distance 1.4 fade_power 2 }
light_source { <R + T + 0.15, VY + VH*0.6, VZ + VW/2> rgb <1.0, 1.02, 1.05>*0.5
  area_light z*VW, y*VH, 11, 11 adaptive 2 jitter area_illumination on
  spotlight point_at <L, VY + VH/2, VZ + VW/2> radius 0 falloff 89 tightness 1 fade_distance 1.0 fade_power 2 }
light_source { <R - 0.02, 1.5, 0.3> rgb <1.0, 1.0, 1.0>*1.0
  area_light z*1.4, y*1.8, 11, 11 adaptive 2 jitter area_illumination on
  spotlight point_at <L, 1.5, 0.3> radius 0 falloff 89 tightness 1 fade_distance 1.4 fade_power 2 }
