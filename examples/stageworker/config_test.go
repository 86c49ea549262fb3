package main

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/stage/predict"
)

// complete is an environment with what is required.
func complete(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"REDIS_URL": "redis://:hunter2@redis.internal:6380/3", "DATABASE_URL": "postgres://staging:hunter2@db.internal:5433/staging",
		"ORIGINALS_DIR": t.TempDir(), "STAGED_DIR": t.TempDir(),
	}
}

// read reads a complete environment with these changes.
func read(t *testing.T, changes map[string]string) (*config, error) {
	t.Helper()
	env := complete(t)
	maps.Copy(env, changes)
	return readConfig(func(name string) string { return env[name] })
}

func TestConfig(t *testing.T) {
	c, err := read(t, nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"redis.internal:6380"}, c.redis.InitAddress)
	assert.Equal(t, "hunter2", c.redis.Password)
	assert.Equal(t, 3, c.redis.SelectDB)
	assert.Equal(t, "db.internal", c.database.Host)
	assert.Equal(t, "hunter2", c.database.Password)
	assert.Equal(t, "default", c.queue)
	assert.Equal(t, 4, c.concurrency)
	assert.Equal(t, 10*time.Minute, c.jobTimeout)
	assert.Equal(t, slog.LevelInfo, c.logLevel)
	assert.Equal(t, stage.Config{MaxBytes: stage.DefaultMaxBytes, MaxPixels: stage.DefaultMaxPixels}, c.staging)

	c, err = read(t, map[string]string{
		"QUEUE": "pictures", "CONCURRENCY": "16", "MAX_ATTEMPTS": "5", "JOB_TIMEOUT": "90s", "DRAIN_TIMEOUT": "2m",
		"ROOM_TYPES": "*", "STYLES": "modern, boho", "PROMPT_TEMPLATE": "{{.Prompt}}", "PIXEL_BUDGET": "60000000",
		"LOG_LEVEL": "debug", "HTTP_ADDR": ":8080", "DATABASE_SCHEMA": "staging",
	})
	require.NoError(t, err)
	assert.Equal(t, "pictures", c.queue)
	assert.Equal(t, 16, c.concurrency)
	assert.Equal(t, 5, c.attempts)
	assert.Equal(t, 90*time.Second, c.jobTimeout)
	assert.Equal(t, 2*time.Minute, c.drainTimeout)
	assert.Equal(t, []string{stage.Any}, c.staging.RoomTypes)
	assert.Equal(t, []string{"modern", "boho"}, c.staging.Styles)
	assert.EqualValues(t, 60_000_000, c.staging.PixelBudget)
	assert.Equal(t, slog.LevelDebug, c.logLevel)
	assert.Equal(t, "staging", c.statuses.Schema)
}

