package localmodel

import (
	"image"
	"image/jpeg"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sample(t *testing.T, name string, side int) *image.RGBA {
	t.Helper()
	file, err := os.Open("../rooms/" + name)
	require.NoError(t, err)
	defer file.Close()
	photo, err := jpeg.Decode(file)
	require.NoError(t, err)
	return flatten(photo, side)
}

// The bundled rooms were made by us, so that we know what there is to find: see ../art/rooms.
func TestTheBundledRoomsAreUnderstood(t *testing.T) {
	t.Parallel()
	rows := []struct {
		file              string
		turned            float64 // degrees to the right
		horizon           float64 // of the height
		left, right, back float64 // relative to the camera
	}{
		{"living-room.jpg", 0, 0.43, -2.55, 2.45, 5.7},
		{"bedroom.jpg", 20, 0.42, -1.55, 2.95, 4.75},
	}
	for _, row := range rows {
		t.Run(row.file, func(t *testing.T) {
			s := perceive(sample(t, row.file, MaxSide))
			assert.InDelta(t, row.turned, math.Atan2(s.cam.sin, s.cam.cos)*180/math.Pi, 2, "turned")
			assert.InDelta(t, row.horizon, s.cam.horizon/float64(s.height), 0.012, "horizon")
			assert.InDelta(t, row.back, s.back, 0.35, "far wall")
			assert.InDelta(t, row.right, s.right, 0.3, "right wall")
			if row.turned == 0 { // turned to the right, the left wall's foot isn't in the picture
				assert.InDelta(t, row.left, s.left, 0.3, "left wall")
			}
		})
	}
}

func TestFurnitureChangesTheFloorMoreThanTheCeiling(t *testing.T) {
	t.Parallel()
	stock, err := openCatalogue(embedded)
	require.NoError(t, err)
	for _, file := range []string{"living-room.jpg", "bedroom.jpg"} {
		for i := range rooms {
			canvas := sample(t, file, 420)
			empty := append([]uint8(nil), canvas.Pix...)
			s := perceive(canvas)
			placed := arrange(s, &rooms[i], &styles[i%len(styles)], hints{}, stock, rand.New(rand.NewPCG(4, uint64(i))))
			require.NoError(t, paintFloor(canvas, s, placed, stock))
			require.NoError(t, paintFurniture(t.Context(), canvas, s, placed, stock))

			above, below, ceiling := 0, 0, 0
			for y := range s.height {
				for x := range s.width {
					k := canvas.PixOffset(x, y)
					d := math.Abs(float64(canvas.Pix[k]) - float64(empty[k]))
					if d < 8 {
						continue
					}
					switch {
					case float64(y) > s.cam.horizon:
						below++
					default:
						above++
					}
					if y < s.height/8 {
						ceiling++
					}
				}
			}
			assert.Greater(t, below, 3*above, "%s as %s", file, rooms[i].Name)
			assert.Greater(t, float64(below), 0.12*float64(s.width*s.height), "%s as %s", file, rooms[i].Name)
			assert.Zero(t, ceiling, "%s as %s", file, rooms[i].Name)
		}
	}
}

func TestNothingStandsInAnythingElse(t *testing.T) {
	t.Parallel()
	stock, err := openCatalogue(embedded)
	require.NoError(t, err)
	s := perceive(sample(t, "living-room.jpg", 640))
	for seed := range uint64(16) {
		for i := range rooms {
			placed := arrange(s, &rooms[i], &styles[seed%4], hints{}, stock, rand.New(rand.NewPCG(seed, uint64(i))))
			var standing []placement
			for _, item := range placed {
				if item.kind == furniture {
					standing = append(standing, item)
				}
			}
			require.NotEmpty(t, standing)
			assert.GreaterOrEqual(t, len(standing), 2, "%s, seed %d", rooms[i].Name, seed)
			for j, a := range standing {
				for _, b := range standing[:j] {
					apart := math.Max(math.Abs(a.x-b.x)-a.halfX-b.halfX, math.Abs(a.z-b.z)-a.halfZ-b.halfZ)
					assert.Greater(t, apart, -0.05, "%s, seed %d: %s and %s", rooms[i].Name, seed, a.sprite.Piece, b.sprite.Piece)
				}
			}
		}
	}
}

func TestCameraMapsThereAndBack(t *testing.T) {
	t.Parallel()
	c := newCamera(1600, 1067, 450, 380)
	for _, p := range [][2]float64{{0, 3}, {-1.4, 4.2}, {2, 5}} {
		u, v, _, ok := c.project(p[0], 0, p[1])
		require.True(t, ok)
		x, z, ok := c.onFloor(u, v)
		require.True(t, ok)
		assert.InDelta(t, p[0], x, 1e-9)
		assert.InDelta(t, p[1], z, 1e-9)
	}
	_, _, ok := c.onFloor(800, 450)
	assert.False(t, ok, "the horizon is not on the floor")
}

func TestEveryStyleHasEveryPiece(t *testing.T) {
	t.Parallel()
	stock, err := openCatalogue(embedded)
	require.NoError(t, err)
	pieces := map[string]int{}
	for _, s := range stock.sprites {
		pieces[s.Piece]++
	}
	assert.GreaterOrEqual(t, len(pieces), 14)
	for piece, count := range pieces {
		for _, style := range styles {
			assert.Len(t, stock.all(piece, style.Name), count/len(styles), "%s, %s", piece, style.Name)
		}
	}
}

func TestTheEmbeddedPicturesStaySmall(t *testing.T) {
	t.Parallel()
	total := int64(0)
	require.NoError(t, fs.WalkDir(embedded, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		assert.Less(t, info.Size(), int64(500_000), path)
		total += info.Size()
		return err
	}))
	assert.Less(t, total, int64(4_000_000))
}

func TestPromptsAreRead(t *testing.T) {
	t.Parallel()
	assert.Equal(t, hints{}, readPrompt(""))
	assert.Equal(t, hints{}, readPrompt("a nice place with plants and a rug"))
	assert.Equal(t, hints{warmth: 1, light: 1}, readPrompt("Warm, bright!"))
	assert.Equal(t, hints{noRug: true, noPlants: true, minimal: true, light: -1}, readPrompt("minimalist, dark, no rug and without plants"))
}

func TestAGradeOfNothingChangesNothing(t *testing.T) {
	t.Parallel()
	canvas := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range canvas.Pix {
		canvas.Pix[i] = uint8(i)
	}
	before := append([]uint8(nil), canvas.Pix...)
	grade{exposure: 1, saturation: 1}.apply(canvas)
	for i := range before {
		assert.InDelta(t, before[i], canvas.Pix[i], 1)
	}
}
