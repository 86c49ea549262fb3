// Package plot draws a Grafana dashboard from a Prometheus, without Grafana: the panels of timeseries with their queries,
// units and colours, as one SVG.
package plot

import (
	"encoding/json"
	"fmt"
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
	FieldConfig struct {
		Defaults  struct{ Unit string }
		Overrides []override
	}
	Targets []Target
}

// override gives the series of one name a colour of their own.
type override struct {
	Matcher    struct{ Options string }
	Properties []struct {
		ID    string
		Value struct{ FixedColor string }
	}
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

// Query returns the expression as Grafana sends it, for all jobs and queues and with the given interval.
func (t Target) Query(interval string) string {
	return strings.NewReplacer("$job", ".*", "$queue", ".*", "$__rate_interval", interval).Replace(t.Expr)
}

// colours are those of the series that no override names.
var colours = []string{"#73bf69", "#5794f2", "#f2cc0c", "#b877d9", "#ff9830", "#8ab8ff", "#f2495c", "#ffa6b0"}

// colour returns the colour of the panel's n-th series.
func (p *Panel) colour(name string, n int) string {
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if o.Matcher.Options == name && property.ID == "color" {
				return property.Value.FixedColor
			}
		}
	}
	return colours[n%len(colours)]
}

// points is how many of them a line has.
const points = 140

// line is one series; its points are seconds and values.
type line struct {
	name, colour string
	points       [][2]float64
}

// Draw draws what a Prometheus at base has of the panels between two times. Rates are taken over the interval.
func Draw(base string, panels []Panel, interval string, from, to time.Time) ([]byte, error) {
	s := sheet{from: from, to: to, step: max(to.Sub(from)/points, time.Second)}
	charts := make([]chart, 0, len(panels))
	for i := range panels {
		c := chart{title: panels[i].Title, unit: panels[i].FieldConfig.Defaults.Unit}
		for _, target := range panels[i].Targets {
			found, err := s.ask(base, target, interval)
			if err != nil {
				return nil, err
			}
			c.lines = append(c.lines, found...)
		}
		c.lines = c.lines[:min(len(c.lines), most)]
		for n := range c.lines {
			c.lines[n].colour = panels[i].colour(c.lines[n].name, n)
		}
		charts = append(charts, c)
	}
	return s.draw(charts), nil
}

// ask fetches the series of one query.
func (s *sheet) ask(base string, target Target, interval string) ([]line, error) {
	resp, err := http.PostForm(base+"/api/v1/query_range", url.Values{
		"query": {target.Query(interval)},
		"start": {s.from.Format(time.RFC3339Nano)}, "end": {s.to.Format(time.RFC3339Nano)},
		"step": {strconv.FormatFloat(s.step.Seconds(), 'f', 3, 64)},
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
