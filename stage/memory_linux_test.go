package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// What a process takes that runs 16 jobs at once, with 25 megapixels each. Run it with -benchtime 1x: it is about
// memory, not about time.
//
//	go test -run '^$' -bench Memory -benchtime 1x ./stage
const (
	photoSide  = 5000
	photosHeld = 16
	// heldPixel is the most that painter has of a pixel at once: the decoded one, at 4:2:0, and its copy as RGBA.
	heldPixel = 1.5 + 4
	budgetVar = "STAGE_MEMORY_PIXEL_BUDGET" // tells the test binary to be the process that is measured
)

// BenchmarkMemory reports the peak of a process's memory (VmHWM) for several budgets, and fails above a ceiling. Without
// GOMEMLIMIT that is the pixels of the budget two and a half times, since garbage may double a heap before it is
// collected, all originals three times, and what a Go program takes by itself.
func BenchmarkMemory(b *testing.B) {
	photo := filepath.Join(b.TempDir(), "photo.jpg")
	data := largePhoto(b)
	require.NoError(b, os.WriteFile(photo, data, 0o600))
	for _, row := range []struct {
		pictures int // that the budget has room for
		limit    int // GOMEMLIMIT in MiB; zero: none
	}{{1, 0}, {4, 0}, {4, 700}, {16, 0}} {
		budget := row.pictures * photoSide * photoSide
		ceiling := 2.5*heldPixel*float64(budget) + 3*photosHeld*float64(len(data)) + 64<<20
		if row.limit > 0 {
			ceiling = 1.2 * float64(row.limit<<20)
		}
		b.Run(fmt.Sprintf("budget=%dMP/GOMEMLIMIT=%dMiB", budget/1_000_000, row.limit), func(b *testing.B) {
			for b.Loop() {
				peak := float64(measure(b, photo, budget, row.limit))
				b.ReportMetric(peak/(1<<20), "MiB-peak")
				b.ReportMetric(ceiling/(1<<20), "MiB-ceiling")
				b.ReportMetric(0, "ns/op")
				if peak > ceiling {
					b.Errorf("the peak is %.0f MiB, the ceiling %.0f MiB", peak/(1<<20), ceiling/(1<<20))
				}
			}
		})
	}
}

// largePhoto is a JPEG of 25 megapixels, as a camera's: mostly smooth, with some grain.
func largePhoto(t testing.TB) []byte {
	t.Helper()
	img := image.NewYCbCr(image.Rect(0, 0, photoSide, photoSide), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = uint8(i/photoSide/20 + i*7%5)
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = uint8(100+i%50), uint8(120+i%30)
	}
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}))
	return b.Bytes()
}

// measure runs the jobs in a process of their own and returns the peak of its memory in bytes.
func measure(b *testing.B, photo string, budget, limit int) int64 {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestMemoryOfAProcess$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", budgetVar, budget), "STAGE_MEMORY_PHOTO="+photo, "GOMEMLIMIT=off")
	if limit > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMEMLIMIT=%dMiB", limit)) // the last one counts
	}
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s", out)
	_, after, found := strings.Cut(string(out), "VmHWM:")
	require.True(b, found, "%s", out)
	kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	require.NoError(b, err)
	return kib << 10
}

// TestMemoryOfAProcess is the process that BenchmarkMemory measures.
func TestMemoryOfAProcess(t *testing.T) {
	budget, err := strconv.ParseInt(os.Getenv(budgetVar), 10, 64)
	if err != nil {
		t.Skip("BenchmarkMemory runs this")
	}
	photo := os.Getenv("STAGE_MEMORY_PHOTO")
	model := &painter{together: int(min(budget/(photoSide*photoSide), photosHeld)), full: make(chan struct{})}
	handler, err := NewHandler(Config{
		Source: Files{Root: filepath.Dir(photo)}, Model: model, Sink: Files{Root: t.TempDir()},
		MaxPixels: photoSide * photoSide, PixelBudget: budget,
	})
	require.NoError(t, err)
	payload := validPayload()
	payload.OriginalURL = filepath.Base(photo)
	problems := make([]error, photosHeld)
	var running sync.WaitGroup
	for i := range photosHeld {
		running.Go(func() {
			problems[i] = handler.Handle(t.Context(), &worker.Job{ID: strconv.Itoa(i)}, payload)
		})
	}
	running.Wait()
	require.NoError(t, errors.Join(problems...))
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(after, "\n")
	fmt.Println("VmHWM:", line)
}

// painter is a model that decodes and makes a copy to paint on. It keeps both until as many pictures are in its hands as
// the budget allows: the worst that can happen.
type painter struct {
	together int

	mu   sync.Mutex
	held int
	full chan struct{} // closed when together pictures are held; then the next round begins
}

func (p *painter) Stage(_ context.Context, req Request) (Picture, error) {
	decoded, _, err := image.Decode(bytes.NewReader(req.Original.Data))
	if err != nil {
		return Picture{}, err
	}
	canvas := image.NewRGBA(decoded.Bounds())
	draw.Draw(canvas, canvas.Rect, decoded, image.Point{}, draw.Src)
	<-p.hold()
	canvas.SetRGBA(1, 1, color.RGBA{R: 255, A: 255})
	var b bytes.Buffer
	err = jpeg.Encode(&b, canvas.SubImage(image.Rect(0, 0, 400, 400)), nil)
	return Picture{Data: b.Bytes(), Model: fmt.Sprint(decoded.Bounds())}, err
}

// hold returns what is closed when enough pictures are held.
func (p *painter) hold() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	full := p.full
	if p.held++; p.held == p.together {
		p.held, p.full = 0, make(chan struct{})
		close(full)
	}
	return full
}
