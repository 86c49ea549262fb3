package main

import (
	"bytes"
	"encoding/binary"
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

func TestUpright(t *testing.T) {
	for turned, rows := range storedF {
		assert.Equal(t, letterF, rowsOf(upright(imageOf(rows), turned)), "orientation %d", turned)
	}
}

func imageOf(rows []string) image.Image {
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

// withOrientation puts an EXIF segment into a JPEG.
func withOrientation(photo []byte, order binary.AppendByteOrder, mark string, value uint16) []byte {
	tiff := order.AppendUint16([]byte(mark), 42)
	tiff = order.AppendUint32(tiff, 8)
	tiff = order.AppendUint16(tiff, 2)
	for _, entry := range [][2]uint16{{0x010F, 9}, {0x0112, value}} {
		tiff = order.AppendUint16(tiff, entry[0])
		tiff = order.AppendUint16(tiff, 3)
		tiff = order.AppendUint32(tiff, 1)
		tiff = order.AppendUint16(tiff, entry[1])
		tiff = order.AppendUint16(tiff, 0)
	}
	segment := append([]byte("Exif\x00\x00"), tiff...)
	head := binary.BigEndian.AppendUint16([]byte{0xFF, 0xD8, 0xFF, 0xE1}, uint16(len(segment)+2))
	return slices.Concat(head, segment, photo[2:])
}

func TestDecodePhotoTurns(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 90, 70)), nil))
	assert.Equal(t, 1, orientation(b.Bytes()))
	for value := uint16(1); value <= 8; value++ {
		photo := withOrientation(b.Bytes(), binary.BigEndian, "MM", value)
		assert.EqualValues(t, value, orientation(photo))
		assert.EqualValues(t, value, orientation(withOrientation(b.Bytes(), binary.LittleEndian, "II", value)))
		img, err := decodePhoto(photo)
		require.NoError(t, err)
		want := image.Pt(90, 70)
		if value >= 5 {
			want = image.Pt(70, 90)
		}
		assert.Equal(t, want, img.Bounds().Size(), "orientation %d", value)
	}
	assert.Equal(t, 1, orientation(withOrientation(b.Bytes(), binary.BigEndian, "MM", 9)), "there is no ninth way")
}

// Whatever the bytes are, looking for the orientation ends well.
func FuzzOrientation(f *testing.F) {
	f.Add(withOrientation([]byte{0xFF, 0xD8, 0xFF, 0xD9}, binary.BigEndian, "MM", 6))
	f.Add([]byte{0xFF, 0xD8, 0xFF, 0xE1, 0, 2, 0xFF, 0xE1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if o := orientation(data); o < 1 || o > 8 {
			t.Fatalf("orientation %d", o)
		}
	})
}

func TestCheckPhotoSizes(t *testing.T) {
	encoded := func(w, h int) []byte {
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))))
		return b.Bytes()
	}
	kind, err := checkPhoto(encoded(64, 64))
	require.NoError(t, err)
	assert.Equal(t, "png", kind)
	_, err = checkPhoto(encoded(63, 500))
	assert.ErrorContains(t, err, "too small: 63 × 500 pixels")
	bomb := encoded(64, 64) // that says to be larger
	binary.BigEndian.PutUint32(bomb[16:], 10_000)
	binary.BigEndian.PutUint32(bomb[20:], 5_001)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	_, err = checkPhoto(bomb)
	assert.ErrorContains(t, err, "too many pixels")
}
