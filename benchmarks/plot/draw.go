package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// The drawing's measures, in pixels.
const (
	width      = 860
	margin     = 24
	labelWidth = 150 // to the left of the bars
	valueWidth = 90  // to the right of the longest one
	barHeight  = 16
	barGap     = 6
	titleGap   = 48 // from one group to the first bar of the next
	headHeight = 56
	footHeight = 40
)

// draw writes a chart as SVG: horizontal bars on a logarithmic scale that is the same for all groups, on a background of
// its own, so that it reads the same on a light and on a dark page.
func draw(c chart) string {
	s := newScale(c)
	height := headHeight + footHeight
	for _, g := range c.groups {
		height += titleGap + len(g.bars)*(barHeight+barGap)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" `+
		`aria-label="%s" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12">`+"\n",
		width, height, escape(c.title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="6" fill="#ffffff" stroke="#d0d7de"/>`+"\n", width, height)
	text(&b, margin, 32, "start", `font-size="18" font-weight="600" fill="#1f2328"`, c.title)
	text(&b, width-margin, 32, "end", `fill="#59636e"`, "logarithmic scale")
	y := headHeight
	for _, g := range c.groups {
		y = drawGroup(&b, g, s, y)
	}
	text(&b, margin, height-16, "start", `font-size="10" fill="#59636e"`, c.source)
	b.WriteString("</svg>\n")
	return b.String()
}

// drawGroup draws a group below y and returns where it ends.
func drawGroup(b *strings.Builder, g group, s scale, y int) int {
	text(b, margin, y+22, "start", `font-size="13" font-weight="600" fill="#1f2328"`, g.title)
	top := y + titleGap - 6 // the axis stands above it
	bottom := top + len(g.bars)*(barHeight+barGap)
	for at := s.low; at <= s.high; at *= 10 {
		x := s.x(at)
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%[1]f" y2="%d" stroke="#eaeef2"/>`+"\n", x, top, bottom)
		text(b, int(x), top-4, "middle", `font-size="10" fill="#818b98"`, short(at))
	}
	for i, r := range g.bars {
		drawBar(b, r, s, top+4+i*(barHeight+barGap))
	}
	return bottom + 6
}

func drawBar(b *strings.Builder, r bar, s scale, y int) {
	middle := y + barHeight/2
	left, right := s.x(s.low), s.x(r.value)
	text(b, margin+labelWidth-8, middle+4, "end", `fill="#1f2328"`, r.label)
	fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>`+"\n",
		left, y, max(right-left, 1), barHeight, r.color)
	if r.high > r.low {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%[2]d" stroke="#1f2328"/>`+"\n", s.x(r.low), middle, s.x(r.high))
	}
	text(b, int(max(right, s.x(r.high)))+6, middle+4, "start", `fill="#1f2328"`, results.Thousands(r.value))
}

func text(b *strings.Builder, x, y int, anchor, style, s string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, style, escape(s))
}

// scale maps values to places: logarithmic, between powers of ten.
type scale struct{ low, high float64 }

func newScale(c chart) scale {
	low, high := math.Inf(1), 1.0
	for _, g := range c.groups {
		for _, r := range g.bars {
			low, high = min(low, r.low), max(high, r.high)
		}
	}
	if math.IsInf(low, 1) || low < 1 {
		low = 1
	}
	s := scale{low: math.Pow(10, math.Floor(math.Log10(low))), high: math.Pow(10, math.Ceil(math.Log10(high)))}
	if s.low == s.high {
		s.high *= 10
	}
	return s
}

// x returns where a value is; one below the scale is where that begins.
func (s scale) x(v float64) float64 {
	const left, right = margin + labelWidth, width - margin - valueWidth
	part := math.Log10(max(v, s.low)/s.low) / math.Log10(s.high/s.low)
	return left + part*(right-left)
}

// short writes a power of ten: 1,000 as 1k.
func short(f float64) string {
	switch {
	case f >= 1e6:
		return strconv.FormatFloat(f/1e6, 'f', -1, 64) + "M"
	case f >= 1e3:
		return strconv.FormatFloat(f/1e3, 'f', -1, 64) + "k"
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func escape(s string) string { return escaper.Replace(s) }
