//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// program finds one of Prometheus's programs. Without it the test is skipped, or fails where servers are required.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv(redistest.RequireEnv) == "1" {
		t.Fatalf("%s is 1, but there is no prometheus on this machine: %v", redistest.RequireEnv, err)
	}
	if err != nil {
		t.Skipf("no prometheus on this machine: %v", err)
	}
	return path
}

// server is a running Prometheus.
type server struct{ url string }

// startPrometheus runs the configuration that lies beside the program, with another target and each second.
func startPrometheus(t *testing.T, target string) *server {
	t.Helper()
	binary := program(t, "prometheus")
	dir := t.TempDir()
	config, err := os.ReadFile("prometheus.yml")
	require.NoError(t, err)
	changed := strings.NewReplacer("127.0.0.1:9464", target, "15s", "1s").Replace(string(config))
	require.NotEqual(t, string(config), changed)
	rules, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(changed), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yml"), rules, 0o600))

	addr := net.JoinHostPort("127.0.0.1", redistest.FreePort(t))
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd := exec.Command(binary, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--web.listen-address="+addr,
		"--storage.tsdb.path="+filepath.Join(dir, "data"))
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	p := &server{url: "http://" + addr}
	eventually(t, "Prometheus is ready", func() error {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
	return p
}

// wait lets time pass between two incidents when a picture is drawn, as there is to be something to see.
func (p *server) wait(t *testing.T, d time.Duration) {
	t.Helper()
	if os.Getenv("DASHBOARD") != "" {
		time.Sleep(d)
	}
}

// metrics are the names of what the library tells, histograms without their parts.
func (p *server) metrics(t *testing.T) (names []string) {
	t.Helper()
	for _, name := range p.values(t, "__name__", `{__name__!=""}`) {
		if metric.MatchString(name) {
			names = append(names, baseName(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// values are those that a label has in the series of a selector.
func (p *server) values(t *testing.T, label, selector string) []string {
	t.Helper()
	resp, err := http.Get(p.url + "/api/v1/label/" + label + "/values?" + url.Values{"match[]": {selector}}.Encode())
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  []string
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Empty(t, answer.Error)
	return answer.Data
}

// query returns how many series an expression has now, without those that are no number.
func (p *server) query(expr string) (int, error) {
	resp, err := http.PostForm(p.url+"/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	n := 0
	for _, series := range answer.Data.Result {
		if series.Value[1] != "NaN" {
			n++
		}
	}
	return n, nil
}

// has fails while an expression has no series.
func (p *server) has(expr string) func() error {
	return func() error {
		n, err := p.query(expr)
		if err == nil && n == 0 {
			err = fmt.Errorf("no data: %s", expr)
		}
		return err
	}
}

// eventually tries until there is no error. Other processes are waited for, so the time is real; the bound is only for what
// never comes.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-ticker.C
	}
}

func TestRulesAndConfigurationPassPromtool(t *testing.T) {
	promtool := program(t, "promtool")
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"}, {"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"},
	} {
		out, err := exec.Command(promtool, args...).CombinedOutput()
		require.NoError(t, err, "promtool %s\n%s", strings.Join(args, " "), out)
	}
}
