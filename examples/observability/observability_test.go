//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.yaml.in/yaml/v3"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/observability/plot"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// running is the program, run by a test.
type running struct {
	*app
	addr string
	stop func()
}

// start runs the program until stop, at the latest until the test ends.
func start(t *testing.T, s settings) *running {
	t.Helper()
	a, err := newApp(t.Context(), s)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.serve(ctx, l) }()
	r := &running{app: a, addr: l.Addr().String()}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		err := <-ended
		assert.NoError(t, err)
		assert.NoError(t, a.close())
	}
	t.Cleanup(r.stop)
	eventually(t, "the pool is ready", func() error { return r.answers("/readyz", http.StatusOK) })
	return r
}

func (r *running) answers(path string, status int) error {
	resp, err := http.Get("http://" + r.addr + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != status {
		err = fmt.Errorf("%s: status %d: %s", path, resp.StatusCode, body)
	}
	return err
}

// targets are the queries of the dashboard, as Grafana would send them, but without a zero for what has not happened.
func targets(t *testing.T) (found []string) {
	t.Helper()
	raw, err := os.ReadFile("grafana/dashboard.json")
	require.NoError(t, err)
	panels, err := plot.Panels(raw)
	require.NoError(t, err)
	for _, panel := range panels {
		for _, target := range panel.Targets {
			found = append(found, strings.TrimSuffix(target.Query("1m"), " or vector(0)"))
		}
	}
	require.Greater(t, len(found), 20)
	return found
}

// variable is a choice that the dashboard offers: among the values that a label has in some series.
type variable struct{ name, selector, label string }

var labelValues = regexp.MustCompile(`^label_values\((.+), ([a-z_]+)\)$`)

func variables(t *testing.T) (found []variable) {
	t.Helper()
	raw, err := os.ReadFile("grafana/dashboard.json")
	require.NoError(t, err)
	var d struct {
		Templating struct {
			List []struct {
				Name  string
				Query any // the data source's is a string
			}
		}
	}
	require.NoError(t, json.Unmarshal(raw, &d))
	for _, v := range d.Templating.List {
		query, is := v.Query.(map[string]any)
		if !is {
			continue
		}
		text, _ := query["query"].(string)
		parts := labelValues.FindStringSubmatch(plot.Target{Expr: text}.Query("1m"))
		require.Len(t, parts, 3, text)
		found = append(found, variable{name: v.Name, selector: parts[1], label: parts[2]})
	}
	require.Len(t, found, 2)
	return found
}

var comparison = regexp.MustCompile(`\s(>|<|==)\s*[0-9.]+`)

// conditions are the expressions of recording rules and alerts without what they are compared with.
func conditions(t *testing.T) (found []string) {
	t.Helper()
	raw, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &file))
	for _, rule := range file.Groups[0].Rules {
		bare := comparison.ReplaceAllString(rule.Expr, "")
		require.NotEqual(t, rule.Expr, bare)
		found = append(found, bare)
		if rule.Record != "" {
			found = append(found, rule.Record)
		}
	}
	require.Len(t, found, 8)
	return found
}

// documented are the queries that the documentation answers with.
func documented(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/telemetry.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(raw), "```promql\n")
	block, _, _ := strings.Cut(rest, "\n```")
	found := strings.Split(block, "\n")
	require.Len(t, found, 3)
	return found
}

