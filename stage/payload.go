package stage

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

// JobType is the type of the jobs of this package.
const JobType = "stage:run"

// The limits of a Payload's fields, in bytes.
const (
	MaxURLLength    = 8 << 10 // signed URLs are long
	MaxLabelLength  = 128     // room type and style
	MaxPromptLength = 4 << 10
)

// Payload asks for one photo of a room to be staged. It is what the API puts into a job and what the model is told.
//
// Fields that a payload has and this type lacks are ignored, and every field but the first two may be missing or null,
// so producers and workers need not be deployed together.
type Payload struct {
	// ImageID is the host's id of the picture that is to be made. Required.
	ImageID uuid.UUID `json:"image_id"`
	// OriginalURL says where the photo is: an absolute URL, or a path that the host's Source understands, escaped as
	// in a URL. Required, at most MaxURLLength bytes.
	OriginalURL string `json:"original_url"`
	// RoomType and Style are the host's names for what is to be staged, "bedroom" and "scandinavian" say, at most
	// MaxLabelLength bytes each. The worker's Config.RoomTypes and Styles say which ones there are. Empty ones leave the
	// choice to the model.
	RoomType string `json:"room_type"`
	Style    string `json:"style"`
	// Seed makes a model repeat itself. Nil means one that is derived from the job's id: every attempt of a job gets
	// the same, another job for the same picture gets another.
	Seed *int64 `json:"seed,omitempty"`
	// Prompt is what the user wishes besides, at most MaxPromptLength bytes. The worker's Config.PromptTemplate says
	// where in the model's prompt it stands: at its end by default. Empty means nothing.
	Prompt string `json:"prompt,omitempty"`
}

// JobType returns the constant JobType.
func (Payload) JobType() string { return JobType }

// Validate reports all that is wrong with the payload, by the fields' JSON names. It is called before a job is made,
// and by the worker that is to run it, where an error is final. URLs are not repeated in errors: they may hold secrets.
func (p Payload) Validate() error {
	return errors.Join(
		checkImageID(p.ImageID),
		checkURL(p.OriginalURL),
		checkLength("room_type", p.RoomType, MaxLabelLength),
		checkLength("style", p.Style, MaxLabelLength),
		checkLength("prompt", p.Prompt, MaxPromptLength),
	)
}

func checkImageID(id uuid.UUID) error {
	if id == uuid.Nil {
		return errors.New("image_id is missing or zero")
	}
	return nil
}

func checkURL(raw string) error {
	if raw == "" {
		return errors.New("original_url is missing")
	}
	if err := checkLength("original_url", raw, MaxURLLength); err != nil {
		return err
	}
	u, err := parseURL(raw)
	switch {
	case err != nil:
		return fmt.Errorf("original_url: %w", err)
	case u.Host == "" && (u.Scheme == "http" || u.Scheme == "https"):
		return fmt.Errorf("original_url has the scheme %s but no host", u.Scheme)
	case u.Host != "" && u.Scheme == "":
		return errors.New("original_url has a host but no scheme")
	case u.Scheme == "" && u.Path == "":
		return errors.New("original_url has neither a scheme nor a path")
	}
	return nil
}

// parseURL is url.Parse with neither the URL nor a part of it in its errors: what is quoted there as a port, say, may
// be a password.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if inner := (*url.Error)(nil); errors.As(err, &inner) {
		err = inner.Err
	}
	if err != nil {
		problem, _, _ := strings.Cut(err.Error(), `"`)
		return nil, errors.New(strings.TrimSpace(problem))
	}
	return u, nil
}

func checkLength(field, value string, limit int) error {
	if len(value) > limit {
		return fmt.Errorf("%s has %d bytes: the limit is %d", field, len(value), limit)
	}
	return nil
}