func TestConfigRefuses(t *testing.T) {
	for _, row := range []struct{ name, value, problem string }{
		{"REDIS_URL", "", "REDIS_URL is missing"},
		{"REDIS_URL", "https://:hunter2@redis", "REDIS_URL cannot be read"},
		{"REDIS_URL", "redis://:hunter2@redis:port", "REDIS_URL cannot be read"},
		{"REDIS_URL", "redis://:hunter2%zz@redis", "REDIS_URL cannot be read"},
		{"DATABASE_URL", "", "DATABASE_URL is missing"},
		{"DATABASE_URL", "postgres://u:hunter2@db:port/x", "DATABASE_URL cannot be read"},
		{"DATABASE_URL", "postgres://u:hunter2%zz@db/x", "DATABASE_URL cannot be read"},
		{"DATABASE_URL", "password=hunter2 host=db", "DATABASE_URL cannot be read"},
		{"QUEUE", "a b", "QUEUE: "},
		{"CONCURRENCY", "0", `CONCURRENCY is "0": it must be a whole number, at least 1`},
		{"CONCURRENCY", "1.5", `CONCURRENCY is "1.5"`},
		{"CONCURRENCY", "200000", "CONCURRENCY is 200000: it must be at most 100000"},
		{"REDIS_NAMESPACE", "a:b", `REDIS_NAMESPACE is "a:b": allowed are`},
		{"REDIS_NAMESPACE", "ä", `REDIS_NAMESPACE is "ä": allowed are`},
		{"DATABASE_SCHEMA", "My-Schema", `DATABASE_SCHEMA: new SQL status store: Schema is "My-Schema"`},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "OTEL_EXPORTER_OTLP_ENDPOINT must be like http://127.0.0.1:4318"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://u:hunter2@otel", "OTEL_EXPORTER_OTLP_ENDPOINT must be like http://127.0.0.1:4318"},
		{"HTTP_ADDR", ":99999", `HTTP_ADDR is ":99999": it must be host:port`},
		{"HTTP_ADDR", "localhost:", `HTTP_ADDR is "localhost:": it must be host:port`},
		{"MAX_ATTEMPTS", "-1", `MAX_ATTEMPTS is "-1"`},
		{"JOB_TIMEOUT", "90", `JOB_TIMEOUT is "90": it must be a time such as 90s or 10m`},
		{"DRAIN_TIMEOUT", "-1s", `DRAIN_TIMEOUT is "-1s"`},
		{"SOURCE", "ftp", `SOURCE is "ftp": it must be one of files, s3, http`},
		{"SINK", "ftp", `SINK is "ftp": it must be one of files, s3`},
		{"MODEL", "magic", `MODEL is "magic": it must be one of local, prediction`},
		{"ORIGINALS_DIR", "/nonexistent", `ORIGINALS_DIR is "/nonexistent": there is no such directory`},
		{"STAGED_BASE_URL", "https://cdn/?a=b", `STAGED_BASE_URL: BaseURL "https://cdn/?a=b"`},
		{"ROOM_TYPES", "attic,,cellar", "ROOM_TYPES: stage handler: RoomTypes: entry 1 is empty"},
		{"STYLES", "*,boho", "STYLES: stage handler: Styles: "},
		{"PROMPT_TEMPLATE", "{{.Color}}", "PROMPT_TEMPLATE: stage handler: PromptTemplate: "},
		{"MAX_PIXELS", "lots", `MAX_PIXELS is "lots"`},
		{"PIXEL_BUDGET", "1000", "PIXEL_BUDGET: stage handler: PixelBudget is 1000: it must not be less than MaxPixels, 50000000"},
		{"HTTP_ADDR", "8080", `HTTP_ADDR is "8080": it must be host:port`},
		{"LOG_LEVEL", "loud", `LOG_LEVEL is "loud": it must be one of debug, info, warn, error`},
		{"DATABASE_URL_FILE", "/nonexistent", "DATABASE_URL_FILE: DATABASE_URL is set as well"},
		{"PROMPT_TEMPLATE_FILE", "/nonexistent", "PROMPT_TEMPLATE_FILE: open /nonexistent: no such file"},
	} {
		t.Run(row.name+" "+row.value, func(t *testing.T) {
			_, err := read(t, map[string]string{row.name: row.value})
			require.ErrorContains(t, err, row.problem)
			assert.NotContains(t, err.Error(), "hunter2")
			assert.NotContains(t, err.Error(), "\n", "there is one problem")
		})
	}
}

func TestConfigOfHTTP(t *testing.T) {
	with := func(hosts string) map[string]string {
		return map[string]string{"SOURCE": "http", "ALLOWED_HOSTS": hosts, "ORIGINALS_DIR": "", "MAX_BYTES": "1000000"}
	}
	c, err := read(t, with("photos.example.com, *.example.net"))
	require.NoError(t, err)
	assert.Equal(t, []string{"photos.example.com", "*.example.net"}, c.ports.http.AllowedHosts)
	assert.False(t, c.ports.http.AllowPublic)
	assert.EqualValues(t, 1_000_000, c.ports.http.MaxBytes)
	c, err = read(t, with("*"))
	require.NoError(t, err)
	assert.True(t, c.ports.http.AllowPublic)
	_, err = read(t, with(""))
	require.ErrorContains(t, err, "ALLOWED_HOSTS is missing")
	_, err = read(t, with("https://photos.example.com/"))
	require.ErrorContains(t, err, "ALLOWED_HOSTS: HTTP source: AllowedHosts")
}

