package stage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"
)

// picture.go: what the bytes of a picture tell without decoding it. A photo of 50 megapixels takes 200 MB when it is
// decoded, and most models want the bytes, so the handler reads the headers, then follows the file's own structure
// to its end mark: that finds cut uploads in milliseconds. Damage inside is found by the model, if it minds.
//
// Importing this package makes image.Decode know JPEG and PNG. Of WebP only the header is read, here; formats that
// the host registers with image.RegisterFormat are known, too.

var (
	errEmpty     = errors.New("it is empty")
	errTruncated = errors.New("it is cut short")
)

// inspect tells what data is, and fails unless it is a picture that goes on to its end. The size is zero for a type
// that net/http can tell and that nothing here can decode.
func inspect(data []byte) (Image, error) {
	img := Image{Data: data}
	if len(data) == 0 {
		return img, errEmpty
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case err == nil:
		img.MediaType, img.Width, img.Height = "image/"+format, config.Width, config.Height
	case errors.Is(err, image.ErrFormat):
		if err := img.sniff(); err != nil {
			return img, err
		}
	default:
		return img, err
	}
	if !complete(img) {
		return img, errTruncated
	}
	return img, nil
}

// sniff is for data that no registered decoder claims.
func (img *Image) sniff() (err error) {
	img.MediaType = http.DetectContentType(img.Data)
	if !strings.HasPrefix(img.MediaType, "image/") {
		return fmt.Errorf("it looks like %s", img.MediaType)
	}
	if img.MediaType == "image/webp" {
		img.Width, img.Height, err = webpSize(img.Data)
	}
	return err
}

// complete reports whether the data goes on to the end mark of its format; formats it doesn't know pass. What follows
// the end mark doesn't matter: phones append videos there.
func complete(img Image) bool {
	switch img.MediaType {
	case "image/jpeg":
		return jpegComplete(img.Data)
	case "image/png":
		return pngComplete(img.Data)
	case "image/webp":
		return webpComplete(img.Data)
	}
	return true
}

// jpegComplete walks the segments, whose lengths carry it over thumbnails, and between them searches for markers:
// scans have no length. There must be a scan, and an end-of-image marker after it.
func jpegComplete(data []byte) bool {
	const scan, end, start, restart0, stuffed, temporary = 0xDA, 0xD9, 0xD8, 0xD0, 0x00, 0x01
	scanned := false
	for i := 2; i < len(data); {
		next := bytes.IndexByte(data[i:], 0xFF)
		if next < 0 {
			return false
		}
		i += next
		for i < len(data) && data[i] == 0xFF { // a marker may be preceded by more of these
			i++
		}
		if i == len(data) {
			return false
		}
		marker := data[i]
		i++
		switch {
		case marker == end:
			return scanned
		case marker == stuffed, marker == temporary, restart0 <= marker && marker <= start:
			continue // no segment
		case marker == scan:
			scanned = true
		}
		if len(data)-i < 2 {
			return false
		}
		i += max(int(binary.BigEndian.Uint16(data[i:])), 2)
	}
	return false
}

// pngComplete walks the chunks from the first one to IEND; there must be image data on the way.
func pngComplete(data []byte) bool {
	const frame = 12 // length, type and checksum around a chunk's data
	filled := false
	for rest := data[min(8, len(data)):]; len(rest) >= frame; {
		length, kind := uint64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		if length > uint64(len(rest)-frame) {
			return false
		}
		switch kind {
		case "IDAT":
			filled = true
		case "IEND":
			return filled
		}
		rest = rest[frame+length:]
	}
	return false
}

// webpComplete compares the size that the container names with what is there.
func webpComplete(data []byte) bool {
	return len(data) >= 12 && uint64(binary.LittleEndian.Uint32(data[4:]))+8 <= uint64(len(data))
}

// webpSize reads a picture's size from the first chunk of a WebP file, of which there are three kinds: extended,
// lossless and lossy. Source: RFC 9649, sections 2.5 to 2.7 and 3.4; RFC 6386, section 9.1.
func webpSize(data []byte) (width, height int, err error) {
	if len(data) < 30 {
		return 0, 0, errTruncated
	}
	body := data[20:] // behind "RIFF", size, "WEBP", the chunk's name and its size
	switch name := string(data[12:16]); {
	case name == "VP8X":
		return 1 + uint24(body[4:]), 1 + uint24(body[7:]), nil
	case name == "VP8L" && body[0] == 0x2F:
		bits := binary.LittleEndian.Uint32(body[1:])
		return 1 + int(bits&0x3FFF), 1 + int(bits>>14&0x3FFF), nil
	case name == "VP8 " && bytes.Equal(body[3:6], []byte{0x9D, 0x01, 0x2A}):
		le := binary.LittleEndian
		return int(le.Uint16(body[6:]) & 0x3FFF), int(le.Uint16(body[8:]) & 0x3FFF), nil
	}
	return 0, 0, errors.New("invalid WebP header")
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// isDecodeError reports whether err comes from a decoder of the standard library that didn't like its input. (Both
// packages also return io.ErrUnexpectedEOF, which says as much about a network.)
func isDecodeError(err error) bool {
	var (
		badJPEG     jpeg.FormatError
		strangeJPEG jpeg.UnsupportedError
		badPNG      png.FormatError
		strangePNG  png.UnsupportedError
	)
	return errors.Is(err, image.ErrFormat) || errors.As(err, &badJPEG) || errors.As(err, &strangeJPEG) ||
		errors.As(err, &badPNG) || errors.As(err, &strangePNG)
}
