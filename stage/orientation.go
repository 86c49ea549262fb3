package stage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/draw"
	"iter"
)

// orientation.go: which way up a picture is. Cameras store pictures as their sensor lies and say in EXIF how to turn
// them; the decoders of Go ignore that. Only this one value is read, strictly: whatever is odd says nothing.

// upright is the orientation of a picture that is shown as it is stored, or doesn't say.
const upright = 1

// Decode returns the whole picture as it is to be seen: upright. A model that wants pixels calls it with
// Request.Original; when Orientation is zero, as in an Image made by hand, the data is asked. A pixel takes up to eight
// bytes, and four more while a picture is turned, so data that no Handler has checked must be looked at with
// image.DecodeConfig before. A turned picture is an *image.RGBA, any other what its decoder makes of it. The error
// wraps ErrUndecodable.
func Decode(img Image) (image.Image, error) {
	decoded, format, err := image.Decode(bytes.NewReader(img.Data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	orientation := img.Orientation
	if orientation == 0 {
		orientation = orientationOf("image/"+format, img.Data)
	}
	return turn(decoded, orientation), nil
}

// orientationOf returns the EXIF orientation, from 1 to 8.
func orientationOf(mediaType string, data []byte) int {
	switch mediaType {
	case "image/jpeg":
		return tiffOrientation(jpegExif(data))
	case "image/png":
		return tiffOrientation(pngExif(data))
	case "image/webp":
		return tiffOrientation(webpExif(data))
	}
	return upright
}

// exifMark begins an EXIF segment of a JPEG, and those chunks of WebP whose writers took them from a JPEG.
var exifMark = []byte("Exif\x00\x00")

// jpegExif finds the first EXIF segment before the picture itself. Source: CIPA DC-008 (Exif), section 4.5.4.
func jpegExif(data []byte) []byte {
	const app1, scan, end = 0xE1, 0xDA, 0xD9
	for rest := data[min(2, len(data)):]; len(rest) >= 4 && rest[0] == 0xFF; {
		marker, size := rest[1], int(binary.BigEndian.Uint16(rest[2:]))
		switch {
		case marker == 0xFF: // a marker may be preceded by more of these
			rest = rest[1:]
			continue
		case marker == scan, marker == end, size < 2, size > len(rest)-2:
			return nil
		}
		if tiff, ok := bytes.CutPrefix(rest[4:2+size], exifMark); ok && marker == app1 {
			return tiff
		}
		rest = rest[2+size:]
	}
	return nil
}

// pngExif finds the eXIf chunk. Source: PNG Specification (Third Edition), section 11.3.3.4.
func pngExif(data []byte) []byte {
	const frame = 12 // length, type and checksum around a chunk's data
	for rest := data[min(8, len(data)):]; len(rest) >= frame; {
		length, kind := uint64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		if length > uint64(len(rest)-frame) || kind == "IEND" {
			return nil
		}
		if kind == "eXIf" {
			return rest[8 : 8+length]
		}
		rest = rest[frame+length:]
	}
	return nil
}

// webpExif finds the EXIF chunk.
func webpExif(data []byte) []byte {
	for name, chunk := range webpChunks(data) {
		if name == "EXIF" {
			return bytes.TrimPrefix(chunk, exifMark)
		}
	}
	return nil
}

// webpChunks are the chunks that are complete. Source: RFC 9649, sections 2.3 and 2.7.1.5.
func webpChunks(data []byte) iter.Seq2[string, []byte] {
	const head = 8 // name and length before a chunk's data
	return func(yield func(name string, chunk []byte) bool) {
		for rest := data[min(12, len(data)):]; len(rest) >= head; {
			length := uint64(binary.LittleEndian.Uint32(rest[4:]))
			if length > uint64(len(rest)-head) || !yield(string(rest[:4]), rest[head:head+length]) {
				return
			}
			length += length & 1 // chunks of an odd length are padded
			rest = rest[min(head+length, uint64(len(rest))):]
		}
	}
}

// tiffOrientation reads tag 0x0112, one SHORT, in the first directory. It follows no link, so it looks at 65,535
// entries at most. Source: TIFF Revision 6.0, section 2; CIPA DC-008, section 4.6.5.
func tiffOrientation(tiff []byte) int {
	const tag, short, head, entry = 0x0112, 3, 8, 12
	var order binary.ByteOrder
	switch {
	case len(tiff) < head:
		return upright
	case string(tiff[:4]) == "II*\x00":
		order = binary.LittleEndian
	case string(tiff[:4]) == "MM\x00*":
		order = binary.BigEndian
	default:
		return upright
	}
	start := uint64(order.Uint32(tiff[4:]))
	if start < head || start+2 > uint64(len(tiff)) {
		return upright
	}
	count := order.Uint16(tiff[start:])
	for rest := tiff[start+2:]; count > 0 && len(rest) >= entry; count, rest = count-1, rest[entry:] {
		if order.Uint16(rest) != tag {
			continue
		}
		value := int(order.Uint16(rest[8:]))
		if order.Uint16(rest[2:]) != short || order.Uint32(rest[4:]) != 1 || value < 1 || value > 8 {
			return upright
		}
		return value
	}
	return upright
}

// swapsSides reports whether an upright picture is as wide as the stored one is high.
func swapsSides(orientation int) bool { return orientation >= 5 && orientation <= 8 }

// turn makes a stored picture upright. It converts row by row, so there is never a third copy.
func turn(stored image.Image, orientation int) image.Image {
	if orientation <= upright || orientation > 8 {
		return stored
	}
	from := stored.Bounds()
	width, height := from.Dx(), from.Dy()
	to := image.NewRGBA(image.Rect(0, 0, width, height))
	if swapsSides(orientation) {
		to = image.NewRGBA(image.Rect(0, 0, height, width))
	}
	row := image.NewRGBA(image.Rect(0, 0, width, 1))
	for y := range height {
		draw.Draw(row, row.Rect, stored, image.Pt(from.Min.X, from.Min.Y+y), draw.Src)
		for x := range width {
			copy(to.Pix[to.PixOffset(turned(orientation, x, y, width, height)):][:4], row.Pix[4*x:])
		}
	}
	return to
}

// turned tells where the pixel at (x, y) of a stored picture, w wide and h high, is in the upright one.
func turned(orientation, x, y, w, h int) (int, int) {
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
		return h - 1 - y, x
	case 7: // lies on its right side, mirrored
		return h - 1 - y, w - 1 - x
	case 8: // lies on its right side: to be turned counterclockwise
		return y, w - 1 - x
	}
	return x, y
}
