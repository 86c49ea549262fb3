#!/bin/sh
# Renders all pictures of the staging example from the scenes in this folder: the empty rooms in ../rooms and the
# furniture in ../localmodel/sprites. Nobody needs to run it to use the example; the results are checked in.
#
# It needs Go and, from Debian, povray and webp (cwebp). One core takes about an hour.
#
#   ./render.sh                      everything
#   ./render.sh rooms                only the rooms
#   ./render.sh sprites              only the furniture
#   ./render.sh sprites sofa rug     only these pieces; "sofa-modern" for one style of a piece
#
# WORK is where what lies in between is kept. With REUSE=1, renderings that are there already are taken again, so that
# a change of bake alone takes a minute.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-$(mktemp -d)}
sprites=$here/../localmodel/sprites
mkdir -p "$work" "$sprites"
cd "$here"
go build -o "$work/bake" ./bake

# room NAME OUT EXPOSURE: a linear rendering of 16 bits, developed like a photograph
room() {
	povray "+Irooms/$1.pov" +L. Declare=Final=1 +W1600 +H1067 +FN16 File_Gamma=1.0 "+O$work/$1.png" +WT1 -D -V +A0.1
	"$work/bake" develop "$work/$1.png" "../rooms/$2.jpg" "$3"
}

what=${1:-all}
if [ "$what" = all ] || [ "$what" = rooms ]; then
	room living living-room 5.0
	room bedroom bedroom 3.4
fi
if [ "$what" = all ] || [ "$what" = sprites ]; then
	[ $# -gt 0 ] && shift
	"$work/bake" sprites "$here" "$work" "$sprites" "$@"
fi