func TestConfigOfS3(t *testing.T) {
	with := func(more map[string]string) map[string]string {
		all := map[string]string{"SOURCE": "s3", "SINK": "s3", "ORIGINALS_DIR": "", "STAGED_DIR": "", "S3_BUCKET": "photos"}
		maps.Copy(all, more)
		return all
	}
	c, err := read(t, with(map[string]string{"S3_PREFIX": "staged", "S3_BASE_URL": "https://cdn.example.com"}))
	require.NoError(t, err)
	assert.Equal(t, "photos", c.ports.s3.store.Bucket)
	assert.Equal(t, "staged", c.ports.s3.store.Prefix)
	for _, row := range []struct{ name, value, problem string }{
		{"S3_BUCKET", "", "S3_BUCKET is missing"},
		{"S3_BUCKET", "a b", "S3_…: s3store: Bucket is"},
		{"S3_PREFIX", "a/../b", "S3_…: s3store: Prefix"},
		{"S3_BASE_URL", "ftp://cdn", "S3_…: s3store: BaseURL"},
		{"S3_ENDPOINT", "minio:9000", "S3_ENDPOINT must be like https://minio.example.com:9000"},
		{"S3_ENDPOINT", "https://u:hunter2@minio/", "S3_ENDPOINT must be like https://minio.example.com:9000"},
		{"S3_SECRET_ACCESS_KEY", "hunter2", "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY: one is set, and the other is not"},
	} {
		_, err := read(t, with(map[string]string{row.name: row.value}))
		require.ErrorContains(t, err, row.problem)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.NotContains(t, err.Error(), "\n", "there is one problem")
	}
}

func TestConfigOfPredictions(t *testing.T) {
	with := func(more map[string]string) map[string]string {
		all := map[string]string{"MODEL": "prediction", "PREDICTION_TOKEN": "hunter2", "PREDICTION_MODEL": "owner/name"}
		maps.Copy(all, more)
		return all
	}
	c, err := read(t, with(map[string]string{"PREDICTION_CONCURRENCY": "5", "PREDICTION_PER_MINUTE": "60"}))
	require.NoError(t, err)
	assert.Equal(t, predict.DefaultBaseURL, c.ports.prediction.BaseURL)
	assert.EqualValues(t, "hunter2", c.ports.prediction.Token)
	assert.NotNil(t, c.ports.prediction.Limiter)
	assert.False(t, c.ports.prediction.AllowHTTP)

	for _, row := range []struct{ name, value, problem string }{
		{"PREDICTION_TOKEN", "", "PREDICTION_TOKEN is missing"},
		{"PREDICTION_TOKEN", "hunter2 hunter2", "PREDICTION_…: predict: Token"},
		{"PREDICTION_MODEL", "", "PREDICTION_…: predict: 0 of Version, Model and Deployment are set"},
		{"PREDICTION_VERSION", "abc", "PREDICTION_…: predict: 2 of Version, Model and Deployment are set"},
		{"PREDICTION_URL", "ftp://u:hunter2@api", "PREDICTION_…: predict: BaseURL"},
		{"PREDICTION_PER_MINUTE", "some", `PREDICTION_PER_MINUTE is "some"`},
	} {
		_, err := read(t, with(map[string]string{row.name: row.value}))
		require.ErrorContains(t, err, row.problem)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.NotContains(t, err.Error(), "\n", "there is one problem")
	}
}

