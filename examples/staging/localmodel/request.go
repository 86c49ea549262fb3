package localmodel

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
)

// ErrNoPicture says that the original is nil or has no pixels.
var ErrNoPicture = errors.New("localmodel: the original has no pixels")

// Request says how a room is to be staged. The zero value stages a living room in the first style.
type Request struct {
	RoomType string // a Name of RoomTypes; empty: the first
	Style    string // a Name of Styles; empty: the first
	Prompt   string // free text; a few words are understood, such as "warm", "bright", "dark", "minimal", "no rug", "no plants"
	Seed     int64  // chooses the arrangement; 0 is a seed like any other
}

// Option is one choice of a request's field.
type Option struct {
	Name  string // what requests carry
	Label string // what people read
}

// FieldError says that a field of a request holds a value that the model doesn't know.
type FieldError struct {
	Field   string   // "RoomType" or "Style"
	Value   string   // what it held
	Allowed []string // what it may hold, besides nothing
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("localmodel: unknown %s %.60q: use one of %s", e.Field, e.Value, strings.Join(e.Allowed, ", "))
}

// RoomTypes lists the rooms that can be staged, the default first.
func RoomTypes() []Option {
	list := make([]Option, len(rooms))
	for i, r := range rooms {
		list[i] = r.Option
	}
	return list
}

// Styles lists the styles, the default first.
func Styles() []Option {
	list := make([]Option, len(styles))
	for i, s := range styles {
		list[i] = s.Option
	}
	return list
}

func (r Request) resolve() (*room, *style, error) {
	var problems []error
	foundRoom, err := pick(rooms, "RoomType", r.RoomType, func(r *room) Option { return r.Option })
	problems = append(problems, err)
	foundStyle, err := pick(styles, "Style", r.Style, func(s *style) Option { return s.Option })
	problems = append(problems, err)
	return foundRoom, foundStyle, errors.Join(problems...)
}

// pick finds the entry that value names, whatever the case and with "-" or " " for "_"; an empty value is the first.
func pick[T any](list []T, field, value string, option func(*T) Option) (*T, error) {
	wanted := strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(strings.TrimSpace(value)))
	allowed := make([]string, len(list))
	for i := range list {
		allowed[i] = option(&list[i]).Name
		if wanted == allowed[i] || wanted == "" {
			return &list[i], nil
		}
	}
	return nil, &FieldError{Field: field, Value: value, Allowed: allowed}
}

// hints are what the model understands of a prompt.
type hints struct {
	warmth, light   float64 // -1..1
	noRug, noPlants bool
	noPictures      bool
	minimal         bool // only what the room can't do without
}

// readPrompt looks for the few words that the model understands; "no" or "without" right before a thing leaves it out.
func readPrompt(prompt string) hints {
	var h hints
	words := strings.FieldsFunc(strings.ToLower(prompt), func(r rune) bool { return r < 'a' || r > 'z' })
	for i, word := range words {
		without := i > 0 && (words[i-1] == "no" || words[i-1] == "without")
		switch word {
		case "warm", "cosy", "cozy", "sunset", "evening":
			h.warmth++
		case "cool", "cold", "crisp":
			h.warmth--
		case "bright", "airy", "light", "sunny":
			h.light++
		case "dark", "moody", "dim":
			h.light--
		case "minimal", "minimalist", "sparse", "simple":
			h.minimal = true
		case "rug", "rugs", "carpet":
			h.noRug = h.noRug || without
		case "plant", "plants":
			h.noPlants = h.noPlants || without
		case "picture", "pictures", "art":
			h.noPictures = h.noPictures || without
		}
	}
	h.warmth = clamp(h.warmth, -1, 1)
	h.light = clamp(h.light, -1, 1)
	return h
}

// seedStream makes rooms and styles differ in more than their furniture under the same seed.
func seedStream(parts ...string) uint64 {
	hash := fnv.New64a()
	for _, part := range parts {
		hash.Write([]byte(part))
		hash.Write([]byte{0})
	}
	return hash.Sum64()
}
