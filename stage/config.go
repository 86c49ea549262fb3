package stage

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// What applies where a Config says nothing.
const (
	DefaultMaxBytes    = 25 << 20
	DefaultMaxPixels   = 50_000_000
	DefaultPixelBudget = 100_000_000
)

// Config is what a Handler is made of. The three ports are required.
type Config struct {
	Source Source
	Model  Model
	Sink   Sink

	// RoomTypes and Styles are what Payload.RoomType and Payload.Style may be, letter by letter, at most MaxLabelLength
	// bytes each. A job that asks for another one fails for good, before its original is opened. An empty value always
	// passes, and leaves the choice to the model. No entries mean DefaultRoomTypes and DefaultStyles; Any as the only
	// entry lets everything pass.
	RoomTypes, Styles []string
	// PromptTemplate makes Request.Prompt: a text/template that is executed with PromptData. Space around its result is
	// cut off; a result longer than MaxModelPromptLength, and any other error, fails the job for good. NewHandler tries
	// it with all fields set and with none. Empty means DefaultPromptTemplate; "{{.Prompt}}" gives the model the user's
	// words and nothing else.
	PromptTemplate string

	// MaxBytes is the size of the largest original that is read, in bytes. Zero means DefaultMaxBytes, 25 MiB. Each job
	// that runs holds its original and its staged picture as bytes; those of an original without an Original.Size take
	// up to three times their size while they are read. PixelBudget is about decoded pictures, which are larger.
	MaxBytes int64
	// MaxPixels is how many pixels, width times height, an original may have: a small file can hold a picture that
	// takes gigabytes when it is decoded. Zero means DefaultMaxPixels, 50 million.
	MaxPixels int64
	// PixelBudget is how many pixels of originals the model has in its hands at once, those of all jobs of this handler
	// together. A job takes the pixels of its original before it calls the model, or when a LazyModel opens it, and gives
	// them back when the model has returned. Until there are enough it waits, with its slot and its timeout running; who came first is served first.
	// A picture takes up to 4 bytes for each of these pixels while and after it is decoded; one whose way of being stored
	// needs more takes more of the budget: a progressive JPEG up to six times its pixels, 16 bits a channel twice, lossless
	// WebP up to 36 million besides. What exceeds the budget takes all of it. A model may need several copies, and Decode
	// makes one of a picture that is to be turned or mirrored. Models that decode nothing say so: see RemoteModel. Zero
	// means DefaultPixelBudget, 100 million, or MaxPixels where that is more; it must not be less than MaxPixels, as a
	// picture of that size could never be staged.
	PixelBudget int64
	// MediaTypes are the types of originals that are given to the model. None means image/jpeg, image/png
	// and image/webp. Others need a decoder that the host registers with image.RegisterFormat.
	MediaTypes []string
}

// check reports all that is wrong.
func (c Config) check() error {
	problems := []error{
		checkPort("Source", c.Source), checkPort("Model", c.Model), checkPort("Sink", c.Sink),
		checkLimit("MaxBytes", c.MaxBytes), checkLimit("MaxPixels", c.MaxPixels), c.checkPixelBudget(),
	}
	for _, mediaType := range c.MediaTypes {
		if name, ok := strings.CutPrefix(mediaType, "image/"); !ok || name == "" {
			problems = append(problems, fmt.Errorf("MediaTypes: %q is not of the form image/…", mediaType))
		}
	}
	return errors.Join(problems...)
}

func checkPort(field string, port any) error {
	if isNil(port) {
		return fmt.Errorf("%s is nil", field)
	}
	if v, ok := port.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	return nil
}

// isNil also finds a nil pointer or function in an interface.
func isNil(port any) bool {
	if port == nil {
		return true
	}
	switch v := reflect.ValueOf(port); v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return v.IsNil()
	}
	return false
}

func checkLimit(field string, limit int64) error {
	if limit < 0 {
		return fmt.Errorf("%s is %d: it must not be negative", field, limit)
	}
	return nil
}

func (c Config) checkPixelBudget() error {
	largest := c.withDefaults().MaxPixels
	if c.PixelBudget > 0 && c.PixelBudget < largest {
		return fmt.Errorf("PixelBudget is %d: it must not be less than MaxPixels, %d", c.PixelBudget, largest)
	}
	return checkLimit("PixelBudget", c.PixelBudget)
}

func (c Config) withDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxPixels == 0 {
		c.MaxPixels = DefaultMaxPixels
	}
	if c.PixelBudget == 0 {
		c.PixelBudget = max(DefaultPixelBudget, c.MaxPixels)
	}
	if len(c.RoomTypes) == 0 {
		c.RoomTypes = DefaultRoomTypes()
	}
	if len(c.Styles) == 0 {
		c.Styles = DefaultStyles()
	}
	if c.PromptTemplate == "" {
		c.PromptTemplate = DefaultPromptTemplate
	}
	if len(c.MediaTypes) == 0 {
		c.MediaTypes = []string{"image/jpeg", "image/png", "image/webp"}
	}
	c.RoomTypes, c.Styles, c.MediaTypes = slices.Clone(c.RoomTypes), slices.Clone(c.Styles), slices.Clone(c.MediaTypes)
	return c
}
