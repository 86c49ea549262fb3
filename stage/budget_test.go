package stage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// jpegOf is a small file whose header says that it is larger. Who doesn't decode it takes it for that.
func jpegOf(t testing.TB, width, height uint16) []byte {
	t.Helper()
	data := jpegRoom(8, 8)
	frame := bytes.Index(data, []byte{0xFF, 0xC0}) // marker, length, precision, height, width
	require.Positive(t, frame)
	binary.BigEndian.PutUint16(data[frame+5:], height)
	binary.BigEndian.PutUint16(data[frame+7:], width)
	return data
}

// meter is a model that takes a second, and counts what it has in its hands.
type meter struct {
	mu            sync.Mutex
	pixels, jobs  int64
	most, mostJob int64
	order         []string
}

func (m *meter) Stage(_ context.Context, req Request) (Picture, error) {
	m.add(int64(req.Original.Width)*int64(req.Original.Height), 1, req.OriginalURL)
	time.Sleep(time.Second)
	m.add(-int64(req.Original.Width)*int64(req.Original.Height), -1, "")
	return Picture{Data: pngRoom(2, 2)}, nil
}

func (m *meter) add(pixels, jobs int64, url string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pixels, m.jobs = m.pixels+pixels, m.jobs+jobs
	m.most, m.mostJob = max(m.most, m.pixels), max(m.mostJob, m.jobs)
	if url != "" {
		m.order = append(m.order, url)
	}
}

// far is a meter elsewhere.
type far struct{ *meter }

func (far) Remote() bool { return true }

// near says that it is a meter here.
type near struct{ *meter }

func (near) Remote() bool { return false }

// together runs as many jobs at once and returns how long they took.
func together(t *testing.T, cfg Config, jobs int) time.Duration {
	t.Helper()
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	began := time.Now()
	var running sync.WaitGroup
	for range jobs {
		running.Go(func() {
			assert.NoError(t, handler.Handle(t.Context(), &worker.Job{ID: "1"}, validPayload()))
		})
	}
	running.Wait()
	return time.Since(began)
}

// Of 16 jobs with 25 megapixels each, the model has as many as the budget allows, and no fewer.
func TestPixelBudget(t *testing.T) {
	for _, row := range []struct {
		name             string
		budget, jobs     int64
		maxPixels, takes int64
	}{
		{"default", 0, 4, 0, 4},
		{"one at a time", 49_999_999, 1, 25_000_000, 16},
		{"exactly two", 50_000_000, 2, 0, 8},
		{"all", 400_000_000, 16, 0, 1},
		{"default for larger pictures", 0, 8, 200_000_000, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				model := &meter{}
				cfg := working()
				cfg.Source, cfg.Model = sourceOf(jpegOf(t, 5000, 5000)), model
				cfg.PixelBudget, cfg.MaxPixels = row.budget, row.maxPixels
				took := together(t, cfg, 16)
				assert.Equal(t, row.jobs*25_000_000, model.most)
				assert.Equal(t, time.Duration(row.takes)*time.Second, took, "the budget is used")
				assert.Zero(t, model.pixels)
			})
		})
	}
}

// A service's pictures take no memory here.
func TestRemoteModelTakesNoPixels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := working()
		cfg.Source, cfg.PixelBudget = sourceOf(jpegOf(t, 5000, 5000)), 50_000_000
		elsewhere, here := &meter{}, &meter{}
		cfg.Model = far{elsewhere}
		assert.Equal(t, time.Second, together(t, cfg, 16))
		assert.EqualValues(t, 16, elsewhere.mostJob)
		cfg.Model = near{here}
		assert.Equal(t, 8*time.Second, together(t, cfg, 16))
		assert.EqualValues(t, 2, here.mostJob)
	})
}

// A large picture behind a small one isn't overtaken by the small ones behind itself.
func TestPixelBudgetServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := &meter{}
		cfg := working()
		cfg.Model, cfg.PixelBudget, cfg.MaxPixels = model, 49_000_000, 49_000_000
		cfg.Source = SourceFunc(func(ctx context.Context, url string) (Original, error) {
			side := map[byte]uint16{'s': 1000, 'l': 7000}[url[0]]
			return sourceOf(jpegOf(t, side, side))(ctx, url)
		})
		handler, err := NewHandler(cfg)
		require.NoError(t, err)
		var running sync.WaitGroup
		for _, url := range []string{"s1", "l2", "s3", "s4", "l5", "s6"} {
			payload := validPayload()
			payload.OriginalURL = url
			running.Go(func() { assert.NoError(t, handler.Handle(t.Context(), &worker.Job{ID: url}, payload)) })
			synctest.Wait()
		}
		running.Wait()
		require.Len(t, model.order, 6)
		slices.Sort(model.order[2:4]) // these two begin at once
		assert.Equal(t, []string{"s1", "l2", "s3", "s4", "l5", "s6"}, model.order)
	})
}