func TestConfigOfWebhooks(t *testing.T) {
	with := func(url, secret string) map[string]string {
		return map[string]string{"MODEL": "prediction", "PREDICTION_TOKEN": "hunter2", "PREDICTION_MODEL": "owner/name",
			"PREDICTION_WEBHOOK_URL": url, "PREDICTION_WEBHOOK_SECRET": secret}
	}
	const url = "https://worker.example.com/webhooks/predictions"
	c, err := read(t, with(url, webhookSecret))
	require.NoError(t, err)
	assert.Equal(t, &predict.Webhook{URL: url, Secret: webhookSecret}, c.ports.prediction.Webhook)
	c, err = read(t, with("", ""))
	require.NoError(t, err)
	assert.Nil(t, c.ports.prediction.Webhook)

	for _, row := range []struct{ url, secret, problem string }{
		{url, "", "PREDICTION_WEBHOOK_URL and PREDICTION_WEBHOOK_SECRET: one is set, and the other is not"},
		{"", webhookSecret, "PREDICTION_WEBHOOK_URL and PREDICTION_WEBHOOK_SECRET: one is set, and the other is not"},
		{url, "whsec_hunter2", "PREDICTION_WEBHOOK_…: predict: Webhook: a webhook secret is not of the form whsec_…"},
		{"http://worker/hunter2", webhookSecret, `PREDICTION_WEBHOOK_…: predict: Webhook: URL: its scheme is "http": it must be https`},
	} {
		_, err := read(t, with(row.url, row.secret))
		require.ErrorContains(t, err, row.problem)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.NotContains(t, err.Error(), strings.TrimPrefix(webhookSecret, "whsec_"))
		assert.NotContains(t, err.Error(), "\n", "there is one problem")
	}
}

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func TestConfigFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	c, err := read(t, map[string]string{
		"DATABASE_URL": "", "DATABASE_URL_FILE": write("database", "postgres://u:secret@db/staging\n"),
		"PROMPT_TEMPLATE_FILE": write("prompt", "A {{.Style}}\nroom\n"),
	})
	require.NoError(t, err)
	assert.Equal(t, "secret", c.database.Password)
	assert.Equal(t, "A {{.Style}}\nroom", c.staging.PromptTemplate)

	_, err = read(t, map[string]string{"REDIS_URL": "", "REDIS_URL_FILE": write("empty", "\n")})
	require.ErrorContains(t, err, "REDIS_URL is missing")
}

// README.md lists the variables that are read, and the file for systemd sets only such.
func TestVariablesAreDocumented(t *testing.T) {
	asked := map[string]bool{}
	for _, changes := range variants {
		env := complete(t)
		maps.Copy(env, changes)
		_, err := readConfig(func(name string) string {
			if !strings.HasSuffix(name, "_FILE") {
				asked[name] = true
			}
			return env[name]
		})
		require.NoError(t, err)
	}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z0-9_]+)` \\|").FindAllSubmatch(readme, -1) {
		listed = append(listed, string(row[1]))
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(asked)), listed)
	for _, file := range []string{"stageworker.env", "Dockerfile", "stageworker.service"} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, set := range regexp.MustCompile(`(?m)^#?(?:ENV |Environment=)?([A-Z][A-Z0-9_]+)=`).FindAllSubmatch(content, -1) {
			if name := strings.TrimSuffix(string(set[1]), "_FILE"); name != "GOMEMLIMIT" { // Go's own
				assert.Contains(t, listed, name, file)
			}
		}
	}
}

// variants are environments that together ask for every variable.
var variants = []map[string]string{
	{},
	{"SOURCE": "http", "ALLOWED_HOSTS": "*", "SINK": "s3", "S3_BUCKET": "photos"},
	{"MODEL": "prediction", "PREDICTION_TOKEN": "hunter2", "PREDICTION_MODEL": "owner/name"},
}