func TestEveryQueryOfDashboardAlertsAndDocsHasData(t *testing.T) {
	redis := redistest.Server(t)
	program(t, "prometheus")
	a := start(t, settings{redis: redis.Addr(), rate: 20, slots: 8, lease: time.Second, grace: 100 * time.Millisecond})
	p := startPrometheus(t, a.addr)
	began := time.Now()
	eventually(t, "jobs are counted", p.has(`worker_job_finished_total{worker_job_outcome="failed"}`))

	p.wait(t, 40*time.Second)
	dieWithAJob(t, redis.Addr())
	p.wait(t, 50*time.Second)
	_, err := a.pool.Client().Enqueue(t.Context(), Chore{Kind: "stubborn", Takes: 2 * time.Second},
		worker.Timeout(100*time.Millisecond), worker.MaxAttempts(1))
	require.NoError(t, err)
	eventually(t, "a dead worker's job is recovered", p.has(`worker_jobs_recovered_total > 0`))
	eventually(t, "a stubborn handler is abandoned", p.has(`worker_jobs_abandoned_total > 0`))
	watch, err := http.Get("http://" + a.addr + "/events/none")
	require.NoError(t, err)
	defer watch.Body.Close()
	eventually(t, "the stream is counted", p.has(`worker_sse_clients > 0`))

	p.wait(t, 20*time.Second)
	forbid(t, a.client, "-publish")
	eventually(t, "the notifier fails", p.has(`worker_notify_dropped_total > 0`))
	forbid(t, a.client, "+publish")
	p.wait(t, 60*time.Second)

	redis.Kill()
	eventually(t, "renewals fail", p.has(`worker_lease_renewals_total{worker_lease_outcome="error"} > 0`))
	require.NoError(t, a.answers("/readyz", http.StatusServiceUnavailable))
	require.NoError(t, a.answers("/healthz", http.StatusOK))
	redis.Restart()
	eventually(t, "the lease is lost", p.has(`worker_lease_lost_total > 0`))
	eventually(t, "the pool is ready again", func() error { return a.answers("/readyz", http.StatusOK) })

	p.wait(t, 90*time.Second)
	expressions := slices.Concat(targets(t), conditions(t), documented(t))
	for _, expr := range expressions {
		eventually(t, "a query has data", p.has(expr))
	}
	assert.ElementsMatch(t, p.metrics(t), metricsIn(expressions), "each metric is shown, and none that doesn't exist")
	for _, v := range variables(t) {
		assert.NotEmpty(t, p.values(t, v.label, v.selector), "the dashboard's choice of a %s", v.name)
	}
	eventually(t, "the alert of the lost lease", p.has(`ALERTS{alertname="WorkerLeaseLost", alertstate="firing"}`))
	eventually(t, "the alert of the dead jobs", p.has(`ALERTS{alertname="WorkerJobsDead", alertstate="firing"}`))
	picture(t, p, began)
	a.stop()
	eventually(t, "the alert of the missing workers", p.has(`ALERTS{alertname="WorkerNoWorkers", alertstate="pending"}`))
}

func TestEveryQueryOfTheDashboardKeepsToTheChosenJobs(t *testing.T) {
	raw, err := os.ReadFile("grafana/dashboard.json")
	require.NoError(t, err)
	panels, err := plot.Panels(raw)
	require.NoError(t, err)
	for _, panel := range panels {
		for _, target := range panel.Targets {
			for _, name := range metric.FindAllString(target.Expr, -1) {
				if !slices.Contains(labels, name) {
					assert.Contains(t, target.Expr, name+`{job=~"$job"`, panel.Title)
				}
			}
		}
	}
}

// metric is a metric's name as it stands in an expression: what begins so and is no label.
var metric = regexp.MustCompile(`\b(?:messaging|worker)_[a-z_]+`)

var labels = []string{
	"messaging_destination_name", "messaging_operation_name", "worker_job_type", "worker_job_outcome",
	"worker_lease_outcome", "worker_queue_state",
}

