package stage

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// room draws a picture that compresses to something with long scans.
func room(width, height int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, color.RGBA{R: uint8(x * 5), G: uint8(y * 7), B: uint8(x * y), A: 255})
		}
	}
	return img
}

func jpegRoom(width, height int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, room(width, height), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func pngRoom(width, height int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, room(width, height)); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// pngBomb claims a size and has next to no data.
func pngBomb(width, height uint32) []byte {
	header := binary.BigEndian.AppendUint32(nil, width)
	header = append(binary.BigEndian.AppendUint32(header, height), 8, 6, 0, 0, 0)
	return slices.Concat([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", header), pngChunk("IDAT", nil), pngChunk("IEND", nil))
}

func pngChunk(kind string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func unbase64(s string) []byte {
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return data
}

// One pixel each, as the reference encoder writes it.
var (
	webpLossy    = unbase64("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
	webpLossless = unbase64("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
)

func webpExtended(width, height int) []byte {
	body := []byte{0, 0, 0, 0, byte(width - 1), byte((width - 1) >> 8), byte((width - 1) >> 16),
		byte(height - 1), byte((height - 1) >> 8), byte((height - 1) >> 16)}
	b := append([]byte("RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00"), body...)
	return b
}

// withThumbnail puts a whole small JPEG into an EXIF segment, as cameras do.
func withThumbnail(data []byte) []byte {
	thumbnail := append([]byte("Exif\x00\x00"), jpegRoom(8, 8)...)
	segment := binary.BigEndian.AppendUint16([]byte{0xFF, 0xE1}, uint16(len(thumbnail)+2))
	return slices.Concat(data[:2], segment, thumbnail, data[2:])
}

func TestInspect(t *testing.T) {
	photo, drawing := jpegRoom(64, 48), pngRoom(40, 30)
	for _, row := range []struct {
		name          string
		data          []byte
		mediaType     string
		width, height int
	}{
		{"jpeg", photo, "image/jpeg", 64, 48},
		{"jpeg with a thumbnail", withThumbnail(photo), "image/jpeg", 64, 48},
		{"jpeg with a video behind it", append(slices.Clone(photo), "\x00\x00\x00\x18ftypmp42 and so on"...), "image/jpeg", 64, 48},
		{"jpeg that is a zip archive, too", append(slices.Clone(photo), "PK\x05\x06"+string(make([]byte, 18))...), "image/jpeg", 64, 48},
		{"png", drawing, "image/png", 40, 30},
		{"png with a page behind it", append(slices.Clone(drawing), "<script>"...), "image/png", 40, 30},
		{"webp, lossy", webpLossy, "image/webp", 1, 1},
		{"webp, lossless", webpLossless, "image/webp", 1, 1},
		{"webp, extended", webpExtended(4000, 70_000), "image/webp", 4000, 70_000},
		{"gif, which has no decoder here", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), "image/gif", 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			img, err := inspect(row.data)
			require.NoError(t, err)
			assert.Equal(t, Image{row.data, row.mediaType, row.width, row.height, 1}, img)
		})
	}
}

// flat makes a JPEG's height zero.
func flat(photo []byte) []byte {
	photo = slices.Clone(photo)
	frame := bytes.Index(photo, []byte{0xFF, 0xC0})
	copy(photo[frame+5:], []byte{0, 0})
	return photo
}

func TestInspectRefuses(t *testing.T) {
	photo := jpegRoom(64, 48)
	for _, row := range []struct {
		name, problem string
		data          []byte
	}{
		{"nothing", "it is empty", nil},
		{"a page", "it looks like text/html", []byte("<!DOCTYPE html><title>404</title>")},
		{"a page with a photo in it", "it looks like text/html", append([]byte("<html>"), photo...)},
		{"a vector drawing", "it looks like text/", []byte(`<?xml version="1.0"?><svg onload="alert(1)"/>`)},
		{"an archive", "it looks like application/zip", append([]byte("PK\x03\x04"), photo...)},
		{"noise", "it looks like application/octet-stream", []byte{0, 1, 2, 3}},
		{"the end of a photo", "it looks like", photo[10:]},
		{"a photo with a hundred scans more", "more than 100 scans", slices.Concat(photo[:len(photo)-2],
			bytes.Repeat([]byte{0xFF, 0xDA, 0, 2, 0}, 100), []byte{0xFF, 0xD9})},
		{"a photo without lines", "it has no pixels", flat(photo)},
		{"webp that says to be larger than an integer", "webp: invalid format", webpExtended(1<<24, 1<<24)},
		{"a photo without a scan", "missing SOS", append(slices.Clone(photo[:bytes.Index(photo, []byte{0xFF, 0xDA})]), 0xFF, 0xD9)},
		{"a drawing without data", "cut short", slices.Concat(pngBomb(1, 1)[:33], pngChunk("IEND", nil))},
		{"webp of an unknown kind", "invalid WebP header", append([]byte("RIFF\x16\x00\x00\x00WEBPVP9 "), make([]byte, 20)...)},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := inspect(row.data)
			require.ErrorContains(t, err, row.problem)
		})
	}
}

// Wherever an upload is cut, it is noticed.
func TestInspectNoticesEveryCut(t *testing.T) {
	for name, data := range map[string][]byte{
		"jpeg": jpegRoom(64, 48), "jpeg with a thumbnail": withThumbnail(jpegRoom(64, 48)), "png": pngRoom(20, 15),
		"webp": webpLossy, "webp lossless": webpLossless, "webp extended": webpExtended(3, 4),
	} {
		for size := range data {
			_, err := inspect(data[:size])
			require.Error(t, err, "%s cut to %d of %d bytes", name, size, len(data))
		}
	}
}

// FuzzInspect: it never panics, and what decodes is never refused, has the size that it says, and can be turned. (But for
// a JPEG of a hundred scans and more and a WebP that lacks what comes behind its picture: the decoders don't mind.)
func FuzzInspect(f *testing.F) {
	for _, data := range [][]byte{
		jpegRoom(16, 8), withThumbnail(jpegRoom(9, 9)), pngRoom(5, 7), pngBomb(1<<31-1, 1<<31-1),
		webpLossy, webpLossless, webpExtended(2, 2), []byte("GIF89a"), []byte("\xff\xd8\xff\xff\xff"),
		jpegTurned(jpegRoom(16, 8), exifOf(binary.BigEndian, 6)), jpegTurned(jpegRoom(16, 8), exifOf(binary.LittleEndian, 8)),
		pngTurned(pngRoom(5, 7), exifOf(binary.BigEndian, 5)), webpTurned(webpLossy, exifOf(binary.LittleEndian, 3)),
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, problem := inspect(data)
		if problem == nil {
			require.Regexp(t, "^image/[a-z0-9.+-]+$", got.MediaType)
			require.False(t, got.Width < 0 || got.Height < 0)
			require.True(t, got.Orientation >= 1 && got.Orientation <= 8)
		}
		config, _, err := image.DecodeConfig(bytes.NewReader(data))
		if pixels := config.Width * config.Height; err != nil || pixels == 0 || pixels > 1<<20 {
			return
		}
		if errors.Is(problem, errScans) {
			return
		}
		decoded, format, err := image.Decode(bytes.NewReader(data))
		seen, decodeErr := Decode(Image{Data: data})
		require.Equal(t, err == nil, decodeErr == nil)
		if err != nil {
			return
		}
		if format == "webp" && errors.Is(problem, errTruncated) {
			return
		}
		require.NoError(t, problem)
		size := decoded.Bounds().Size()
		got.Data = nil // in a failure it would be all that one sees
		require.Equal(t, Image{nil, "image/" + format, size.X, size.Y, got.Orientation}, got)
		width, height := got.Size()
		require.Equal(t, image.Pt(width, height), seen.Bounds().Size())
	})
}

func BenchmarkInspect(b *testing.B) {
	for _, size := range []int{1000, 4000} {
		data := jpegRoom(size, size)
		b.Run(fmt.Sprintf("%d KiB", len(data)>>10), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := inspect(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
