//go:build unix

package browsertest

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// screenshotsEnv names the directory for pictures of the page.
const screenshotsEnv = "STAGING_SCREENSHOTS"

// The page in all its states, to be looked at. docs/staging-page.png is done-light.png.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv(screenshotsEnv)
	if dir == "" {
		t.Skipf("%s names no directory for them", screenshotsEnv)
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	b := browser(t)
	for _, scheme := range []string{"light", "dark"} {
		s := open(t, "250ms")
		p := openTab(b, t, s.url)
		save := func(name string) { p.save(filepath.Join(dir, name+"-"+scheme+".png")) }
		p.do(chromedp.EmulateViewport(1200, 1350), prefer(scheme))
		save("empty")
		for _, o := range [][3]string{
			{"living-room", "living_room", "modern"}, {"bedroom", "bedroom", "modern"},
			{"living-room", "dining_room", "industrial"}, {"bedroom", "bedroom", "bohemian"},
		} {
			p.order(o, "3")
			p.await(done)
			p.await(`!document.getElementById('go').disabled`)
		}
		p.order([3]string{"living-room", "living_room", "scandinavian"}, "7")
		p.await(progress + ` >= 38`)
		save("busy")
		s.api.kill()
		p.await(isLost)
		save("lost")
		s.api.start()
		p.await(done)
		save("done")
		p.sendDamaged()
		save("failed")
		p.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2)))
		save("phone")
	}
}

// order chooses a picture, a room and a style, and sends them.
func (p *tab) order(what [3]string, seed string) {
	p.t.Helper()
	p.choose(what[0], what[1], what[2])
	p.do(chromedp.SetValue(chromedp.CSS("#seed"), seed))
	p.stage()
}

// prefer makes the browser ask for a colour scheme, and for no motion, which would blur pictures.
func prefer(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	})
}

func (p *tab) save(file string) {
	p.t.Helper()
	// Away from the buttons, with all pictures there.
	p.await(`document.activeElement?.blur() ?? window.scrollTo(0, 0) ?? [...document.images].every((img) => img.hidden || !img.src || img.complete)`)
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(file, compress(p.t, picture), 0o644))
}

// compress makes a PNG smaller than browsers, which are in a hurry, do.
func compress(t *testing.T, picture []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
	var small bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, img))
	return small.Bytes()
}
