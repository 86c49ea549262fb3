package localmodel_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

func newModel(t testing.TB) *localmodel.Model {
	t.Helper()
	m, err := localmodel.New()
	require.NoError(t, err)
	return m
}

// samplePhoto is one of the bundled empty rooms.
func samplePhoto(t testing.TB, name string) image.Image {
	t.Helper()
	text, err := os.ReadFile("../rooms/" + name)
	require.NoError(t, err)
	photo, err := jpeg.Decode(bytes.NewReader(text))
	require.NoError(t, err)
	return photo
}

// drawnRoom is a small room made of flat areas: walls, ceiling, floor.
func drawnRoom(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{205, 200, 190, 255}
			switch {
			case y > h*68/100:
				c = color.RGBA{150, 110, 75, 255}
			case y < h*18/100:
				c = color.RGBA{235, 235, 235, 255}
			}
			m.SetRGBA(x, y, c)
		}
	}
	return m
}

func render(t testing.TB, m *localmodel.Model, original image.Image, req localmodel.Request) *image.RGBA {
	t.Helper()
	out, err := m.Render(context.Background(), original, req, nil)
	require.NoError(t, err)
	return out
}

// changed is the share of pixels that differ visibly.
func changed(a, b *image.RGBA) float64 {
	count := 0
	for i := 0; i < len(a.Pix); i += 4 {
		for k := range 3 {
			if d := int(a.Pix[i+k]) - int(b.Pix[i+k]); d > 24 || d < -24 {
				count++
				break
			}
		}
	}
	return float64(count) / float64(len(a.Pix)/4)
}

func TestTheSameRequestGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	photo := samplePhoto(t, "living-room.jpg")
	req := localmodel.Request{RoomType: "living_room", Style: "modern", Prompt: "warm", Seed: 7}
	first := render(t, newModel(t), photo, req)
	again := render(t, newModel(t), photo, req)
	assert.Equal(t, first.Rect, again.Rect)
	assert.True(t, bytes.Equal(first.Pix, again.Pix), "same picture, request and seed")
}

func TestAnotherChoiceLooksDifferent(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	photo := drawnRoom(600, 400)
	base := localmodel.Request{RoomType: "bedroom", Style: "modern", Seed: 1}
	reference := render(t, m, photo, base)
	rows := []struct {
		name   string
		change func(*localmodel.Request)
		least  float64
	}{
		{"seed", func(r *localmodel.Request) { r.Seed = 2 }, 0.02},
		{"style", func(r *localmodel.Request) { r.Style = "bohemian" }, 0.10},
		{"room", func(r *localmodel.Request) { r.RoomType = "office" }, 0.05},
		{"prompt", func(r *localmodel.Request) { r.Prompt = "no rug, no plants, dark" }, 0.02},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			req := base
			row.change(&req)
			assert.Greater(t, changed(reference, render(t, m, photo, req)), row.least)
		})
	}
}

func TestEveryRoomAndStyleIsFurnished(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	empty := drawnRoom(300, 200)
	for _, room := range localmodel.RoomTypes() {
		for _, style := range localmodel.Styles() {
			t.Run(room.Name+"/"+style.Name, func(t *testing.T) {
				req := localmodel.Request{RoomType: room.Name, Style: style.Name, Seed: 3}
				assert.NotEmpty(t, room.Label)
				assert.NotEmpty(t, style.Label)
				assert.Greater(t, changed(flat(empty), render(t, m, empty, req)), 0.10)
			})
		}
	}
}

func flat(m image.Image) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.Bounds().Dx(), m.Bounds().Dy()))
	draw.Draw(out, out.Rect, m, m.Bounds().Min, draw.Src)
	return out
}

func TestAnySizeIsAccepted(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	rows := []struct{ w, h, outW, outH int }{
		{1, 1, 1, 1}, {2, 3, 2, 3}, {64, 64, 64, 64}, {65, 41, 65, 41}, {33, 600, 33, 600}, {600, 33, 600, 33},
		{2048, 1, 2048, 1}, {640, 960, 640, 960}, {2049, 1000, 2048, 999}, {1500, 2500, 1228, 2048}, {6400, 300, 2048, 96},
	}
	for _, row := range rows {
		out := render(t, m, drawnRoom(row.w, row.h), localmodel.Request{Seed: int64(row.w)})
		assert.Equal(t, image.Rect(0, 0, row.outW, row.outH), out.Bounds(), "%d×%d", row.w, row.h)
	}
}

func TestAnyPictureIsAccepted(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	const w, h = 320, 213
	bounds := image.Rect(0, 0, w, h)
	filled := func(c color.Color) image.Image {
		out := image.NewRGBA(bounds)
		draw.Draw(out, bounds, image.NewUniform(c), image.Point{}, draw.Src)
		return out
	}
	noise := image.NewRGBA(bounds)
	dice := rand.New(rand.NewPCG(1, 1))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(dice.Uint32())
		if i%4 == 3 {
			noise.Pix[i] = 255
		}
	}
	in := func(dst draw.Image) image.Image {
		draw.Draw(dst, dst.Bounds(), drawnRoom(w, h), image.Point{}, draw.Src)
		return dst
	}
	ycc := image.NewYCbCr(bounds, image.YCbCrSubsampleRatio420)
	for i := range ycc.Y {
		ycc.Y[i] = uint8(i % 251)
	}
	moved := drawnRoom(w+50, h+50).SubImage(image.Rect(50, 50, w+50, h+50))
	pictures := map[string]image.Image{
		"white": filled(color.White), "black": filled(color.Black), "transparent": filled(color.Transparent), "noise": noise,
		"grey": in(image.NewGray(bounds)), "grey, 16 bits": in(image.NewGray16(bounds)), "palette": in(image.NewPaletted(bounds, palette.Plan9)),
		"YCbCr": ycc, "NRGBA": in(image.NewNRGBA(bounds)), "64 bits": in(image.NewRGBA64(bounds)), "CMYK": in(image.NewCMYK(bounds)),
		"part of another": moved,
	}
	for name, picture := range pictures {
		t.Run(name, func(t *testing.T) {
			out := render(t, m, picture, localmodel.Request{Seed: int64(len(name))})
			assert.Equal(t, bounds, out.Bounds())
			assert.True(t, out.Opaque())
		})
	}
}

