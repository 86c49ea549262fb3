package stage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// Handler runs stage:run jobs. It keeps nothing between jobs and may run any number at once.
type Handler struct {
	cfg     Config
	prompts *prompter
	lazy    LazyModel // nil: the model isn't one
	pixels  *budget   // nil: the model needs none of it
}

// NewHandler makes a Handler, or reports all that is wrong with the configuration.
func NewHandler(cfg Config) (*Handler, error) {
	problems := cfg.check()
	cfg = cfg.withDefaults()
	prompts, err := newPrompter(cfg)
	if err := errors.Join(problems, err); err != nil {
		return nil, fmt.Errorf("stage handler: %w", err)
	}
	h := &Handler{cfg: cfg, prompts: prompts}
	h.lazy, _ = cfg.Model.(LazyModel)
	if remote, ok := cfg.Model.(RemoteModel); !ok || !remote.Remote() {
		h.pixels = newBudget(cfg.PixelBudget)
	}
	return h, nil
}

// Register makes r run stage:run jobs with h. The defaults are those of worker.Handle: Timeout and the retry policy.
func (h *Handler) Register(r *worker.Registry, defaults ...worker.JobOption) {
	worker.Handle(r, h.Handle, defaults...)
}

// Result is what the final status of a job that succeeded carries, as JSON.
type Result struct {
	// StagedURL is the Sink's answer.
	StagedURL string `json:"staged_url"`
	// MediaType, Width, Height (in pixels, see Image) and Bytes describe the staged picture.
	MediaType string `json:"media_type"`
	Width     int    `json:"width,omitempty"`
	Height    int    `json:"height,omitempty"`
	Bytes     int    `json:"bytes"`
	// Model is the model's name for itself.
	Model string `json:"model,omitempty"`
	// Prediction tells of the run of a hosted model, if the model is one.
	Prediction *Prediction `json:"prediction,omitempty"`
	// Seed is the one that the model was given, also when the payload had none.
	Seed int64 `json:"seed"`
}

// Handle runs one job and sets its Result. It is a worker.HandlerFunc[Payload]. Errors are permanent when the payload
// or the original is at fault, or when a port says so; all others are worth another attempt, the end of ctx included.
func (h *Handler) Handle(ctx context.Context, job *worker.Job, payload Payload) error {
	if err := payload.Validate(); err != nil {
		return worker.Permanent(fmt.Errorf("payload: %w", err))
	}
	result, err := h.run(ctx, job.ID, payload, job.Progress)
	if err != nil {
		return err
	}
	return job.SetResult(result)
}

// run is the three steps.
func (h *Handler) run(ctx context.Context, jobID string, payload Payload, report func(float64, string)) (Result, error) {
	prompt, err := h.prompts.prompt(payload)
	if err != nil {
		return Result{}, worker.Permanent(fmt.Errorf("payload: %w", err))
	}
	steps := &progress{report: report}
	req := Request{
		ImageID: payload.ImageID, OriginalURL: payload.OriginalURL, RoomType: payload.RoomType, Style: payload.Style,
		UserPrompt: payload.Prompt, Prompt: prompt, Seed: seedOf(jobID, payload),
	}
	staged, picture, err := h.stage(ctx, req, steps)
	if err != nil {
		return Result{}, err
	}
	steps.begin(fromStore, "storing the staged picture")
	url, err := h.put(ctx, Staged{JobID: jobID, ImageID: payload.ImageID, Image: staged})
	if err != nil {
		return Result{}, fmt.Errorf("put staged picture: %w", err)
	}
	steps.begin(done, "staged")
	return Result{StagedURL: url, MediaType: staged.MediaType, Width: staged.Width, Height: staged.Height,
		Bytes: len(staged.Data), Model: picture.Model, Prediction: picture.Prediction, Seed: req.Seed}, nil
}

// seedOf returns the payload's seed, or derives one from the job's id (on a job without one, from the picture's). It
// is from 1 to 2³¹-1, which every model takes; some read 0 and negative ones as "any".
func seedOf(jobID string, payload Payload) int64 {
	if payload.Seed != nil {
		return *payload.Seed
	}
	if jobID == "" {
		jobID = payload.ImageID.String()
	}
	sum := sha256.Sum256([]byte(jobID))
	return 1 + int64(binary.BigEndian.Uint64(sum[:])%math.MaxInt32)
}

// open opens the original, reads it and makes sure that it is what a model may be given.
func (h *Handler) open(ctx context.Context, url string) (Image, error) {
	data, err := h.fetch(ctx, url)
	if err != nil {
		return Image{}, fmt.Errorf("open original: %w", err)
	}
	original, err := h.accept(data)
	if err != nil {
		return Image{}, fmt.Errorf("open original: %w", err)
	}
	return original, nil
}

func (h *Handler) fetch(ctx context.Context, url string) ([]byte, error) {
	original, err := h.cfg.Source.Open(ctx, url)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNotFound) {
			err = judge(err, ErrNotFound)
		}
		return nil, err
	}
	if original.Body == nil {
		return nil, errors.New("the source returned no body")
	}
	defer original.Body.Close() // it was only read: an error tells nothing more
	return h.read(ctx, original)
}

// judge adds to a port's error the handler's judgement of it. The port's own comes first, so it prevails.
func judge(err, judgement error) error { return fmt.Errorf("%w: %w", err, judgement) }

