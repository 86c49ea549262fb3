package stage

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"slices"
)

func pictureRows() []serverRow {
	photo, drawing := jpegRoom(64, 48), pngRoom(20, 20)
	sent := func(mediaType string, data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			_, _ = w.Write(data)
		}
	}
	huge := slices.Clone(photo)
	frame := bytes.Index(huge, []byte{0xFF, 0xC0})
	binary.BigEndian.PutUint16(huge[frame+5:], 65500)
	binary.BigEndian.PutUint16(huge[frame+7:], 65500)
	return []serverRow{
		{name: "a PNG bomb", serve: sent("image/png", pngBomb(100_000, 100_000)), class: ErrTooLarge, says: "100000 x 100000 pixels"},
		{name: "a PNG bomb beyond integers", serve: sent("image/png", pngBomb(1<<31-1, 1<<31-1)), class: ErrUndecodable},
		{name: "a JPEG bomb", serve: sent("image/jpeg", huge), class: ErrTooLarge, says: "65500 x 65500 pixels"},
		{name: "a WebP bomb", serve: sent("image/webp", webpExtended(16_000, 16_000)), class: ErrTooLarge, says: "16000 x 16000 pixels"},
		{name: "a JPEG of a thousand scans", class: ErrUndecodable, says: "more than 100 scans", serve: sent("image/jpeg",
			slices.Concat(photo[:len(photo)-2], bytes.Repeat([]byte{0xFF, 0xDA, 0, 2, 0}, 1000), []byte{0xFF, 0xD9}))},
		{name: "nothing", serve: sent("image/jpeg", nil), class: ErrUndecodable, says: "it is empty"},
		{name: "half a JPEG", serve: sent("image/jpeg", photo[:len(photo)/2]), class: ErrUndecodable, says: "cut short"},
		{name: "half a PNG", serve: sent("image/png", drawing[:len(drawing)/2]), class: ErrUndecodable, says: "cut short"},
		{name: "half a WebP", serve: sent("image/webp", webpLossy[:len(webpLossy)-2]), class: ErrUndecodable, says: "cut short"},
		{name: "the head of a JPEG", serve: sent("image/jpeg", photo[:30]), class: ErrUndecodable},
		{name: "a page said to be a photo", serve: sent("image/jpeg", []byte("<html>"+secret)), class: ErrUndecodable, says: "text/html"},
		{name: "a page with a photo in it", serve: sent("image/jpeg", append([]byte("<html>"), photo...)), class: ErrUndecodable, says: "text/html"},
		{name: "an archive with a photo in it", serve: sent("image/jpeg", append([]byte("PK\x03\x04"), photo...)), class: ErrUndecodable, says: "zip"},
		{name: "a vector drawing", serve: sent("image/svg+xml", []byte(`<?xml version="1.0"?><svg><image href="file:///etc/passwd"/></svg>`)), class: ErrUndecodable},
		{name: "a GIF", serve: sent("image/jpeg", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;")), class: ErrUndecodable, says: "it is image/gif"},
		{name: "a PDF", serve: sent("image/jpeg", []byte("%PDF-1.7 "+secret)), class: ErrUndecodable, says: "application/pdf"},
		{name: "noise", serve: sent("image/jpeg", []byte{0, 1, 2, 3}), class: ErrUndecodable},
	}
}
