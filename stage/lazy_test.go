package stage

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// lazy is a LazyModel; Stage is never called.
type lazy func(ctx context.Context, req Request, original func() (Image, error)) (Picture, error)

func (lazy) Stage(context.Context, Request) (Picture, error) { panic("Stage is called") }

func (m lazy) StageLazily(ctx context.Context, req Request, original func() (Image, error)) (Picture, error) {
	return m(ctx, req, original)
}

// farLazy keeps pictures encoded.
type farLazy struct{ lazy }

func (farLazy) Remote() bool { return true }

// A LazyModel opens the original when it wants it, once, or not at all.
func TestLazyModel(t *testing.T) {
	for _, calls := range []int{0, 1, 2} {
		opened := 0
		cfg := working()
		source := cfg.Source
		cfg.Source = SourceFunc(func(ctx context.Context, url string) (Original, error) {
			opened++
			return source.Open(ctx, url)
		})
		cfg.Model = farLazy{func(_ context.Context, req Request, original func() (Image, error)) (Picture, error) {
			assert.Zero(t, opened)
			assert.Empty(t, req.Original)
			assert.Equal(t, "photos/1.jpg", req.OriginalURL)
			assert.NotEmpty(t, req.Prompt)
			req.Progress(0.5, "looking")
			for range calls {
				img, err := original()
				assert.NoError(t, err)
				assert.Equal(t, 64, img.Width)
			}
			return Picture{Data: pngRoom(2, 2)}, nil
		}}
		handler, err := NewHandler(cfg)
		require.NoError(t, err)
		payload := validPayload()
		payload.OriginalURL = "photos/1.jpg"
		var messages []string
		_, err = handler.run(t.Context(), "job-1", payload, func(_ float64, m string) { messages = append(messages, m) })
		require.NoError(t, err)
		assert.Equal(t, min(calls, 1), opened)
		want := []string{"staging", "looking"}
		if calls > 0 {
			want = append(want, "opening the original")
		}
		assert.Equal(t, append(want, "storing the staged picture", "staged"), messages)
	}
}

// What keeps an original from being opened is judged as it is with other models.
func TestLazyModelCannotOpen(t *testing.T) {
	for _, row := range []struct {
		source    Source
		is        error
		permanent bool
	}{
		{sourceErr(ErrNotFound), ErrNotFound, true},
		{sourceErr(errors.New("boom")), nil, false},
		{sourceOf(pngRoom(64, 48)[:50]), ErrUndecodable, true},
	} {
		cfg := working()
		cfg.Source = row.source
		cfg.Model = lazy(func(_ context.Context, _ Request, original func() (Image, error)) (Picture, error) {
			_, err := original()
			assert.Error(t, err)
			_, again := original()
			assert.Equal(t, err, again)
			return Picture{}, err
		})
		handler, err := NewHandler(cfg)
		require.NoError(t, err)
		err = handler.Handle(t.Context(), &worker.Job{ID: "1"}, validPayload())
		require.ErrorContains(t, err, "stage: open original: ")
		assert.Equal(t, row.permanent, worker.IsPermanent(err))
		if row.is != nil {
			assert.ErrorIs(t, err, row.is)
		}
		assert.Zero(t, handler.pixels.queue.Len())
		assert.EqualValues(t, DefaultPixelBudget, handler.pixels.free)
	}
}

// A LazyModel that decodes takes its pixels when it opens the original, and gives them back when it returns or panics.
func TestLazyModelTakesPixels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := working()
		cfg.Source, cfg.PixelBudget = sourceOf(jpegOf(t, 5000, 5000)), 50_000_000
		m := &meter{}
		cfg.Model = lazy(func(ctx context.Context, req Request, original func() (Image, error)) (Picture, error) {
			time.Sleep(time.Second) // takes nothing yet
			var err error
			if req.Original, err = original(); err != nil {
				return Picture{}, err
			}
			_, _ = original()
			return m.Stage(ctx, req)
		})
		assert.Equal(t, 5*time.Second, together(t, cfg, 8))
		assert.EqualValues(t, 2, m.mostJob)

		cfg.Model = lazy(func(_ context.Context, _ Request, original func() (Image, error)) (Picture, error) {
			_, _ = original()
			panic("boom")
		})
		handler, err := NewHandler(cfg)
		require.NoError(t, err)
		require.Panics(t, func() { _ = handler.Handle(t.Context(), &worker.Job{ID: "1"}, validPayload()) })
		assert.EqualValues(t, 50_000_000, handler.pixels.free)
	})
}

// A job whose time is over calls nobody.
func TestLazyModelIsNotCalledInVain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := working()
	cfg.Model = lazy(func(context.Context, Request, func() (Image, error)) (Picture, error) {
		t.Error("the model is called")
		return Picture{}, nil
	})
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	require.ErrorIs(t, handler.Handle(ctx, &worker.Job{ID: "1"}, validPayload()), context.Canceled)
}
