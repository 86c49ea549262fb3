package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/draw"
)

// Cameras store pictures as their sensor lies and say in EXIF how to turn them. Package image ignores that.

// orientation returns the EXIF orientation of a JPEG, from 1 (upright) to 8; 1 for whatever doesn't say.
func orientation(data []byte) int {
	if !bytes.HasPrefix(data, []byte{0xFF, 0xD8}) {
		return 1
	}
	for rest := data[2:]; len(rest) >= 4 && rest[0] == 0xFF; {
		marker, size := rest[1], int(binary.BigEndian.Uint16(rest[2:]))
		if marker == 0xDA || size < 2 || len(rest) < 2+size { // the picture itself begins
			return 1
		}
		segment := rest[4 : 2+size]
		if tiff, ok := bytes.CutPrefix(segment, []byte("Exif\x00\x00")); ok && marker == 0xE1 {
			return tiffOrientation(tiff)
		}
		rest = rest[2+size:]
	}
	return 1
}

// tiffOrientation looks for tag 0x0112 in the first directory.
func tiffOrientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if tiff[0] == 'M' {
		order = binary.BigEndian
	}
	start := int64(order.Uint32(tiff[4:]))
	if start+2 > int64(len(tiff)) {
		return 1
	}
	count := int(order.Uint16(tiff[start:]))
	for entry := tiff[start+2:]; count > 0 && len(entry) >= 12; count, entry = count-1, entry[12:] {
		if order.Uint16(entry) == 0x0112 {
			if value := int(order.Uint16(entry[8:])); value >= 1 && value <= 8 {
				return value
			}
			return 1
		}
	}
	return 1
}

// upright turns a picture as its orientation says.
func upright(img image.Image, orientation int) image.Image {
	if orientation == 1 {
		return img
	}
	from := image.NewRGBA(image.Rectangle{Max: img.Bounds().Size()})
	draw.Draw(from, from.Bounds(), img, img.Bounds().Min, draw.Src)
	w, h := from.Rect.Dx(), from.Rect.Dy()
	size := image.Pt(w, h)
	if orientation >= 5 {
		size = image.Pt(h, w)
	}
	to := image.NewRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			sx, sy := origin(orientation, x, y, w, h)
			copy(to.Pix[to.PixOffset(x, y):][:4], from.Pix[from.PixOffset(sx, sy):])
		}
	}
	return to
}

// origin tells which pixel of the stored picture, w wide and h high, is at (x, y) of the upright one.
func origin(orientation, x, y, w, h int) (int, int) {
	switch orientation {
	case 2: // mirrored
		return w - 1 - x, y
	case 3: // upside down
		return w - 1 - x, h - 1 - y
	case 4: // upside down, mirrored
		return x, h - 1 - y
	case 5: // lies on its left side, mirrored
		return y, x
	case 6: // lies on its left side: to be turned clockwise
		return y, h - 1 - x
	case 7: // lies on its right side, mirrored
		return w - 1 - y, h - 1 - x
	case 8: // lies on its right side: to be turned counterclockwise
		return w - 1 - y, x
	}
	return x, y
}