// read reads the whole body, at most MaxBytes.
func (h *Handler) read(ctx context.Context, original Original) ([]byte, error) {
	limit := h.cfg.MaxBytes
	tooLarge := fmt.Errorf("%w: the limit is %d bytes", ErrTooLarge, limit)
	if original.Size > limit {
		return nil, tooLarge
	}
	expected := min(max(original.Size, 0), DefaultMaxBytes) // no more memory than that on a source's word
	buffer := bytes.NewBuffer(make([]byte, 0, expected+bytes.MinRead))
	// One byte more tells whether there is more; at the largest limit of all the sum overflows and isn't needed.
	_, err := buffer.ReadFrom(io.LimitReader(contextReader{ctx, original.Body}, max(limit, limit+1)))
	switch size := int64(buffer.Len()); {
	case err != nil:
		return nil, fmt.Errorf("read: %w", err)
	case size > limit:
		return nil, tooLarge
	case size < original.Size:
		return nil, fmt.Errorf("read: %d of %d bytes: %w", size, original.Size, io.ErrUnexpectedEOF)
	}
	return buffer.Bytes(), nil
}

// contextReader stops reading when its context ends, whoever feeds it.
type contextReader struct {
	ctx  context.Context
	from io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(b)
}

// accept looks at the original's bytes.
func (h *Handler) accept(data []byte) (Image, error) {
	original, err := inspect(data)
	switch {
	case err != nil:
		return Image{}, fmt.Errorf("%w: %w", ErrUndecodable, err)
	case !slices.Contains(h.cfg.MediaTypes, original.MediaType):
		return Image{}, fmt.Errorf("%w: it is %s, accepted are %s",
			ErrUndecodable, original.MediaType, strings.Join(h.cfg.MediaTypes, ", "))
	case original.Width <= 0 || original.Height <= 0:
		return Image{}, fmt.Errorf("%w: its size is unknown, no decoder for %s is registered",
			ErrUndecodable, original.MediaType)
	case int64(original.Height) > h.cfg.MaxPixels/int64(original.Width): // the product could overflow
		return Image{}, fmt.Errorf("%w: it has %d x %d pixels, the limit is %d pixels",
			ErrTooLarge, original.Width, original.Height, h.cfg.MaxPixels)
	}
	return original, nil
}

// stage has the model make the picture, and returns it with what the model says of it.
func (h *Handler) stage(ctx context.Context, req Request, steps *progress) (Image, Picture, error) {
	call := h.call
	if h.lazy != nil {
		call = h.callLazy
	}
	picture, err := call(ctx, req, steps)
	if err != nil {
		return Image{}, Picture{}, err
	}
	staged, err := inspect(picture.Data)
	if err != nil {
		return Image{}, Picture{}, fmt.Errorf("stage: the model %s returned no proper picture: %w", picture.Model, err)
	}
	return staged, picture, nil
}

// call opens the original, and calls the model as soon as there are pixels for it.
func (h *Handler) call(ctx context.Context, req Request, steps *progress) (Picture, error) {
	steps.begin(fromOpen, "opening the original")
	original, err := h.open(ctx, req.OriginalURL)
	if err != nil {
		return Picture{}, err
	}
	steps.begin(fromModel, "staging")
	lent, err := h.lend(ctx, original)
	if err != nil {
		return Picture{}, err
	}
	defer h.giveBack(lent)
	req.Original, req.Progress = original, steps.within(fromStore)
	return judged(h.cfg.Model.Stage(ctx, req))
}

// callLazy calls a model that opens the original by itself, if it needs it.
func (h *Handler) callLazy(ctx context.Context, req Request, steps *progress) (Picture, error) {
	steps.begin(fromModel, "staging")
	if err := ctx.Err(); err != nil {
		return Picture{}, fmt.Errorf("stage: %w", err)
	}
	var lent int64
	defer func() { h.giveBack(lent) }()
	original := sync.OnceValues(func() (Image, error) {
		steps.tell("opening the original")
		original, err := h.open(ctx, req.OriginalURL)
		if err != nil {
			return Image{}, err
		}
		if lent, err = h.lend(ctx, original); err != nil {
			return Image{}, err
		}
		return original, nil
	})
	req.Progress = steps.within(fromStore)
	return judged(h.lazy.StageLazily(ctx, req, original))
}

// lend takes what a picture weighs from the budget, and returns it; but not when ctx has ended: what comes next may cost
// money. A picture that weighs more than all of the budget takes all of it.
func (h *Handler) lend(ctx context.Context, img Image) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("stage: %w", err)
	}
	if h.pixels == nil {
		return 0, nil
	}
	weight := min(weightOf(img), h.cfg.PixelBudget)
	if err := h.pixels.acquire(ctx, weight); err != nil {
		return 0, fmt.Errorf("stage: wait for the pixel budget: %w", err)
	}
	return weight, nil
}

// giveBack undoes lend.
func (h *Handler) giveBack(lent int64) {
	if h.pixels != nil {
		h.pixels.release(lent)
	}
}

// judged tells of a model's error what the model cannot.
func judged(picture Picture, err error) (Picture, error) {
	if err == nil {
		return picture, nil
	}
	if isDecodeError(err) {
		err = judge(err, ErrUndecodable)
	}
	return Picture{}, fmt.Errorf("stage: %w", err)
}

func (h *Handler) put(ctx context.Context, staged Staged) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	url, err := h.cfg.Sink.Put(ctx, staged)
	if err == nil && url == "" {
		err = errors.New("the sink returned no URL")
	}
	return url, err
}
