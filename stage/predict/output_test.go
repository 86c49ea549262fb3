package predict

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
)

// Outputs come from where the configuration says, and over https.
func TestOutputHosts(t *testing.T) {
	for _, row := range []struct {
		output string
		hosts  []string
		fails  string
	}{
		{"https://replicate.delivery/x/prediction1", nil, ""},
		{"https://a.b.replicate.delivery/prediction1", nil, ""},
		{"https://A.REPLICATE.delivery:443/prediction1", nil, ""},
		{"https://cdn.test/prediction1", []string{"cdn.test"}, ""},
		{"https://cdn.test/prediction1", []string{"*"}, ""},
		{"https://evil.test/prediction1", nil, `"evil.test" is none of OutputHosts`},
		{"https://replicate.delivery.evil.test/prediction1", nil, "none of OutputHosts"},
		{"https://evilreplicate.delivery/prediction1", nil, "none of OutputHosts"},
		{"https://sub.cdn.test/prediction1", []string{"cdn.test"}, "none of OutputHosts"},
		{"https://cdn.test/prediction1", []string{"*.cdn.test"}, "none of OutputHosts"},
		{"https://replicate.delivery:8443/prediction1", nil, "its port is 8443"},
		{"http://replicate.delivery/prediction1", nil, `its scheme is "http"`},
		{"ftp://replicate.delivery/prediction1", nil, `its scheme is "ftp"`},
		{"https://u:p@replicate.delivery/prediction1", nil, "it has credentials"},
		{"file:///etc/passwd", nil, `its scheme is "file"`},
		{"/output/prediction1", nil, "its scheme is"},
		{"https://replicate.delivery/to/https://replicate.delivery/prediction1", nil, ""},
		{"https://replicate.delivery/to/http://replicate.delivery/prediction1", nil, `its scheme is "http"`},
		{"https://replicate.delivery/to/https://evil.test/prediction1", nil, "none of OutputHosts"},
		{"https://replicate.delivery/loop", nil, "more than 3 times"},
		{"https://api.test/to/https://cdn.api.test/prediction1", []string{"cdn.api.test"}, ""},
	} {
		t.Run(row.output, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.cfg.OutputHosts = row.hosts
				r.api.Outcome = func(int) predicttest.Outcome { return predicttest.Outcome{Output: []string{row.output}} }
				r.api.Misbehave = func(op string, _ int, w http.ResponseWriter, req *http.Request) bool {
					if req.Host != "api.test" {
						assert.Empty(t, req.Header.Get("Authorization"), "the token is the API's")
					} else if !strings.HasPrefix(req.URL.Path, "/to/") {
						return false
					}
					target := "/loop"
					if _, to, found := strings.Cut(req.URL.Path, "/to/"); found {
						target = strings.Replace(strings.Replace(to, "//", "/", 1), ":/", "://", 1)
					}
					if strings.Contains(req.URL.Path, "/to/") || req.URL.Path == "/loop" {
						http.Redirect(w, req, target, http.StatusFound)
						return true
					}
					_, _ = w.Write(r.api.Picture)
					return true
				}
				st := r.run()
				if row.fails == "" {
					resultOf(t, st)
					return
				}
				assert.Equal(t, worker.StateFailed, st.State)
				assert.Contains(t, st.Error, row.fails)
				assert.Equal(t, 1, st.Attempt)
			})
		})
	}
}

// Some outputs are in the answer.
func TestOutputInTheAnswer(t *testing.T) {
	for name, row := range map[string]struct {
		output string
		fails  string
	}{
		"picture":    {dataURL(picture(5)), ""},
		"page":       {dataURL([]byte(page)), "it looks like text/html"},
		"no base64":  {"data:image/png,xyz", "not in base64"},
		"broken":     {"data:image/png;base64,!", "broken"},
		"too large":  {dataURL(make([]byte, 2000)), "the limit is 1000 bytes"},
		"as a field": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.cfg.MaxOutput = 1000
				var output any = row.output
				if row.output == "" {
					output = map[string]any{"image": dataURL(picture(5))}
				}
				r.api.Outcome = func(int) predicttest.Outcome { return predicttest.Outcome{Output: output} }
				st := r.run()
				if row.fails == "" {
					assert.Equal(t, 5, resultOf(t, st).Width)
					return
				}
				assert.Contains(t, st.Error, row.fails)
				assert.LessOrEqual(t, r.api.Creations(), 2)
			})
		})
	}
}

func dataURL(data []byte) string {
	return "data:application/octet-stream;base64," + base64.StdEncoding.EncodeToString(data)
}
