package plot

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"time"
)

// The drawing's measures, in pixels.
const (
	width, height = 560, 208 // of a chart's box with the gap to the next
	gap           = 8
	left, right   = 58, 18 // margins of the plot within the box
	top, bottom   = 40, 56
	columns       = 2
	most          = 8 // series in a chart
	letter        = 6 // about what one takes, to place the legend
)

const (
	page  = "#111217"
	box   = "#181b1f"
	grid  = "#2c3235"
	title = "#d8d9da"
	dim   = "#9a9ba0"
	light = "#ccccdc"
)

// sheet is the drawing: when it begins and ends, and the time between two points.
type sheet struct {
	from, to time.Time
	step     time.Duration
}

// chart is one panel with its data.
type chart struct {
	title, unit string
	lines       []line
}

// draw writes all charts, row by row.
func (s *sheet) draw(charts []chart) []byte {
	var out strings.Builder
	rows := (len(charts) + columns - 1) / columns
	w, h := columns*width+gap, rows*height+gap
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" `+
		`aria-label="Dashboard" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="11">`+
		`<rect width="%[1]d" height="%[2]d" rx="6" fill="%s"/>`+"\n", w, h, page)
	for i, c := range charts {
		fmt.Fprintf(&out, `<g transform="translate(%d,%d)">`, gap+i%columns*width, gap+i/columns*height)
		s.drawChart(&out, c)
		out.WriteString("</g>\n")
	}
	out.WriteString("</svg>\n")
	return []byte(out.String())
}

func (s *sheet) drawChart(out *strings.Builder, c chart) {
	fmt.Fprintf(out, `<rect width="%d" height="%d" rx="4" fill="%s" stroke="%s"/>`, width-gap, height-gap, box, grid)
	write(out, 14, 23, "start", title+`" font-size="13" font-weight="600`, c.title)
	highest := c.highest()
	for i := range 5 {
		v := highest * float64(i) / 4
		fmt.Fprintf(out, `<path d="M%d %.1fH%d" stroke="%s"/>`, left, y(v, highest), width-gap-right, grid)
		write(out, left-6, y(v, highest)+4, "end", dim, withUnit(v, c.unit))
	}
	s.drawTimes(out)
	for _, l := range c.lines {
		s.drawLine(out, l, highest)
	}
	c.drawLegend(out)
}

// drawTimes writes the minutes since the beginning.
func (s *sheet) drawTimes(out *strings.Builder) {
	every := time.Minute
	if s.to.Sub(s.from) < 3*time.Minute {
		every = 15 * time.Second
	}
	for d := time.Duration(0); d <= s.to.Sub(s.from); d += every {
		text := fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
		write(out, s.x(float64(s.from.Add(d).UnixMilli())/1000), height-gap-bottom+17, "middle", dim, text)
	}
}

// drawLine draws a series, in parts where it has gaps.
func (s *sheet) drawLine(out *strings.Builder, l line, highest float64) {
	var path, area strings.Builder
	first, last := 0.0, math.Inf(-1)
	floor := y(0, highest)
	for _, p := range l.points {
		x, at := s.x(p[0]), y(max(p[1], 0), highest)
		if p[0]-last > 1.5*s.step.Seconds() {
			if path.Len() > 0 {
				fmt.Fprintf(&area, "L%.1f %.1fL%.1f %.1fZ", s.x(last), floor, first, floor)
			}
			first = x
			fmt.Fprintf(&path, "M%.1f %.1f", x, at)
			fmt.Fprintf(&area, "M%.1f %.1f", x, at)
		} else {
			fmt.Fprintf(&path, "L%.1f %.1f", x, at)
			fmt.Fprintf(&area, "L%.1f %.1f", x, at)
		}
		last = p[0]
	}
	fmt.Fprintf(&area, "L%.1f %.1fL%.1f %.1fZ", s.x(last), floor, first, floor)
	fmt.Fprintf(out, `<path d="%s" fill="%s" opacity=".1"/>`, area.String(), l.colour)
	fmt.Fprintf(out, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5" stroke-linejoin="round"/>`, path.String(), l.colour)
}

// drawLegend writes the names below the plot, from the left, in two lines if need be.
func (c *chart) drawLegend(out *strings.Builder) {
	x, below := 14, height-gap-bottom+34
	for _, l := range c.lines {
		long := 36 + letter*len(l.name)
		if x+long > width-gap-4 {
			x, below = 14, below+14
		}
		fmt.Fprintf(out, `<rect x="%d" y="%d" width="12" height="3" rx="1" fill="%s"/>`, x, below-5, l.colour)
		write(out, float64(x+17), float64(below), "start", light, l.name)
		x += long
	}
}

func (s *sheet) x(seconds float64) float64 {
	part := (seconds - float64(s.from.UnixMilli())/1000) / s.to.Sub(s.from).Seconds()
	return left + part*(width-gap-left-right)
}

func y(v, highest float64) float64 { return top + (height-gap-top-bottom)*(1-v/highest) }

func write(out *strings.Builder, x, y float64, anchor, fill, text string) {
	fmt.Fprintf(out, `<text x="%.0f" y="%.0f" text-anchor="%s" fill="%s">%s</text>`, x, y, anchor, fill, html.EscapeString(text))
}

// highest is where the chart's axis ends: the next of 1, 2, 4, 6, 8, 10, 20, … that isn't less than any value.
func (c *chart) highest() float64 {
	v := 0.0
	for _, l := range c.lines {
		for _, p := range l.points {
			v = max(v, p[1])
		}
	}
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 4, 6, 8} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}

func withUnit(v float64, unit string) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
	switch {
	case unit == "s" && v > 0 && v < .01:
		return number(v*1000) + " ms"
	case unit == "s" && v > 0 && v < 1:
		return number(math.Round(v*1e4)/10) + " ms"
	case unit == "s":
		return number(v) + " s"
	case unit == "percentunit":
		return number(v*100) + " %"
	case unit == "ops":
		return number(v) + "/s"
	}
	return number(v)
}