func TestTheOriginalIsLeftAlone(t *testing.T) {
	t.Parallel()
	original := drawnRoom(300, 200)
	before := bytes.Clone(original.Pix)
	render(t, newModel(t), original, localmodel.Request{})
	assert.Equal(t, before, original.Pix)
}

func TestNothingToStage(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	for _, original := range []image.Image{nil, image.NewRGBA(image.Rect(0, 0, 0, 9)), image.NewRGBA(image.Rectangle{})} {
		_, err := m.Render(context.Background(), original, localmodel.Request{}, nil)
		assert.ErrorIs(t, err, localmodel.ErrNoPicture)
	}
}

func TestBadRequestsNameTheField(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	rows := []struct {
		req   localmodel.Request
		field string
	}{
		{localmodel.Request{RoomType: "garage"}, "RoomType"},
		{localmodel.Request{RoomType: "living_room " + "\x00"}, "RoomType"},
		{localmodel.Request{RoomType: "bedroom", Style: "baroque"}, "Style"},
		{localmodel.Request{Style: "modern, bohemian"}, "Style"},
	}
	for _, row := range rows {
		_, err := m.Render(context.Background(), drawnRoom(60, 40), row.req, nil)
		var bad *localmodel.FieldError
		require.ErrorAs(t, err, &bad)
		assert.Equal(t, row.field, bad.Field)
		assert.GreaterOrEqual(t, len(bad.Allowed), 4)
		assert.Contains(t, err.Error(), bad.Allowed[0])
	}
	_, err := m.Render(context.Background(), drawnRoom(60, 40), localmodel.Request{RoomType: "x", Style: "y"}, nil)
	assert.ErrorContains(t, err, "RoomType")
	assert.ErrorContains(t, err, "Style")
}

func TestNamesAreReadKindly(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	want := render(t, m, drawnRoom(120, 80), localmodel.Request{RoomType: "living_room", Style: "modern"})
	for _, req := range []localmodel.Request{{}, {RoomType: " Living Room", Style: "MODERN"}, {RoomType: "living-room"}} {
		assert.Equal(t, want.Pix, render(t, m, drawnRoom(120, 80), req).Pix)
	}
}

func TestACancelledContextEndsTheWork(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	reason := errors.New("the job was canceled")

	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(reason)
		calls := 0
		_, err := m.Render(ctx, drawnRoom(300, 200), localmodel.Request{}, func(float64, string) { calls++ })
		assert.ErrorIs(t, err, reason)
		assert.Zero(t, calls)
	})
	t.Run("during each step", func(t *testing.T) {
		for stop := 1; stop <= 6; stop++ {
			ctx, cancel := context.WithCancelCause(context.Background())
			calls := 0
			_, err := m.Render(ctx, drawnRoom(300, 200), localmodel.Request{}, func(float64, string) {
				if calls++; calls == stop {
					cancel(reason)
				}
			})
			assert.ErrorIs(t, err, reason)
			assert.Equal(t, stop, calls, "nothing is begun afterwards")
			cancel(nil)
		}
	})
}

func TestProgressRises(t *testing.T) {
	t.Parallel()
	last := -1.0
	_, err := newModel(t).Render(context.Background(), drawnRoom(300, 200), localmodel.Request{}, func(fraction float64, message string) {
		assert.Greater(t, fraction, last)
		assert.NotEmpty(t, message)
		last = fraction
	})
	require.NoError(t, err)
	assert.InDelta(t, 1.0, last, 0)
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	want := render(t, m, drawnRoom(240, 160), localmodel.Request{Seed: 5})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			out, err := m.Render(context.Background(), drawnRoom(240, 160), localmodel.Request{Seed: 5}, nil)
			if assert.NoError(t, err) {
				assert.True(t, bytes.Equal(want.Pix, out.Pix))
			}
		})
	}
	wg.Wait()
}

// FuzzRequest: whatever a request holds, there is a picture or a *FieldError.
func FuzzRequest(f *testing.F) {
	f.Add("living_room", "modern", "warm and bright, no rug", int64(1), uint16(60), uint16(40))
	f.Add("", "", "", int64(-1), uint16(1), uint16(300))
	f.Add("Bedroom", "x", "without plants", int64(1<<62), uint16(300), uint16(2))
	m := newModel(f)
	f.Fuzz(func(t *testing.T, room, style, prompt string, seed int64, w, h uint16) {
		original := drawnRoom(1+int(w%400), 1+int(h%400))
		req := localmodel.Request{RoomType: room, Style: style, Prompt: prompt, Seed: seed}
		out, err := m.Render(context.Background(), original, req, nil)
		if err != nil {
			var bad *localmodel.FieldError
			require.ErrorAs(t, err, &bad)
			return
		}
		assert.Equal(t, original.Rect, out.Rect)
	})
}

func BenchmarkRender(b *testing.B) {
	m := newModel(b)
	photo := samplePhoto(b, "living-room.jpg")
	for b.Loop() {
		_, err := m.Render(context.Background(), photo, localmodel.Request{Seed: 1}, nil)
		require.NoError(b, err)
	}
}
