package stage

import "bytes"

// weight.go: how much of Config.PixelBudget a picture takes. Four bytes of memory go with each pixel of the budget, which is
// enough for what cameras make; but whoever sends a picture chooses how it is stored, and so what it takes to decode it.
// What is said here of the decoders is true for those of Go 1.26 and golang.org/x/image 0.47.

// bytesOfPixel are those that go with a pixel of the budget.
const bytesOfPixel = 4

// weightOf returns a picture's pixels, or as many as its decoder needs the memory of. Data that inspect liked is expected.
func weightOf(img Image) int64 {
	pixels := int64(img.Width) * int64(img.Height)
	var taken int64
	switch img.MediaType {
	case "image/jpeg":
		taken = jpegMemory(img)
	case "image/png":
		taken = pngMemory(img)
	case "image/webp":
		taken = webpMemory(img)
	}
	return max(pixels, (taken+bytesOfPixel-1)/bytesOfPixel)
}

// jpegFrame is what the segments before the first scan tell.
type jpegFrame struct {
	progressive, jfif, adobe bool
	transform                byte   // of Adobe's segment
	components               []byte // three bytes each: name, sampling factors, table
}

// jpegMemory returns the bytes that decoding takes: the planes; of a progressive picture its coefficients, four bytes
// each; and the copy in which a picture in CMYK or RGB ends.
func jpegMemory(img Image) int64 {
	frame := readJPEGFrame(img.Data)
	if len(frame.components) < 3 {
		return 0
	}
	across, down := int64(frame.components[1]>>4), int64(frame.components[1]&15)
	if across == 0 || down == 0 || len(frame.components) == 3 { // of a single plane the factors mean nothing
		across, down = 1, 1
	}
	units := ceil(int64(img.Width), 8*across) * ceil(int64(img.Height), 8*down)
	blocks := across * down
	for rest := frame.components[3:]; len(rest) >= 3; rest = rest[3:] {
		blocks += int64(rest[1]>>4) * int64(rest[1]&15)
	}
	samples := 64 * blocks * units
	taken := samples
	if frame.progressive {
		taken += 4 * samples
	}
	if frame.isCopied() {
		taken += 4 * int64(img.Width) * int64(img.Height)
	}
	return taken
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// isCopied reports whether the decoder makes the picture anew from its planes.
func (f jpegFrame) isCopied() bool {
	switch len(f.components) {
	case 3 * 4:
		return true
	case 3 * 3:
		names := string([]byte{f.components[0], f.components[3], f.components[6]})
		return !f.jfif && (f.adobe && f.transform == 0 || names == "RGB")
	}
	return false
}

func readJPEGFrame(data []byte) (frame jpegFrame) {
	const app0, app14, baseline, extended, progressive, scan = 0xE0, 0xEE, 0xC0, 0xC1, 0xC2, 0xDA
	for marker, segment := range jpegMarkers(data) {
		switch marker {
		case app0:
			if len(segment) >= 5 { // the last one counts
				frame.jfif = bytes.HasPrefix(segment, []byte("JFIF\x00"))
			}
		case app14:
			if len(segment) >= 12 {
				frame.adobe, frame.transform = bytes.HasPrefix(segment, []byte("Adobe")), segment[11]
			}
		case baseline, extended, progressive:
			if len(segment) >= 6 && len(segment) == 6+3*int(segment[5]) {
				frame.progressive, frame.components = marker == progressive, segment[6:]
			}
		case scan:
			return frame
		}
	}
	return frame
}

// pngMemory returns the bytes that decoding takes: the picture, half of it again if it is interlaced, and two rows as they
// are stored. Source: PNG Specification (Third Edition), section 11.2.1.
func pngMemory(img Image) int64 {
	const gray, truecolor, indexed, grayAlpha = 0, 2, 3, 4
	if len(img.Data) < 29 {
		return 0
	}
	depth, kind, interlaced := int64(img.Data[24]), img.Data[25], img.Data[28] != 0
	channels, decoded := int64(4), int64(4) // in the file, and as it is decoded
	switch kind {
	case gray:
		channels = 1 // and decoded to four, if there is a transparent color
	case truecolor:
		channels = 3
	case indexed:
		channels, decoded = 1, 1
	case grayAlpha:
		channels = 2
	}
	if depth == 16 {
		decoded *= 2
	}
	width, height := int64(img.Width), int64(img.Height)
	taken := decoded * width * height
	if interlaced {
		taken += taken / 2
	}
	return taken + 2*(1+ceil(width*channels*depth, 8))
}

// What the decoder of lossless WebP takes beside the picture, however small that is: the Huffman trees of as many groups as it
// allows, five a group. Each tree has a table of a fixed size, and nodes that a byte of the file describes up to 36 of.
const (
	webpGroups      = 2600
	webpTables      = webpGroups * 5 * 540
	webpNodesOfByte = 36 * 8
	webpTrees       = webpGroups * 55_000 // all of it, at most
)

// webpMemory returns the bytes that decoding takes. The alpha channel of a lossy picture is a lossless one.
func webpMemory(img Image) int64 {
	const planes, lossless, aside = 1.5, 5, 1 // of a pixel; aside: the alpha channel, when it is decoded
	pixels := float64(img.Width) * float64(img.Height)
	var taken float64
	for name, chunk := range webpChunks(img.Data) {
		trees := float64(min(webpTables+webpNodesOfByte*int64(len(chunk)), webpTrees))
		switch name {
		case "VP8L":
			taken = max(taken, lossless*pixels+trees)
		case "ALPH":
			taken = max(taken, (lossless+aside+planes)*pixels+trees)
		}
	}
	return int64(taken)
}
