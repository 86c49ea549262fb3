// Package plot draws a Grafana dashboard from a Prometheus, without Grafana: the panels of timeseries, their queries and
// their units, as one SVG.
package plot

import (
	"encoding/json"
	"fmt"
	"html"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Panel is one chart of a dashboard.
type Panel struct {
	Title       string
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []Target
}

// Target is one query of a panel.
type Target struct{ Expr, LegendFormat string }

// Panels reads a dashboard as Grafana exports it.
func Panels(dashboard []byte) ([]Panel, error) {
	var d struct{ Panels []Panel }
	if err := json.Unmarshal(dashboard, &d); err != nil {
		return nil, fmt.Errorf("read dashboard: %w", err)
	}
	return d.Panels, nil
}

// Query returns the expression as Grafana sends it, for all queues and with the given interval.
func (t Target) Query(interval string) string {
	return strings.NewReplacer("$queue", ".*", "$__rate_interval", interval).Replace(t.Expr)
}

// line is one series; its points are seconds and values.
type line struct {
	name   string
	points [][2]float64
}

const (
	width, height = 560, 210 // of a panel
	left, right   = 52, 12   // margins of its plot
	top, bottom   = 34, 62
	columns       = 2
	most          = 8 // series that a panel shows
)

var colours = []string{"#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0"}

// Draw draws what a Prometheus at base has of the panels between two times.
func Draw(base string, panels []Panel, interval string, from, to time.Time) ([]byte, error) {
	var out strings.Builder
	rows := (len(panels) + columns - 1) / columns
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+
		`<rect width="100%%" height="100%%" fill="#111217"/>`+"\n", columns*width, rows*height)
	for i, panel := range panels {
		var lines []line
		for _, target := range panel.Targets {
			found, err := ask(base, target, interval, from, to)
			if err != nil {
				return nil, err
			}
			lines = append(lines, found...)
		}
		fmt.Fprintf(&out, `<g transform="translate(%d,%d)">`, i%columns*width, i/columns*height)
		drawPanel(&out, panel, lines[:min(len(lines), most)], from, to)
		out.WriteString("</g>\n")
	}
	out.WriteString("</svg>\n")
	return []byte(out.String()), nil
}

// ask fetches the series of one query.
func ask(base string, target Target, interval string, from, to time.Time) ([]line, error) {
	step := max(to.Sub(from)/120, time.Second)
	resp, err := http.PostForm(base+"/api/v1/query_range", url.Values{
		"query": {target.Query(interval)}, "start": {from.Format(time.RFC3339Nano)}, "end": {to.Format(time.RFC3339Nano)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', 3, 64)},
	})
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("ask Prometheus for %s: %s", target.Expr, answer.Error)
	}
	var lines []line
	for _, series := range answer.Data.Result {
		l := line{name: legend(target.LegendFormat, series.Metric)}
		for _, v := range series.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			if y, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(y) && !math.IsInf(y, 0) {
				l.points = append(l.points, [2]float64{at, y})
			}
		}
		if len(l.points) > 0 {
			lines = append(lines, l)
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	return lines, nil
}

func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}

func drawPanel(out *strings.Builder, panel Panel, lines []line, from, to time.Time) {
	highest := 0.0
	for _, l := range lines {
		for _, p := range l.points {
			highest = max(highest, p[1])
		}
	}
	highest = roundUp(highest)
	plotWidth, plotHeight := float64(width-left-right), float64(height-top-bottom)
	y := func(v float64) float64 { return top + plotHeight*(1-v/highest) }
	fmt.Fprintf(out, `<rect x="4" y="4" width="%d" height="%d" rx="3" fill="#181b1f" stroke="#2c3235"/>`+
		`<text x="14" y="22" fill="#d8d9da" font-size="13">%s</text>`, width-8, height-8, html.EscapeString(panel.Title))
	for i := range 5 {
		v := highest * float64(i) / 4
		fmt.Fprintf(out, `<path d="M%d %.1fH%d" stroke="#2c3235"/><text x="%d" y="%.1f" fill="#8e8e8e" text-anchor="end">%s</text>`,
			left, y(v), width-right, left-5, y(v)+4, withUnit(v, panel.FieldConfig.Defaults.Unit))
	}
	for i, l := range lines {
		var path strings.Builder
		for j, p := range l.points {
			command := "L"
			if j == 0 {
				command = "M"
			}
			x := left + plotWidth*(p[0]-float64(from.UnixMilli())/1000)/to.Sub(from).Seconds()
			fmt.Fprintf(&path, "%s%.1f %.1f", command, x, y(max(p[1], 0)))
		}
		colour := colours[i%len(colours)]
		fmt.Fprintf(out, `<path d="%s" fill="none" stroke="%s" stroke-width="1.4"/>`, path.String(), colour)
		x, below := left-38+i%4*132, height-bottom+20+i/4*16
		fmt.Fprintf(out, `<rect x="%d" y="%d" width="10" height="3" fill="%s"/><text x="%d" y="%d" fill="#ccccdc">%s</text>`,
			x, below-4, colour, x+14, below, html.EscapeString(l.name))
	}
}

// roundUp returns the next of 1, 2, 4, 5, 10, 20, … that isn't less.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 4, 5} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}

func withUnit(v float64, unit string) string {
	switch unit {
	case "s":
		if v > 0 && v < 1 {
			return strconv.FormatFloat(v*1000, 'g', 3, 64) + " ms"
		}
		return strconv.FormatFloat(v, 'g', 3, 64) + " s"
	case "percentunit":
		return strconv.FormatFloat(v*100, 'g', 3, 64) + " %"
	case "ops":
		return strconv.FormatFloat(v, 'g', 3, 64) + "/s"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
