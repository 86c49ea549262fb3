package stage

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// The picture that cameras store in eight ways, as in the EXIF standard: an F.
var letterF = []string{"####", "#   ", "### ", "#   ", "#   ", "#   "}

var storedF = map[int][]string{
	1: letterF,
	2: {"####", "   #", " ###", "   #", "   #", "   #"},
	3: {"   #", "   #", "   #", " ###", "   #", "####"},
	4: {"#   ", "#   ", "#   ", "### ", "#   ", "####"},
	5: {"######", "# #   ", "# #   ", "#     "},
	6: {"#     ", "# #   ", "# #   ", "######"},
	7: {"     #", "   # #", "   # #", "######"},
	8: {"######", "   # #", "   # #", "     #"},
}

func TestTurn(t *testing.T) {
	for orientation, rows := range storedF {
		assert.Equal(t, letterF, rowsOf(turn(drawn(rows), orientation)), "orientation %d", orientation)
	}
	for _, orientation := range []int{-1, 0, 9} {
		assert.Equal(t, letterF, rowsOf(turn(drawn(letterF), orientation)), "orientation %d", orientation)
	}
}

// drawn makes a picture whose bounds begin anywhere.
func drawn(rows []string) image.Image {
	img := image.NewGray(image.Rect(5, 7, 5+len(rows[0]), 7+len(rows)))
	for y, row := range rows {
		for x, c := range row {
			if c == ' ' {
				img.Set(5+x, 7+y, color.White)
			}
		}
	}
	return img
}

func rowsOf(img image.Image) []string {
	var rows []string
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		row := ""
		for x := b.Min.X; x < b.Max.X; x++ {
			if r, _, _, _ := img.At(x, y).RGBA(); r > 0 {
				row += " "
			} else {
				row += "#"
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// exifOf is the data of an EXIF block with two entries: one of another tag, and the orientation.
func exifOf(order binary.AppendByteOrder, orientation uint16) []byte {
	return exifEntries(order, [4]uint16{0x010F, 3, 1, 9}, [4]uint16{0x0112, 3, 1, orientation})
}

// exifEntries makes an EXIF block of entries: tag, type, count, value.
func exifEntries(order binary.AppendByteOrder, entries ...[4]uint16) []byte {
	tiff := []byte("II")
	if order.AppendUint16(nil, 1)[0] == 0 {
		tiff = []byte("MM")
	}
	tiff = order.AppendUint32(order.AppendUint16(tiff, 42), 8)
	tiff = order.AppendUint16(tiff, uint16(len(entries)))
	for _, entry := range entries {
		tiff = order.AppendUint16(order.AppendUint16(tiff, entry[0]), entry[1])
		tiff = order.AppendUint32(tiff, uint32(entry[2]))
		tiff = order.AppendUint16(order.AppendUint16(tiff, entry[3]), 0)
	}
	return order.AppendUint32(tiff, 0) // no further directory
}

func jpegSegment(data []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xFF, 0xE1}, uint16(len(data)+2)), data...)
}

func jpegTurned(photo, exif []byte) []byte {
	return slices.Concat(photo[:2], jpegSegment(append([]byte("Exif\x00\x00"), exif...)), photo[2:])
}

// pngTurned puts the chunk right behind the header.
func pngTurned(drawing, exif []byte) []byte {
	const header = 8 + 12 + 13
	return slices.Concat(drawing[:header], pngChunk("eXIf", exif), drawing[header:])
}

// webpTurned makes an extended file of a simple one of a single pixel.
func webpTurned(picture, exif []byte) []byte {
	body := slices.Concat([]byte("WEBP"), webpChunk("VP8X", []byte{0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0}), picture[12:], webpChunk("EXIF", exif))
	return slices.Concat([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body)
}

func webpChunk(name string, data []byte) []byte {
	b := append(binary.LittleEndian.AppendUint32([]byte(name), uint32(len(data))), data...)
	return append(b, make([]byte, len(data)&1)...)
}

func TestInspectFindsTheOrientation(t *testing.T) {
	photo, drawing := jpegRoom(16, 8), pngRoom(16, 8)
	for value := uint16(1); value <= 8; value++ {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			exif := exifOf(order, value)
			for name, data := range map[string][]byte{
				"jpeg":                               jpegTurned(photo, exif),
				"jpeg with XMP before":               slices.Concat(photo[:2], jpegSegment([]byte("http://ns.adobe.com/xap/1.0/\x00<x/>")), jpegTurned(photo, exif)[2:]),
				"jpeg with fill bytes":               slices.Concat(photo[:2], []byte{0xFF, 0xFF}, jpegTurned(photo, exif)[2:]),
				"png":                                pngTurned(drawing, exif),
				"png with the chunk behind":          slices.Concat(drawing[:len(drawing)-12], pngChunk("eXIf", exif), pngChunk("IEND", nil)),
				"webp":                               webpTurned(webpLossy, exif),
				"webp, lossless":                     webpTurned(webpLossless, exif),
				"webp with the mark of JPEGs":        webpTurned(webpLossy, append([]byte("Exif\x00\x00"), exif...)),
				"webp with a chunk of an odd length": webpTurned(slices.Concat(webpLossy, webpChunk("ICCP", []byte{1, 2, 3})), exif),
			} {
				img, err := inspect(data)
				require.NoError(t, err, name)
				assert.EqualValues(t, value, img.Orientation, "%s, %v", name, order)
			}
		}
	}
}

