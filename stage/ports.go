package stage

import (
	"context"
	"errors"
	"io"

	"github.com/google/uuid"
	"github.com/real-staging-ai/go-worker"
)

// The ports are what a host connects to this package. One value of each serves all jobs of a pool at once, so their
// methods must be safe for concurrent use. The context is the job's: it ends at the job's timeout, its cancellation or
// the pool's shutdown, and worker.JobFromContext finds the job in it.
//
// An error makes the job run again unless it wraps worker.Permanent or another of package worker's verbs, which the
// handler leaves as they are. A port that also has a method Validate() error is asked by NewHandler.

// Source opens originals.
type Source interface {
	// Open finds the photo at url, a Payload.OriginalURL. It returns an error that wraps ErrNotFound when there is
	// none (fs.ErrNotExist is taken to mean the same), ErrRefused when it doesn't open such URLs, and any other error
	// when trying again may help.
	Open(ctx context.Context, url string) (Original, error)
}

// Original is an opened photo.
type Original struct {
	// Body yields the photo's bytes. The handler reads it, at most one byte further than Config.MaxBytes, and closes
	// it. Read must not outlast the context that Open was given.
	Body io.ReadCloser
	// Size is how many bytes Body yields; when fewer come, the transfer was cut short and is repeated. Zero
	// or less means that it isn't known.
	Size int64
}

// Model stages photos.
type Model interface {
	// Stage makes the staged picture. An error that another attempt cannot mend, an unknown style say, should be
	// worker.Permanent; of the errors of Decode and the decoding errors of image, image/jpeg and image/png the handler
	// knows it.
	Stage(ctx context.Context, req Request) (Picture, error)
}

// RemoteModel is an optional power of a Model, asked about once, by NewHandler.
type RemoteModel interface {
	Model
	// Remote reports whether pictures stay encoded in this process, as when a service does the work. Such a model takes
	// nothing of Config.PixelBudget.
	Remote() bool
}

// LazyModel is an optional power of a Model, asked about once, by NewHandler: for one that can go on with what an earlier
// attempt of the job has begun, without the original. That may be gone by then, as a signed URL expires, and what was
// begun be paid. A model around another one passes its powers on by embedding it. One that overrides Stage must then
// override StageLazily, too: Stage of a LazyModel is never called.
type LazyModel interface {
	Model
	// StageLazily is called instead of Stage, with a Request that lacks the Original. The function original opens it: errors
	// are to be returned as they are. It may be called several times, while StageLazily runs, and opens it once.
	StageLazily(ctx context.Context, req Request, original func() (Image, error)) (Picture, error)
}

// Request is one photo and what is to become of it. The fields are the model's, to keep or to change.
type Request struct {
	// Original is the photo. Its type is one of Config.MediaTypes, its size within Config.MaxBytes and MaxPixels. A
	// LazyModel doesn't get it here.
	Original Image
	// The next four are those of the Payload. RoomType and Style are accepted ones of Config.RoomTypes and Styles, or
	// empty: then the choice is the model's.
	ImageID     uuid.UUID
	OriginalURL string
	RoomType    string
	Style       string
	// UserPrompt is the Payload's Prompt: what the user wishes besides. Empty means nothing.
	UserPrompt string
	// Prompt is all of that in words, for models that are told in words: what Config.PromptTemplate makes of RoomType,
	// Style and UserPrompt. Whoever sends it need not send UserPrompt.
	Prompt string
	// Seed is the payload's, or one that is the same at each attempt of the job, from 1 to 2³¹-1.
	Seed int64
	// Progress tells users how far the model is: a fraction from 0 to 1 of its own work, and a message. It is never
	// nil, doesn't block, and may be called from any goroutine; calls after Stage returned do nothing.
	Progress func(fraction float64, message string)
}

// Image is a picture as bytes, with what its first bytes tell about it.
type Image struct {
	Data []byte
	// MediaType is found by content, whatever a name or a header claims: "image/jpeg" say.
	MediaType string
	// Width and Height are in pixels, as stored: a photo's EXIF orientation is not applied. Both are zero for a
	// staged picture of a type that the program has no decoder for. Size has them as seen.
	Width, Height int
	// Orientation tells how to turn the stored picture, as EXIF has it: 1, which is also for whatever doesn't say, to 8;
	// see Decode, which turns it. A service that is sent the bytes may ignore what they say. Zero in an Image
	// made by hand means that nobody has looked.
	Orientation int
}

// Size returns the picture's width and height in pixels as it is seen: upright.
func (img Image) Size() (width, height int) {
	if swapsSides(img.Orientation) {
		return img.Height, img.Width
	}
	return img.Width, img.Height
}

// Picture is what a model made.
type Picture struct {
	// Data is the encoded picture; it must not change afterwards. One that is empty, cut short or no picture is an
	// error of the model and makes the job run again, since services do answer like that now and then.
	Data []byte
	// Model names what made the picture, with its version, for Result.Model.
	Model string
	// Prediction tells of the run of a hosted model that the picture comes from, for Result.Prediction. Nil where there
	// is nothing to tell.
	Prediction *Prediction
}

// Prediction is a run of a hosted model, as its service counts it.
type Prediction struct {
	// ID is the service's name for the run.
	ID string `json:"id"`
	// Model is the model that ran, with its version where that is known.
	Model string `json:"model,omitempty"`
	// Seconds is how long the model ran, as the service bills it: without waiting. Zero when the service doesn't say.
	Seconds float64 `json:"seconds,omitempty"`
	// Cost is what this run cost by the prices that the host configured, in their currency. Zero when there are none.
	Cost float64 `json:"cost,omitempty"`
}

// Sink keeps staged pictures.
type Sink interface {
	// Put stores the picture and returns the URL that users find it at. It is called once per attempt, so it may be
	// called again for a job, also with other bytes when the model doesn't repeat itself: a picture that was put
	// before must stay what it is, and one put twice is there once. It must not keep or change the bytes.
	Put(ctx context.Context, staged Staged) (url string, err error)
}

// Staged is a staged picture to keep.
type Staged struct {
	JobID   string
	ImageID uuid.UUID
	Image   Image
}

// SourceFunc is a function that is a Source.
type SourceFunc func(ctx context.Context, url string) (Original, error)

// Open calls f.
func (f SourceFunc) Open(ctx context.Context, url string) (Original, error) { return f(ctx, url) }

// ModelFunc is a function that is a Model.
type ModelFunc func(ctx context.Context, req Request) (Picture, error)

// Stage calls f.
func (f ModelFunc) Stage(ctx context.Context, req Request) (Picture, error) { return f(ctx, req) }

// SinkFunc is a function that is a Sink.
type SinkFunc func(ctx context.Context, staged Staged) (string, error)

// Put calls f.
func (f SinkFunc) Put(ctx context.Context, staged Staged) (string, error) { return f(ctx, staged) }

// Errors about an original. All are permanent, also when wrapped: worker.IsPermanent reports true. A port for which
// one of them may pass wraps it in worker.RetryAfter.
var (
	// ErrNotFound says that there is no original at the URL.
	ErrNotFound = worker.Permanent(errors.New("original not found"))
	// ErrRefused says that a port does not touch such a URL or path: an unknown scheme, a way out of its root.
	ErrRefused = worker.Permanent(errors.New("refused"))
	// ErrTooLarge says that the original has more bytes or pixels than the configuration allows.
	ErrTooLarge = worker.Permanent(errors.New("original is too large"))
	// ErrUndecodable says that the original is no picture, is cut short, or is of a type that isn't accepted.
	ErrUndecodable = worker.Permanent(errors.New("original cannot be decoded"))
)
