//go:build unix

package browsertest

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the page's elements say.
const (
	progress = `+document.getElementById('bar').getAttribute('aria-valuenow')`
	done     = `document.getElementById('compare').dataset.state === 'done' && document.getElementById('after').naturalWidth > 0`
	isLost   = `!document.getElementById('lost').hidden`
	// states are those that the page was told, in order.
	states = `[...document.querySelectorAll('#story li')].map((li) => li.textContent.trim().split(/ +/)[2])`
	// story is all that it was told, but for the times, which count from the first line.
	story = `[...document.querySelectorAll('#story li')].map((li) => li.textContent.replace(/^ *[0-9.]+ s +/, ''))`
)

// watch notes all that the progress bar shows, in a list that a reload would empty.
const watch = `window.bars = []; new MutationObserver(() => bars.push(` + progress + `))
	.observe(document.getElementById('bar'), { attributes: true, attributeFilter: ['aria-valuenow'] });`

// choose clicks a bundled picture, a room and a style.
func (p *tab) choose(sample, room, style string) {
	p.t.Helper()
	p.do(
		chromedp.Click(chromedp.CSS(`[name=picture][value="`+sample+`"] + img`)),
		chromedp.Click(chromedp.CSS(`[name=room_type][value="`+room+`"] + span`)),
		chromedp.Click(chromedp.CSS(`[name=style][value="`+style+`"] + span`)),
	)
}

// stage sends the order and returns when the worker has begun.
func (p *tab) stage() {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](watch), chromedp.Click(chromedp.CSS("#go")))
	p.await(states + `.includes('running')`)
}

// assertComplete holds a page to what it must have shown of a job that succeeded.
func (p *tab) assertComplete() {
	p.t.Helper()
	told := eval[[]string](p, states)
	if told[0] == "queued" { // a worker may be faster than the API tells of it
		told = told[1:]
	}
	assert.Equal(p.t, []string{"running", "succeeded"}, slices.Compact(slices.Clone(told)))
	assert.Greater(p.t, len(told), 3, "there are several steps: %v", told)

	bars := eval[[]int](p, "bars")
	assert.True(p.t, slices.IsSorted(bars), "progress goes up: %v", bars)
	assert.GreaterOrEqual(p.t, len(slices.Compact(slices.Clone(bars))), 3, "progress is seen: %v", bars)
	assert.Equal(p.t, 100, bars[len(bars)-1])
	assert.False(p.t, eval[bool](p, isLost))
	assert.NotEmpty(p.t, eval[[]string](p, `[...document.querySelectorAll('#gallery li')].map((li) => li.dataset.id)`))
}

// A bundled picture and one's own: chosen, sent, followed, shown.
func TestStageAndWatch(t *testing.T) {
	t.Parallel()
	b := browser(t)
	s := open(t, "150ms")
	p := openTab(b, t, s.url)
	p.choose("bedroom", "bedroom", "scandinavian")
	p.stage()
	p.await(done)
	p.assertComplete()
	assert.Equal(t, "Bedroom, Scandinavian", eval[string](p, `document.getElementById('view-title').textContent`))
	first := eval[string](p, `document.getElementById('after').src`)

	own, err := filepath.Abs("../rooms/living-room.jpg")
	require.NoError(t, err)
	p.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{own}))
	p.await(`document.querySelector('#mine input').checked`)
	p.stage()
	p.await(done + ` && document.getElementById('after').src !== '` + first + `'`)
	p.assertComplete()
	assert.Contains(t, eval[string](p, `document.getElementById('before').src`), "/images/originals/")
	assert.Equal(t, 2, eval[int](p, `document.querySelectorAll('#gallery li').length`))
}

// A picture that nobody can read ends with the reason, on the page.
func TestDamagedPicture(t *testing.T) {
	t.Parallel()
	b := browser(t)
	s := open(t, "0s")
	p := openTab(b, t, s.url)
	p.sendDamaged()
	assert.Contains(t, eval[string](p, `document.getElementById('view-problem').textContent`), "cut short")
	assert.Equal(t, "failed", eval[string](p, states+`.at(-1)`))
}

// sendDamaged sends a PNG whose head is in order, past the page's own look at it.
func (p *tab) sendDamaged() {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](`(async () => {
		const canvas = new OffscreenCanvas(210, 140);
		const room = canvas.getContext('2d');
		room.fillStyle = '#cfc6b8';
		room.fillRect(0, 0, 210, 95);
		room.fillStyle = '#9a7b5b';
		room.fillRect(0, 95, 210, 45);
		const whole = await canvas.convertToBlob({ type: 'image/png' });
		const order = new FormData();
		order.set('image', whole.slice(0, whole.size - 40), 'damaged.png');
		const answer = await fetch('/jobs', { method: 'POST', body: order });
		if (!answer.ok) throw new Error(await answer.text());
	})()`, chromedp.EvalAwaitPromise))
	p.do(chromedp.Reload())
	p.await(`document.getElementById('compare').dataset.state === 'failed'`)
	p.await(states + `.includes('failed')`)
}

// The API is killed while a picture is being staged. The worker goes on; the page says that it is cut off, and catches up
// by itself when the API is back, be that in the middle of the job or after its end.
func TestAPIKilledInMidJob(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(*site){
		"back in time":       func(*site) {},
		"back after the end": func(s *site) { s.worker.await("succeeded") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := browser(t)
			s := open(t, "700ms")
			p := openTab(b, t, s.url)
			p.choose("living-room", "living_room", "modern")
			p.stage()
			p.await(progress + ` >= 10`)
			s.api.kill()
			p.await(isLost)
			before := eval[[]string](p, states)
			assert.NotContains(t, before, "succeeded")
			meanwhile(s)
			assert.True(t, eval[bool](p, isLost), "there is nobody to reach")
			s.api.start()
			p.await(done)
			p.assertComplete() // by what it has noted since before the kill: it was not reloaded
			assert.Greater(t, len(eval[[]string](p, states)), len(before))
		})
	}
}

// The worker is killed while it stages a picture; another one takes the job over. The page sees it through.
func TestWorkerKilledInMidJob(t *testing.T) {
	t.Parallel()
	b := browser(t)
	s := open(t, "700ms")
	p := openTab(b, t, s.url)
	p.stage()
	p.await(progress + ` >= 10`)
	s.worker.kill()
	s.worker.start()
	p.await(done)
	told := eval[[]string](p, states)
	assert.Equal(t, "succeeded", told[len(told)-1])
	assert.NotContains(t, told, "failed")
}

// Two tabs, one of them opened in mid-job, are told the same.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	b := browser(t)
	s := open(t, "400ms")
	first := openTab(b, t, s.url)
	first.choose("bedroom", "bedroom", "modern")
	first.stage()
	first.await(progress + ` >= 10`)
	s.worker.pause() // the job doesn't end before the second tab is there, however long that takes
	second := openTab(b, t, s.url)
	second.await(states + `.includes('running')`)
	assert.NotContains(t, eval[[]string](second, states), "succeeded", "it was opened in mid-job")
	s.worker.resume()
	for _, p := range []*tab{first, second} {
		p.await(done)
	}
	one, two := eval[[]string](first, story), eval[[]string](second, story)
	require.Greater(t, len(two), 3)
	require.GreaterOrEqual(t, len(one), len(two))
	assert.Equal(t, one[len(one)-len(two):], two)
	assert.Equal(t, eval[string](first, `document.getElementById('after').src`), eval[string](second, `document.getElementById('after').src`))
}