// Whatever is odd says nothing.
func TestOddExifSaysNothing(t *testing.T) {
	be := binary.BigEndian
	good := exifOf(be, 6)
	far := slices.Clone(good)
	be.PutUint32(far[4:], 1<<31)
	inside := slices.Concat([]byte("MM\x00*\x00\x00\x00\x02"), make([]byte, 8), []byte{0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0}) // of 42 entries
	many := slices.Clone(good[:22])
	be.PutUint16(many[8:], 0xFFFF)
	for name, exif := range map[string][]byte{
		"nothing":                     nil,
		"too short":                   good[:7],
		"no entries there":            good[:9],
		"orientation 0":               exifOf(be, 0),
		"orientation 9":               exifOf(be, 9),
		"orientation 262":             exifOf(be, 262),
		"no byte order":               append([]byte("XX"), good[2:]...),
		"mixed byte orders":           append([]byte("II"), good[2:]...),
		"another magic number":        slices.Concat(good[:2], []byte{0, 43}, good[4:]),
		"a directory behind the end":  far,
		"a directory in the header":   inside,
		"more entries than are there": many,
		"a long":                      exifEntries(be, [4]uint16{0x0112, 4, 1, 6}),
		"two values":                  exifEntries(be, [4]uint16{0x0112, 3, 2, 6}),
		"no orientation":              exifEntries(be, [4]uint16{0x010F, 3, 1, 6}),
		"only the first one counts":   exifEntries(be, [4]uint16{0x0112, 3, 1, 0}, [4]uint16{0x0112, 3, 1, 6}),
		"an entry that is cut short":  good[:len(good)-4-2],
	} {
		assert.Equal(t, 1, tiffOrientation(exif), name)
	}
	assert.Equal(t, 6, tiffOrientation(good))
	for mediaType, data := range map[string][]byte{
		"image/jpeg": {0xFF}, "image/png": {0x89}, "image/webp": []byte("RIFF"), "image/gif": []byte("GIF89a"),
	} {
		assert.Equal(t, 1, orientationOf(mediaType, data), mediaType)
	}
	// A thumbnail's orientation is not the picture's, nor is one behind the picture.
	photo := jpegRoom(16, 8)
	thumbnail := withThumbnail(photo)
	assert.Equal(t, 1, orientationOf("image/jpeg", thumbnail))
	assert.Equal(t, 1, orientationOf("image/jpeg", append(slices.Clone(photo), jpegTurned(photo, good)...)))
	assert.Equal(t, 1, orientationOf("image/png", append(slices.Clone(pngRoom(2, 2)), pngChunk("eXIf", good)...)))
}

func TestDecode(t *testing.T) {
	var lossless bytes.Buffer
	require.NoError(t, png.Encode(&lossless, drawn(storedF[6])))
	turnedF := pngTurned(lossless.Bytes(), exifOf(binary.BigEndian, 6))

	seen, err := Decode(Image{Data: turnedF})
	require.NoError(t, err)
	assert.Equal(t, letterF, rowsOf(seen), "the data says so")

	img, err := inspect(turnedF)
	require.NoError(t, err)
	assert.Equal(t, [2]int{6, 4}, [2]int{img.Width, img.Height}, "as stored")
	width, height := img.Size()
	assert.Equal(t, [2]int{4, 6}, [2]int{width, height}, "as seen")
	seen, err = Decode(img)
	require.NoError(t, err)
	assert.Equal(t, letterF, rowsOf(seen))

	img.Orientation = 1
	stored, err := Decode(img)
	require.NoError(t, err)
	assert.Equal(t, storedF[6], rowsOf(stored), "the image says so")

	for _, data := range [][]byte{jpegRoom(3, 2), pngRoom(3, 2), webpLossy, webpLossless} {
		_, err := Decode(Image{Data: data})
		assert.NoError(t, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	photo := jpegRoom(64, 48)
	for name, data := range map[string][]byte{
		"nothing": nil, "a page": []byte("<html>"), "half a photo": photo[:len(photo)/2],
		"webp without a picture": webpExtended(2, 2), "webp whose frame is another size": webpOther(),
	} {
		_, err := Decode(Image{Data: data})
		require.ErrorIs(t, err, ErrUndecodable, name)
		assert.True(t, worker.IsPermanent(err), name)
	}
}

// webpOther says to be one pixel and has a frame of another size: what was checked would not be what is decoded.
func webpOther() []byte {
	lossless := slices.Clone(webpLossless)
	binary.LittleEndian.PutUint32(lossless[21:], 16383|16383<<14)
	return webpTurned(lossless, exifOf(binary.BigEndian, 1))
}
