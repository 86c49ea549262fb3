package stage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"iter"
	"net/http"
	"strings"

	_ "golang.org/x/image/webp" // the third kind of pictures that is accepted
)

// picture.go: what the bytes of a picture tell without decoding it. A photo of 50 megapixels takes 200 MB when it is
// decoded, and most models want the bytes, so the handler reads the headers, then follows the file's own structure
// to its end mark: that finds cut uploads in milliseconds. Damage inside is found by the model, if it minds.
//
// Importing this package makes image.Decode know JPEG, PNG and WebP; formats that the host registers with
// image.RegisterFormat are known, too.

// maxScans is how many scans a JPEG may have. Each goes over the whole picture, however little data it has, so a small
// file could keep a decoder busy for very long. Encoders make about ten.
const maxScans = 100

var (
	errEmpty     = errors.New("it is empty")
	errTruncated = errors.New("it is cut short")
	errNoPixels  = errors.New("it has no pixels")
	errScans     = fmt.Errorf("it has more than %d scans", maxScans)
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
	case err == nil && (config.Width <= 0 || config.Height <= 0):
		return img, errNoPixels
	case err == nil:
		img.MediaType, img.Width, img.Height = "image/"+format, config.Width, config.Height
	case errors.Is(err, image.ErrFormat):
		if err := img.sniff(); err != nil {
			return img, err
		}
	default:
		return img, err
	}
	if err := follow(img); err != nil {
		return img, err
	}
	img.Orientation = orientationOf(img.MediaType, data)
	return img, nil
}

// sniff is for data that no registered decoder claims.
func (img *Image) sniff() error {
	img.MediaType = http.DetectContentType(img.Data)
	switch {
	case !strings.HasPrefix(img.MediaType, "image/"):
		return fmt.Errorf("it looks like %s", img.MediaType)
	case img.MediaType == "image/webp": // there is a decoder for those
		return errors.New("invalid WebP header")
	}
	return nil
}

// follow makes sure that the data goes on to the end mark of its format; formats it doesn't know pass. What comes after
// the end mark doesn't matter: phones append videos there.
func follow(img Image) error {
	complete := true
	switch img.MediaType {
	case "image/jpeg":
		return followJPEG(img.Data)
	case "image/png":
		complete = pngComplete(img.Data)
	case "image/webp":
		complete = webpComplete(img.Data)
	}
	if !complete {
		return errTruncated
	}
	return nil
}

// followJPEG looks for a scan, and an end-of-image marker after it.
func followJPEG(data []byte) error {
	const scan, end = 0xDA, 0xD9
	scans := 0
	for marker := range jpegMarkers(data) {
		switch {
		case marker == end && scans > 0:
			return nil
		case marker == end:
			return errTruncated
		case marker == scan:
			if scans++; scans > maxScans {
				return errScans
			}
		}
	}
	return errTruncated
}

// jpegMarkers walks the segments as a decoder does, up to the end-of-image marker: their lengths carry it over thumbnails,
// and between them it searches for markers, as scans have no length. With a marker comes what its segment has of data.
func jpegMarkers(data []byte) iter.Seq2[byte, []byte] {
	const end, start, restart0, stuffed, temporary = 0xD9, 0xD8, 0xD0, 0x00, 0x01
	return func(yield func(marker byte, segment []byte) bool) {
		for i := 2; i < len(data); {
			next := bytes.IndexByte(data[i:], 0xFF)
			if next < 0 {
				return
			}
			i += next
			for i < len(data) && data[i] == 0xFF { // a marker may be preceded by more of these
				i++
			}
			if i == len(data) {
				return
			}
			marker := data[i]
			i++
			if marker == stuffed || marker == temporary || restart0 <= marker && marker <= start {
				continue // no segment
			}
			if marker == end {
				yield(marker, nil)
				return
			}
			if len(data)-i < 2 {
				return
			}
			after := i + max(int(binary.BigEndian.Uint16(data[i:])), 2)
			if !yield(marker, data[i+2:min(after, len(data))]) {
				return
			}
			i = after
		}
	}
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

// isDecodeError reports whether err comes from a decoder of the standard library that didn't like its input. (Both
// packages also return io.ErrUnexpectedEOF, which says as much about a network; that of WebP has no errors that can be
// told from others. Decode marks all of them.)
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