// metricsIn are the metrics that expressions ask for.
func metricsIn(expressions []string) (found []string) {
	for _, expr := range expressions {
		for _, name := range metric.FindAllString(expr, -1) {
			if !slices.Contains(labels, name) {
				found = append(found, baseName(name))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// baseName is the name of the histogram that a series belongs to, or its own.
func baseName(series string) string {
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if base, is := strings.CutSuffix(series, part); is {
			return base
		}
	}
	return series
}

// forbid changes what the server's users may do, as "-publish" does.
func forbid(t *testing.T, client rueidis.Client, rule string) {
	t.Helper()
	require.NoError(t, client.Do(t.Context(), client.B().AclSetuser().Username("default").Rule(rule).Build()).Error())
}

// picture draws the dashboard from what the test's Prometheus has, into the file that DASHBOARD names, if it does.
func picture(t *testing.T, p *server, began time.Time) {
	t.Helper()
	raw, err := os.ReadFile("grafana/dashboard.json")
	require.NoError(t, err)
	panels, err := plot.Panels(raw)
	require.NoError(t, err)
	drawn, err := plot.Draw(p.url, panels, "15s", began, time.Now())
	require.NoError(t, err)
	assert.Equal(t, len(panels), strings.Count(string(drawn), "<g "))
	assert.GreaterOrEqual(t, strings.Count(string(drawn), `fill="none"`), len(targets(t)), "each query has a line")
	assert.Less(t, len(drawn), 200_000)
	if file := os.Getenv("DASHBOARD"); file != "" {
		require.NoError(t, os.WriteFile(file, drawn, 0o600))
	}
}

// dieWithAJob claims a job as a worker does whose machine is gone a moment later.
func dieWithAJob(t *testing.T, addr string) {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	require.NoError(t, err)
	queue, err := redisqueue.New(client, redisqueue.Config{Lease: time.Second})
	require.NoError(t, err)
	consumer, err := queue.Consume(t.Context(), worker.DefaultQueue, worker.ConsumeOptions{})
	require.NoError(t, err)
	eventually(t, "a job is claimed", func() error {
		jobs, err := consumer.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
		if err == nil && len(jobs) == 0 {
			err = fmt.Errorf("there is none")
		}
		return err
	})
	client.Close()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = consumer.Close(ctx) // ends its goroutine; the server hears nothing
	})
}

func TestJourneyOfARetriedJobIsTraced(t *testing.T) {
	redis := redistest.Server(t)
	traces := startReceiver(t)
	a := start(t, settings{redis: redis.Addr(), otlp: traces.url, slots: 2, lease: 10 * time.Second, grace: time.Second})
	job, err := a.pool.Client().Enqueue(t.Context(), Chore{Kind: "thumbnail", Fails: 1})
	require.NoError(t, err)
	eventually(t, "three spans", func() error {
		if n := len(traces.of(job.ID)); n < 3 {
			return fmt.Errorf("%d spans", n)
		}
		return nil
	})
	a.stop()
	require.Empty(t, traces.wrong)
	spans := traces.of(job.ID)
	require.Len(t, spans, 3)
	slices.SortFunc(spans, func(a, b *tracepb.Span) int { return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano) })
	send, first, second := spans[0], spans[1], spans[2]

	assert.Equal(t, "send default", send.Name)
	assert.Equal(t, tracepb.Span_SPAN_KIND_PRODUCER, send.Kind)
	for i, attempt := range []*tracepb.Span{first, second} {
		assert.Equal(t, "process default", attempt.Name)
		assert.Equal(t, tracepb.Span_SPAN_KIND_CONSUMER, attempt.Kind)
		assert.Empty(t, attempt.ParentSpanId, "each attempt is a trace of its own")
		assert.EqualValues(t, i+1, attr(attempt, "worker.job.attempt").GetIntValue())
		assert.Equal(t, "thumbnail", attr(attempt, "worker.job.type").GetStringValue())
	}
	assert.NotEqual(t, first.TraceId, second.TraceId)
	assert.Equal(t, [][]byte{send.SpanId}, linked(first))
	assert.ElementsMatch(t, [][]byte{send.SpanId, first.SpanId}, linked(second))
	assert.Equal(t, "retrying", attr(first, "worker.job.outcome").GetStringValue())
	assert.Equal(t, "succeeded", attr(second, "worker.job.outcome").GetStringValue())
	assert.Equal(t, tracepb.Status_STATUS_CODE_ERROR, first.Status.Code)
	require.Len(t, first.Events, 1)
	assert.Equal(t, "exception", first.Events[0].Name)
	assert.Empty(t, second.Events)
}

// linked returns the spans that a span is linked to.
func linked(span *tracepb.Span) (ids [][]byte) {
	for _, link := range span.Links {
		ids = append(ids, link.SpanId)
	}
	return ids
}
