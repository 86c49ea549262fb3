package stage

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// jpegProgressive is a progressive JPEG whose components have these sampling factors. All of it is gray, so that a pixel
// takes next to nothing.
func jpegProgressive(width, height int, factors ...byte) []byte {
	table := func(class byte) []byte { // one code, of one bit, for zero
		return slices.Concat([]byte{0xFF, 0xC4, 0, 20, class, 1}, make([]byte, 16))
	}
	count := byte(len(factors))
	frame := []byte{0xFF, 0xC2, 0, 8 + 3*count, 8, byte(height >> 8), byte(height), byte(width >> 8), byte(width), count}
	scan := []byte{0xFF, 0xDA, 0, 6 + 2*count, count}
	blocks := 0
	for i, factor := range factors {
		frame = append(frame, byte(i+1), factor, 0)
		scan = append(scan, byte(i+1), 0)
		blocks += int(factor>>4) * int(factor&15)
	}
	scan = append(scan, 0, 0, 0)
	across, down := 8*int(factors[0]>>4), 8*int(factors[0]&15)
	bits := blocks * ((width + across - 1) / across) * ((height + down - 1) / down)
	return slices.Concat([]byte{0xFF, 0xD8}, []byte{0xFF, 0xDB, 0, 67, 0}, bytes.Repeat([]byte{1}, 64),
		frame, table(0x00), scan, make([]byte, bits/8+1), []byte{0xFF, 0xD9})
}

// with puts something behind the first bytes of a JPEG.
func with(photo []byte, segments ...string) []byte {
	result := slices.Clone(photo[:2])
	for _, segment := range segments {
		result = append(result, segment...)
	}
	return append(result, photo[2:]...)
}

const (
	segmentJFIF    = "\xFF\xE0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
	segmentNotJFIF = "\xFF\xE0\x00\x07JFXX\x00"
	segmentAdobe   = "\xFF\xEE\x00\x0EAdobe\x00\x64\x00\x00\x00\x00\x00"
)

func pngOf(t *testing.T, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

// A picture weighs what it takes to decode it: no decoder takes more, whatever whoever made the file was up to.
func TestWeight(t *testing.T) {
	const side = 800
	square := image.Rect(0, 0, side, side)
	deep := image.NewNRGBA64(square)
	deep.Set(1, 1, color.NRGBA64{R: 1, A: 2})
	for _, row := range []struct {
		name   string
		data   []byte
		pixels float64 // that a pixel weighs
	}{
		{"a photo", jpegRoom(side, side), 1},
		{"a drawing", pngRoom(side, side), 1},
		{"gray", pngOf(t, image.NewGray(square)), 1},
		{"gray of 16 bits", pngOf(t, image.NewGray16(square)), 2},
		{"16 bits a channel", pngOf(t, deep), 2},
		{"one row", pngOf(t, image.NewNRGBA64(image.Rect(0, 0, 100_000, 1))), 6},
		{"progressive, 4:2:0", jpegProgressive(side, side, 0x22, 0x11, 0x11), 1.875},
		{"progressive, 4:4:4", jpegProgressive(side, side, 0x11, 0x11, 0x11), 3.75},
		{"progressive, gray", jpegProgressive(side, side, 0x11), 1.25},
		{"progressive, gray with factors", jpegProgressive(side, side, 0x22), 1.25},
		{"progressive, CMYK", with(jpegProgressive(side, side, 0x11, 0x11, 0x11, 0x11), segmentAdobe), 6},
		{"progressive, RGB", with(jpegProgressive(side, side, 0x11, 0x11, 0x11), segmentAdobe), 4.75},
		{"not RGB", with(jpegProgressive(side, side, 0x11, 0x11, 0x11), segmentAdobe, segmentJFIF), 3.75},
		{"RGB after all", with(jpegProgressive(side, side, 0x11, 0x11, 0x11), segmentJFIF, segmentAdobe, segmentNotJFIF), 4.75},
		{"progressive, behind what is skipped", with(jpegProgressive(side, side, 0x11, 0x11, 0x11), "\x00\x01\xFF\x00\xFF\xD0\xFF\xFF"), 3.75},
	} {
		t.Run(row.name, func(t *testing.T) {
			img, problem := inspect(row.data)
			require.NoError(t, problem)
			assert.InEpsilon(t, row.pixels, float64(weightOf(img))/float64(img.Width*img.Height), 0.01)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode(img)
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(bytesOfPixel*weightOf(img)+200_000))
		})
	}
}

// What isn't decoded here, as no encoder is at hand.
func TestWeightByHeader(t *testing.T) {
	interlaced := pngRoom(100, 100)
	interlaced[28] = 1
	assert.InEpsilon(t, 15_000, weightOf(Image{interlaced, "image/png", 100, 100, 1}), 0.02)

	large := func(name string, size int) []byte {
		return slices.Concat([]byte("RIFF\x00\x00\x00\x00WEBP"), []byte(name), []byte{byte(size), byte(size >> 8), byte(size >> 16), 0}, make([]byte, size))
	}
	for _, row := range []struct {
		name   string
		size   int
		weight int64
	}{{"VP8 ", 1 << 20, 1_000_000}, {"VP8L", 1000, 1_250_000 + 1_755_000 + 72_000}, {"VP8L", 1 << 20, 1_250_000 + webpTrees/4}, {"ALPH", 1000, 1_875_000 + 1_755_000 + 72_000}} {
		assert.Equal(t, row.weight, weightOf(Image{large(row.name, row.size), "image/webp", 1000, 1000, 1}), row.name)
	}
	for _, mediaType := range []string{"image/jpeg", "image/png", "image/webp", "image/gif"} {
		for _, data := range []string{"", "\xFF\xD8\xFF\xC2", "\xFF\xD8\xFF\xC2\x00\x0A\x08\x00\x01\x00\x01\x01\x01\x00", "RIFF\x00\x00\x00\x00WEBPVP8L"} {
			assert.EqualValues(t, 12, weightOf(Image{[]byte(data), mediaType, 4, 3, 1}), mediaType)
		}
	}
}

// Who sends a small file cannot have more decoded at once than the budget says.
func TestPixelBudgetOfHeavyPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := &meter{}
		cfg := working()
		cfg.Source, cfg.Model, cfg.PixelBudget = sourceOf(jpegProgressive(5000, 5000, 0x11, 0x11, 0x11)), model, 90_000_000
		assert.Equal(t, 4*time.Second, together(t, cfg, 4))
		assert.EqualValues(t, 1, model.mostJob)
	})
}
