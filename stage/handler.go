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
	"reflect"
	"slices"
	"strings"

	"github.com/real-staging-ai/go-worker"
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
	// together. A job takes the pixels of its original before it calls the model and gives them back when the model has
	// returned. Until there are enough it waits, with its slot and its timeout running; who came first is served first.
	// A decoded picture takes 1.5 to 4 bytes a pixel, 8 with 16 bits a channel, and a model may need several copies.
	// Models that decode nothing say so: see RemoteModel. Zero means DefaultPixelBudget, 100 million, or MaxPixels where
	// that is more; it must not be less than MaxPixels, as a picture of that size could never be staged.
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

// Handler runs stage:run jobs. It keeps nothing between jobs and may run any number at once.
type Handler struct {
	cfg     Config
	prompts *prompter
	pixels  *budget // nil: the model needs none of it
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
	seed := seedOf(jobID, payload)

	steps.begin(fromOpen, "opening the original")
	original, err := h.open(ctx, payload.OriginalURL)
	if err != nil {
		return Result{}, fmt.Errorf("open original: %w", err)
	}
	steps.begin(fromModel, "staging")
	staged, picture, err := h.stage(ctx, Request{
		Original: original, ImageID: payload.ImageID, OriginalURL: payload.OriginalURL, RoomType: payload.RoomType,
		Style: payload.Style, UserPrompt: payload.Prompt, Prompt: prompt, Seed: seed, Progress: steps.within(fromStore),
	})
	if err != nil {
		return Result{}, fmt.Errorf("stage: %w", err)
	}
	steps.begin(fromStore, "storing the staged picture")
	url, err := h.put(ctx, Staged{JobID: jobID, ImageID: payload.ImageID, Image: staged})
	if err != nil {
		return Result{}, fmt.Errorf("put staged picture: %w", err)
	}
	steps.begin(done, "staged")
	return Result{StagedURL: url, MediaType: staged.MediaType, Width: staged.Width, Height: staged.Height,
		Bytes: len(staged.Data), Model: picture.Model, Prediction: picture.Prediction, Seed: seed}, nil
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

// open reads the original and makes sure that it is what a model may be given.
func (h *Handler) open(ctx context.Context, url string) (Image, error) {
	original, err := h.cfg.Source.Open(ctx, url)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNotFound) {
			err = judge(err, ErrNotFound)
		}
		return Image{}, err
	}
	if original.Body == nil {
		return Image{}, errors.New("the source returned no body")
	}
	defer original.Body.Close() // it was only read: an error tells nothing more
	data, err := h.read(ctx, original)
	if err != nil {
		return Image{}, err
	}
	return h.accept(data)
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
func (h *Handler) stage(ctx context.Context, req Request) (Image, Picture, error) {
	picture, err := h.call(ctx, req)
	if err != nil {
		if isDecodeError(err) {
			err = judge(err, ErrUndecodable)
		}
		return Image{}, Picture{}, err
	}
	staged, err := inspect(picture.Data)
	if err != nil {
		return Image{}, Picture{}, fmt.Errorf("the model %s returned no proper picture: %w", picture.Model, err)
	}
	return staged, picture, nil
}

// call calls the model as soon as there are pixels for it, but not when ctx has ended: it may cost money.
func (h *Handler) call(ctx context.Context, req Request) (Picture, error) {
	if err := ctx.Err(); err != nil {
		return Picture{}, err
	}
	if h.pixels != nil {
		pixels := int64(req.Original.Width) * int64(req.Original.Height)
		if err := h.pixels.acquire(ctx, pixels); err != nil {
			return Picture{}, fmt.Errorf("wait for the pixel budget: %w", err)
		}
		defer h.pixels.release(pixels)
	}
	return h.cfg.Model.Stage(ctx, req)
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
