//go:build unix

package browsertest

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// chromium finds a browser. Without one the test is skipped, or fails where servers are required.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(redistest.RequireEnv) == "1" {
		t.Fatalf("%s is 1, but there is no chromium on this machine", redistest.RequireEnv)
	}
	t.Skip("no chromium on this machine")
	return ""
}

// browser starts a Chromium with a new profile, which ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.NoSandbox, // needs rights that containers don't give
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1280, 1000),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	silent := func(string, ...any) {} // it tells of every message that is newer than the driver
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(silent), chromedp.WithLogf(silent))
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), "start the browser")
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // waits for its end
	return ctx
}

// tab is one open page.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// openTab opens an address in a new tab of a browser.
func openTab(browser context.Context, t *testing.T, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Do(ctx)) // makes the tab, which would end with a deadline
	p.do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#go")))
	return p
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...))
}

// eval runs a script and returns its value.
func eval[T any](p *tab, script string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	require.NoError(p.t, err, script)
	return value
}

// await waits until a script's value is true.
func (p *tab) await(script string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	// At an interval, as a tab in the background draws no frames.
	_, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](script,
		chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(0)))
	if err != nil {
		seen := eval[string](p, "document.getElementById('view').innerText")
		require.NoError(p.t, err, "await %s; the view says: %s", script, seen)
	}
}
