package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/stage"
)

// withOrientation puts an EXIF segment into a JPEG.
func withOrientation(photo []byte, value byte) []byte {
	exif := "Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + string(rune(value)) + "\x00\x00"
	head := binary.BigEndian.AppendUint16([]byte{0xFF, 0xD8, 0xFF, 0xE1}, uint16(len(exif)+2))
	return slices.Concat(head, []byte(exif), photo[2:])
}

// A room is furnished the way it is seen, not as the camera stored it.
func TestModelTurnsPhotos(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 90, 70)), nil))
	model, err := newDecorator(png.Encode, 0)
	require.NoError(t, err)
	staged, err := model.Stage(t.Context(), stage.Request{
		Original: stage.Image{Data: withOrientation(b.Bytes(), 6)}, Progress: func(float64, string) {},
	})
	require.NoError(t, err)
	config, err := png.DecodeConfig(bytes.NewReader(staged.Data))
	require.NoError(t, err)
	assert.Equal(t, image.Pt(70, 90), image.Pt(config.Width, config.Height))
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
