package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"math"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// body is an original that tells whether it was closed and how much of it was read.
type body struct {
	io.Reader
	read   int
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

func (b *body) Close() error { b.closed = true; return nil }

// endless yields a photo that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// closer calls a function when it is closed.
type closer struct {
	io.Reader
	closed func()
}

func (c closer) Close() error { c.closed(); return nil }

// failing yields some bytes, then an error.
func failing(data []byte, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(data), readerFunc(func([]byte) (int, error) { return 0, err }))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func sourceOf(data []byte) SourceFunc {
	return func(context.Context, string) (Original, error) {
		return Original{Body: io.NopCloser(bytes.NewReader(data)), Size: int64(len(data))}, nil
	}
}

func sourceErr(err error) SourceFunc {
	return func(context.Context, string) (Original, error) { return Original{}, err }
}

func modelOf(data []byte, err error) ModelFunc {
	return func(context.Context, Request) (Picture, error) { return Picture{Data: data, Model: "test/1"}, err }
}

func sinkOf(url string, err error) SinkFunc {
	return func(context.Context, Staged) (string, error) { return url, err }
}

// working is a configuration in which everything succeeds.
func working() Config {
	return Config{Source: sourceOf(jpegRoom(64, 48)), Model: modelOf(pngRoom(32, 24), nil), Sink: sinkOf("https://cdn/1.png", nil)}
}

func newJob(t *testing.T, p Payload, opts ...worker.JobOption) *worker.Job {
	t.Helper()
	job, err := worker.NewJob(p, opts...)
	require.NoError(t, err)
	return job
}

func TestNewHandlerReportsAllProblems(t *testing.T) {
	_, err := NewHandler(Config{Model: ModelFunc(nil), Sink: (*Files)(nil), MaxBytes: -1, MaxPixels: -2,
		MediaTypes: []string{"image/png", "text/html", "image/"}})
	for _, problem := range []string{
		"stage handler: ", "Source is nil", "Model is nil", "Sink is nil", "MaxBytes is -1", "MaxPixels is -2",
		`"text/html" is not of the form image/…`, `"image/" is not of the form`,
	} {
		assert.ErrorContains(t, err, problem)
	}

	cfg := working()
	cfg.Source, cfg.Sink = Files{}, Files{Root: "x", BaseURL: "https://h/?a=b"}
	_, err = NewHandler(cfg)
	assert.ErrorContains(t, err, "Source: Root is empty")
	assert.ErrorContains(t, err, `Sink: BaseURL "https://h/?a=b"`)
}

func TestHandlerSucceeds(t *testing.T) {
	original := &body{Reader: bytes.NewReader(jpegRoom(64, 48))}
	var asked Request
	var stored Staged
	cfg := working()
	cfg.Source = SourceFunc(func(_ context.Context, url string) (Original, error) {
		assert.Equal(t, "rooms/empty.jpg", url)
		return Original{Body: original}, nil
	})
	cfg.Model = ModelFunc(func(_ context.Context, req Request) (Picture, error) {
		asked = req
		return Picture{Data: pngRoom(32, 24), Model: "test/1"}, nil
	})
	cfg.Sink = SinkFunc(func(_ context.Context, staged Staged) (string, error) {
		stored = staged
		return "https://cdn/1.png", nil
	})
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	seed := int64(42)
	payload := validPayload()
	payload.Seed, payload.Prompt = &seed, "a cat"
	job := newJob(t, payload, worker.WithID("job-1"))

	require.NoError(t, handler.Handle(t.Context(), job, payload))

	var result Result
	require.NoError(t, json.Unmarshal(job.Result(), &result))
	assert.Equal(t, Result{StagedURL: "https://cdn/1.png", MediaType: "image/png", Width: 32, Height: 24,
		Bytes: len(pngRoom(32, 24)), Model: "test/1", Seed: 42}, result)
	assert.True(t, original.closed)
	assert.Equal(t, Image{jpegRoom(64, 48), "image/jpeg", 64, 48, 1}, asked.Original)
	asked.Original, asked.Progress = Image{}, nil
	assert.Equal(t, Request{ImageID: imageID, OriginalURL: "rooms/empty.jpg", RoomType: "bedroom", Style: "scandinavian",
		UserPrompt: "a cat", Prompt: "Virtual staging of the room in this photo. Room: bedroom. Style: scandinavian. Add " +
			"fitting furniture and decoration. Keep walls, windows, doors, floor, ceiling, light and the camera's position. " +
			"Wishes: a cat", Seed: 42}, asked)
	assert.Equal(t, Staged{JobID: "job-1", ImageID: imageID, Image: Image{pngRoom(32, 24), "image/png", 32, 24, 1}}, stored)
}

// Each row is a way to fail and what becomes of the job.
func TestHandlerFailures(t *testing.T) {
	boom := errors.New("boom")
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	missing := &fs.PathError{Op: "open", Path: "a.jpg", Err: fs.ErrNotExist}
	photo := jpegRoom(64, 48)
	for _, row := range []struct {
		name      string
		change    func(*Config)
		permanent bool
		is        error
		contains  string
	}{
		{"no such original", func(c *Config) { c.Source = sourceErr(fmt.Errorf("get: %w", ErrNotFound)) }, true, ErrNotFound, "open original: get"},
		{"no such file", func(c *Config) { c.Source = sourceErr(missing) }, true, ErrNotFound, "open a.jpg"},
		{"no such original yet", func(c *Config) { c.Source = sourceErr(worker.RetryAfter(time.Second, ErrNotFound)) }, false, ErrNotFound, ""},
		{"no such file yet", func(c *Config) { c.Source = sourceErr(worker.RetryAfter(time.Second, missing)) }, false, fs.ErrNotExist, ""},
		{"refused URL", func(c *Config) { c.Source = sourceErr(ErrRefused) }, true, ErrRefused, ""},
		{"network", func(c *Config) { c.Source = sourceErr(refused) }, false, syscall.ECONNREFUSED, "open original"},
		{"source timed out", func(c *Config) { c.Source = sourceErr(context.DeadlineExceeded) }, false, context.DeadlineExceeded, ""},
		{"source without a body", func(c *Config) { c.Source = sourceErr(nil) }, false, nil, "no body"},
		{"connection reset while reading", func(c *Config) { c.Source = reading(failing(photo[:50], syscall.ECONNRESET), 0) }, false, syscall.ECONNRESET, "open original: read"},
		{"transfer cut short", func(c *Config) { c.Source = reading(bytes.NewReader(photo[:50]), 100) }, false, io.ErrUnexpectedEOF, "50 of 100 bytes"},
		{"announced as too large", func(c *Config) { c.Source = reading(failing(nil, boom), DefaultMaxBytes+1) }, true, ErrTooLarge, "the limit is 26214400 bytes"},
		{"endless", func(c *Config) { c.Source = reading(endless{}, 0) }, true, ErrTooLarge, "the limit is 26214400 bytes"},
		{"one byte too large", func(c *Config) { c.MaxBytes = int64(len(photo)) - 1 }, true, ErrTooLarge, "the limit is"},
		{"empty", func(c *Config) { c.Source = sourceOf(nil) }, true, ErrUndecodable, "empty"},
		{"a page", func(c *Config) { c.Source = sourceOf([]byte("<html>")) }, true, ErrUndecodable, "it looks like text/html"},
		{"truncated photo", func(c *Config) { c.Source = sourceOf(photo[:len(photo)-9]) }, true, ErrUndecodable, "cut short"},
		{"truncated header", func(c *Config) { c.Source = sourceOf(photo[:30]) }, true, ErrUndecodable, ""},
		{"a type that isn't accepted", func(c *Config) { c.MediaTypes = []string{"image/png"} }, true, ErrUndecodable, "it is image/jpeg, accepted are image/png"},
		{"a type without a decoder", func(c *Config) {
			c.Source, c.MediaTypes = sourceOf([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;")), []string{"image/gif"}
		}, true, ErrUndecodable, "no decoder for image/gif"},
		{"a bomb", func(c *Config) { c.Source = sourceOf(pngBomb(100_000, 100_000)) }, true, ErrTooLarge, "100000 x 100000 pixels, the limit is 50000000"},
		{"a bomb beyond what its decoder counts", func(c *Config) { c.Source = sourceOf(pngBomb(1<<31-1, 1<<31-1)) }, true, ErrUndecodable, "overflow"},
		{"one pixel too many", func(c *Config) { c.MaxPixels = 64*48 - 1 }, true, ErrTooLarge, "64 x 48"},

		{"model fails", func(c *Config) { c.Model = modelOf(nil, boom) }, false, boom, "stage: boom"},
		{"model knows no such style", func(c *Config) { c.Model = modelOf(nil, worker.Permanent(boom)) }, true, boom, "stage: boom"},
		{"model snoozes", func(c *Config) { c.Model = modelOf(nil, worker.Snooze(time.Minute)) }, false, nil, "snooze for 1m0s"},
		{"model cannot decode the photo", func(c *Config) { c.Model = modelOf(nil, fmt.Errorf("decode: %w", image.ErrFormat)) }, true, ErrUndecodable, ""},
		{"model timed out", func(c *Config) { c.Model = modelOf(nil, context.DeadlineExceeded) }, false, context.DeadlineExceeded, ""},
		{"model returns nothing", func(c *Config) { c.Model = modelOf(nil, nil) }, false, nil, "the model test/1 returned no proper picture: it is empty"},
		{"model returns a page", func(c *Config) { c.Model = modelOf([]byte("<html>502"), nil) }, false, nil, "it looks like text/html"},
		{"model returns half a picture", func(c *Config) { c.Model = modelOf(photo[:len(photo)-2], nil) }, false, nil, "cut short"},

		{"sink fails", func(c *Config) { c.Sink = sinkOf("", boom) }, false, boom, "put staged picture: boom"},
		{"sink has lost its directory", func(c *Config) { c.Sink = sinkOf("", missing) }, false, fs.ErrNotExist, ""},
		{"sink fails for good", func(c *Config) { c.Sink = sinkOf("", worker.Permanent(boom)) }, true, boom, ""},
		{"sink without a URL", func(c *Config) { c.Sink = sinkOf("", nil) }, false, nil, "no URL"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := working()
			row.change(&cfg)
			handler, err := NewHandler(cfg)
			require.NoError(t, err)
			job := newJob(t, validPayload())

			err = handler.Handle(t.Context(), job, validPayload())

			require.ErrorContains(t, err, row.contains)
			assert.Equal(t, row.permanent, worker.IsPermanent(err), "%v", err)
			if row.is != nil {
				assert.ErrorIs(t, err, row.is)
			}
			assert.Nil(t, job.Result())
		})
	}
}

func reading(r io.Reader, size int64) SourceFunc {
	return func(context.Context, string) (Original, error) {
		return Original{Body: io.NopCloser(r), Size: size}, nil
	}
}

func TestHandlerRefusesBadPayload(t *testing.T) {
	handler, err := NewHandler(working())
	require.NoError(t, err)
	err = handler.Handle(t.Context(), &worker.Job{ID: "1"}, Payload{OriginalURL: "a.jpg"})
	require.ErrorContains(t, err, "payload: image_id is missing")
	assert.True(t, worker.IsPermanent(err))
}

// Of an original that is too large no more is read than it takes to know, and the body is closed.
func TestHandlerReadsNoFurtherThanTheLimit(t *testing.T) {
	original := &body{Reader: endless{}}
	cfg := working()
	cfg.MaxBytes = 1000
	cfg.Source = SourceFunc(func(context.Context, string) (Original, error) { return Original{Body: original}, nil })
	handler, err := NewHandler(cfg)
	require.NoError(t, err)

	err = handler.Handle(t.Context(), newJob(t, validPayload()), validPayload())

	require.ErrorIs(t, err, ErrTooLarge)
	assert.Equal(t, 1001, original.read)
	assert.True(t, original.closed)
}

func TestHandlerTakesAnOriginalAtItsLimits(t *testing.T) {
	cfg := working()
	cfg.MaxBytes, cfg.MaxPixels = int64(len(jpegRoom(64, 48))), 64*48
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	assert.NoError(t, handler.Handle(t.Context(), newJob(t, validPayload()), validPayload()))
}

// Limits and announced sizes may be anything.
func TestHandlerTakesTheLargestLimits(t *testing.T) {
	for size, works := range map[int64]bool{-1: true, 0: true, 1: true, math.MinInt64: true, math.MaxInt64: false} {
		cfg := working()
		cfg.MaxBytes, cfg.MaxPixels = math.MaxInt64, math.MaxInt64
		cfg.Source = reading(bytes.NewReader(jpegRoom(64, 48)), size)
		handler, err := NewHandler(cfg)
		require.NoError(t, err)
		err = handler.Handle(t.Context(), newJob(t, validPayload()), validPayload())
		assert.Equal(t, works, err == nil, "%d: %v", size, err)
	}
}

// Wherever its context ends, the job runs again, and no later step is taken.
func TestHandlerStopsWithItsContext(t *testing.T) {
	for _, end := range []string{"before", "open", "read", "close", "stage", "before, far", "close, far"} {
		t.Run(end, func(t *testing.T) {
			end, elsewhere := strings.CutSuffix(end, ", far")
			ctx, cancel := context.WithCancel(t.Context())
			var steps []string
			at := func(step string) {
				steps = append(steps, step)
				if step == end {
					cancel()
				}
			}
			cfg := Config{
				Source: SourceFunc(func(ctx context.Context, _ string) (Original, error) {
					at("open")
					photo := io.MultiReader(readerFunc(func([]byte) (int, error) {
						at("read")
						return 0, io.EOF
					}), bytes.NewReader(jpegRoom(64, 48)))
					return Original{Body: closer{photo, func() { at("close") }}}, ctx.Err()
				}),
				Model: ModelFunc(func(context.Context, Request) (Picture, error) {
					at("stage")
					return Picture{Data: pngRoom(2, 2)}, nil // it ignores its context
				}),
				Sink: SinkFunc(func(context.Context, Staged) (string, error) { at("put"); return "u", nil }),
			}
			if elsewhere {
				cfg.Model = farFunc{cfg.Model}
			}
			handler, err := NewHandler(cfg)
			require.NoError(t, err)
			at("before")

			err = handler.Handle(ctx, newJob(t, validPayload()), validPayload())

			require.ErrorIs(t, err, context.Canceled)
			assert.False(t, worker.IsPermanent(err))
			assert.NotContains(t, steps, "put")
			want := map[string]string{"before": "open", "read": "close"}[end] // the source notices, the body is closed
			if want == "" {
				want = end
			}
			assert.Equal(t, want, steps[len(steps)-1], steps)
		})
	}
}

// farFunc is a RemoteModel.
type farFunc struct{ Model }

func (farFunc) Remote() bool { return true }

// Every attempt of a job gets the same seed, another job gets another, and the user's own goes unchanged.
func TestSeed(t *testing.T) {
	payload := validPayload()
	assert.Equal(t, seedOf("job-1", payload), seedOf("job-1", payload))
	assert.EqualValues(t, 1190356254, seedOf("job-1", payload), "a seed must not change between versions of this package")
	assert.NotEqual(t, seedOf("job-1", payload), seedOf("job-2", payload))

	other := payload
	other.ImageID = uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a12")
	assert.NotEqual(t, seedOf("", payload), seedOf("", other), "a job without an id")

	for i := range 1000 {
		seed := seedOf(fmt.Sprint(i), payload)
		assert.True(t, seed >= 1 && seed <= math.MaxInt32, seed)
	}
	for _, given := range []int64{0, -1, 7, math.MaxInt64} {
		payload.Seed = &given
		assert.Equal(t, given, seedOf("job-1", payload))
	}
}

func TestProgressNeverGoesBack(t *testing.T) {
	var late func(float64, string)
	cfg := working()
	cfg.Model = ModelFunc(func(_ context.Context, req Request) (Picture, error) {
		late = req.Progress
		for _, f := range []float64{0, 0.5, 0.25, math.NaN(), math.Inf(-1), -3, 1, 2, math.Inf(1)} {
			req.Progress(f, "denoising")
		}
		return Picture{Data: pngRoom(2, 2)}, nil
	})
	cfg.Sink = SinkFunc(func(context.Context, Staged) (string, error) {
		late(0.99, "too late")
		return "u", nil
	})
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	var fractions []float64
	var messages []string

	_, err = handler.run(t.Context(), "job-1", validPayload(), func(f float64, m string) {
		fractions, messages = append(fractions, f), append(messages, m)
	})

	require.NoError(t, err)
	assert.IsNonDecreasing(t, fractions)
	assert.InDeltaSlice(t, []float64{0, 0.1, 0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.9, 0.9, 0.9, 1}, fractions, 1e-9)
	assert.Equal(t, "opening the original", messages[0])
	assert.Equal(t, []string{"storing the staged picture", "staged"}, messages[11:])
	assert.NotContains(t, messages, "too late")
}

func TestProgressFromManyGoroutines(t *testing.T) {
	var mu sync.Mutex
	var fractions []float64
	steps := &progress{report: func(f float64, _ string) {
		mu.Lock()
		defer mu.Unlock()
		fractions = append(fractions, f)
	}}
	steps.begin(fromModel, "")
	within := steps.within(fromStore)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { within(float64(i)/50, "") })
	}
	wg.Wait()
	assert.Len(t, fractions, 51)
	assert.IsNonDecreasing(t, fractions)
}
