package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"

	"github.com/real-staging-ai/go-worker/stage" // knows the three kinds of pictures that are accepted
)

const (
	maxPhoto   = stage.DefaultMaxBytes
	maxPixels  = stage.DefaultMaxPixels
	minSide    = 64 // pixels; in a smaller picture there is no room to see
	photoKinds = "JPEG, PNG or WebP"
)

// checkPhoto looks at the head of a picture and returns the extension for its name, without the dot. Its errors are
// for people.
func checkPhoto(data []byte) (extension string, err error) {
	if len(data) == 0 {
		return "", errors.New("the picture is empty")
	}
	if len(data) > maxPhoto {
		return "", errPhotoTooBig
	}
	config, kind, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case errors.Is(err, image.ErrFormat):
		return "", errors.New("this is not a picture that can be read: use " + photoKinds)
	case err != nil:
		return "", fmt.Errorf("the picture is damaged: %w", err)
	case config.Width < minSide || config.Height < minSide:
		return "", fmt.Errorf("the picture is too small: %d × %d pixels, at least %d × %d are needed",
			config.Width, config.Height, minSide, minSide)
	case config.Height > maxPixels/config.Width:
		return "", fmt.Errorf("the picture has too many pixels: %d × %d, at most %d million can be read",
			config.Width, config.Height, maxPixels/1_000_000)
	}
	if kind == "jpeg" {
		kind = "jpg"
	}
	return kind, nil
}

var errPhotoTooBig = fmt.Errorf("the picture is too big: at most %d MiB are accepted", maxPhoto>>20)