// Whatever becomes of a job, it keeps no pixels.
func TestPixelsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := working()
		cfg.Source, cfg.PixelBudget = sourceOf(jpegOf(t, 7000, 7000)), 50_000_000
		var next ModelFunc
		cfg.Model = ModelFunc(func(ctx context.Context, req Request) (Picture, error) { return next(ctx, req) })
		handler, err := NewHandler(cfg)
		require.NoError(t, err)
		run := func(ctx context.Context) error { return handler.Handle(ctx, &worker.Job{ID: "1"}, validPayload()) }

		works := modelOf(pngRoom(2, 2), nil)
		next = modelOf(nil, errors.New("boom"))
		require.ErrorContains(t, run(t.Context()), "boom")
		next = func(context.Context, Request) (Picture, error) { panic("boom") }
		require.Panics(t, func() { _ = run(t.Context()) })

		// One model is busy: who waits for it behind it goes away when its time is up, and never calls the model.
		next = func(ctx context.Context, req Request) (Picture, error) {
			time.Sleep(time.Minute)
			return works(ctx, req)
		}
		var first sync.WaitGroup
		first.Go(func() { assert.NoError(t, run(t.Context())) })
		synctest.Wait()
		next = func(ctx context.Context, req Request) (Picture, error) {
			t.Error("the model is called")
			return works(ctx, req)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = run(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "wait for the pixel budget")
		assert.False(t, worker.IsPermanent(err))
		first.Wait()

		next = works
		require.NoError(t, run(t.Context()))
		assert.EqualValues(t, 50_000_000, handler.pixels.free)
		assert.Zero(t, handler.pixels.queue.Len())
	})
}

func TestPixelBudgetIsChecked(t *testing.T) {
	for _, row := range []struct {
		budget, maxPixels int64
		problem           string
	}{
		{-1, 0, "PixelBudget is -1: it must not be negative"},
		{49_999_999, 0, "PixelBudget is 49999999: it must not be less than MaxPixels, 50000000"},
		{10, 11, "PixelBudget is 10: it must not be less than MaxPixels, 11"},
		{10, 10, ""},
	} {
		cfg := working()
		cfg.PixelBudget, cfg.MaxPixels = row.budget, row.maxPixels
		_, err := NewHandler(cfg)
		if row.problem == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, row.problem)
		}
	}
}

// Units are never lent twice and never lost, whoever comes and goes.
func TestBudgetUnderLoad(t *testing.T) {
	const units = 100
	b := newBudget(units)
	var lent atomic.Int64
	var running sync.WaitGroup
	for i := range 16 {
		running.Go(func() {
			dice := rand.New(rand.NewPCG(7, uint64(i)))
			for range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				if dice.IntN(3) == 0 {
					go cancel() // perhaps before, perhaps after it is served
				}
				n := 1 + dice.Int64N(units)
				if b.acquire(ctx, n) == nil {
					if now := lent.Add(n); now > units {
						t.Errorf("%d of %d units are lent", now, units)
					}
					lent.Add(-n)
					b.release(n)
				}
				cancel()
			}
		})
	}
	running.Wait()
	assert.EqualValues(t, units, b.free)
	assert.Zero(t, b.queue.Len())
}

// Who waits behind a claim that is withdrawn is served at once.
func TestBudgetWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		require.NoError(t, b.acquire(t.Context(), 6))
		ctx, cancel := context.WithCancel(t.Context())
		var large, small error
		var waiting sync.WaitGroup
		waiting.Go(func() { large = b.acquire(ctx, 10) })
		synctest.Wait()
		served := false
		waiting.Go(func() { small = b.acquire(t.Context(), 4); served = true })
		synctest.Wait()
		require.False(t, served, "it doesn't overtake")
		cancel()
		waiting.Wait()
		require.ErrorIs(t, large, context.Canceled)
		require.NoError(t, small)

		require.ErrorIs(t, b.acquire(ctx, 1), context.Canceled, "a context that has ended gets nothing")
		b.release(10)
		assert.EqualValues(t, 10, b.free)
		require.ErrorIs(t, b.acquire(ctx, 1), context.Canceled, "also when all is free")
		assert.EqualValues(t, 10, b.free)
	})
}
