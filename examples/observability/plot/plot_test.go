package plot

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const dashboard = `{"panels": [{
	"title": "Jobs & <errors>",
	"fieldConfig": {"defaults": {"unit": "ops"}, "overrides": [
		{"matcher": {"id": "byName", "options": "mail failed"},
		 "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": "#123456"}}]}]},
	"targets": [{"expr": "rate(jobs{job=~\"$job\",queue=~\"$queue\"}[$__rate_interval])", "legendFormat": "{{type}} {{outcome}}"}]}]}`

// answering is a Prometheus with one answer.
func answering(t *testing.T, check func(*http.Request), answer string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check(r)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestDraw(t *testing.T) {
	from := time.Unix(1000, 0)
	series := func(outcome, values string) string {
		return fmt.Sprintf(`{"metric": {"type": "mail", "outcome": %q}, "values": [%s]}`, outcome, values)
	}
	base := answering(t, func(r *http.Request) {
		assert.Equal(t, `rate(jobs{job=~".*",queue=~".*"}[20s])`, r.FormValue("query"))
	}, `{"data": {"result": [`+
		series("succeeded", `[1000, "3"], [1001, "4"], [1002, "NaN"], [1005, "2"], [1006, "7"]`)+`,`+
		series("failed", `[1000, "0"], [1001, "0.5"]`)+`]}}`)
	panels, err := Panels([]byte(dashboard))
	require.NoError(t, err)
	drawn, err := Draw(base, panels, "20s", from, from.Add(10*time.Second))
	require.NoError(t, err)

	text := string(drawn)
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	assert.Contains(t, text, ">Jobs &amp; &lt;errors&gt;<")
	assert.Contains(t, text, ">8/s<", "the axis ends above 7")
	assert.Contains(t, text, ">mail succeeded<")
	lines := regexp.MustCompile(`<path d="([^"]*)" fill="none" stroke="([^"]*)"`).FindAllStringSubmatch(text, -1)
	require.Len(t, lines, 2)
	assert.Equal(t, "#123456", lines[0][2], "the override's colour")
	assert.Equal(t, 2, strings.Count(lines[1][1], "M"), "nothing is drawn where there was nothing")
}

func TestDrawTellsWhatPrometheusSays(t *testing.T) {
	panels, err := Panels([]byte(dashboard))
	require.NoError(t, err)
	base := answering(t, func(*http.Request) {}, `{"error": "no such function"}`)
	_, err = Draw(base, panels, "20s", time.Unix(0, 0), time.Unix(9, 0))
	require.ErrorContains(t, err, "no such function")
}
