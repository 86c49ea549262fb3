package stage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func TestValidateKey(t *testing.T) {
	for _, key := range []string{"a", "a/b.jpg", "tenants/7/my room #3?.jpg", "..a/...", "ä/ö", strings.Repeat("x", MaxKeyLength)} {
		assert.NoError(t, ValidateKey(key), key)
	}
	for _, row := range []struct{ key, problem string }{
		{"", "is empty"},
		{strings.Repeat("x", MaxKeyLength+1), "has 1025 bytes: the limit is 1024"},
		{"/a", "empty part"}, {"a/", "empty part"}, {"a//b", "empty part"}, {"/", "empty part"},
		{"..", `part ".."`}, {"../a", `part ".."`}, {"a/../b", `part ".."`}, {"a/..", `part ".."`},
		{".", `part "."`}, {"./a", `part "."`}, {"a/./b", `part "."`},
		{"a\x00b", "control"}, {"a\nb", "control"}, {"a\x7f", "control"}, {"a\u0085", "control"},
		{"a\xff", "not UTF-8"},
	} {
		err := ValidateKey(row.key)
		require.ErrorIs(t, err, ErrRefused, "%q", row.key)
		assert.ErrorContains(t, err, row.problem, "%q", row.key)
		assert.True(t, worker.IsPermanent(err), "%q", row.key)
	}
}

func TestStagedKey(t *testing.T) {
	const sum = "2cea274d0bedc39ec4ab6ba9e59ec889" // of "picture", its first half
	keyOf := func(job, mediaType, data string) string {
		return Staged{JobID: job, ImageID: imageID, Image: Image{Data: []byte(data), MediaType: mediaType}}.Key()
	}
	assert.Regexp(t, `^job-1/`+sum+`[0-9a-f]{32}\.jpg$`, keyOf("job-1", "image/jpeg", "picture"))
	assert.Regexp(t, `^`+imageID.String()+`/[0-9a-f]{64}\.webp$`, keyOf("", "image/webp", "picture"))
	assert.Regexp(t, `^a_b-[0-9a-f]{16}/[0-9a-f]{64}\.bin$`, keyOf("a/b", "", "picture"))
	assert.Equal(t, keyOf("job-1", "image/png", "one"), keyOf("job-1", "image/png", "one"))

	keys := map[string]bool{}
	for _, job := range []string{"a", "b", "", "a/b", "a_b", "a:b", "../../etc", strings.Repeat("x", 100), strings.Repeat("x", 255)} {
		for _, data := range []string{"one", "two"} {
			key := keyOf(job, "image/png", data)
			assert.NoError(t, ValidateKey(key), job)
			keys[key] = true
		}
	}
	assert.Len(t, keys, 18, "each job's each picture has a key of its own")
}

func TestKeysPlace(t *testing.T) {
	for _, row := range []struct{ prefix, ofJob, want string }{
		{"", "", "job/1.png"},
		{"staged", "", "staged/job/1.png"},
		{"/staged/", "/tenants/7/", "staged/tenants/7/job/1.png"},
		{"", "tenants/7", "tenants/7/job/1.png"},
	} {
		keys := Keys{JobPrefix: func(context.Context, *worker.Job) (string, error) { return row.ofJob, nil }}
		got, err := keys.Place(t.Context(), row.prefix, "job/1.png")
		require.NoError(t, err)
		assert.Equal(t, row.want, got)
	}
	for _, prefix := range []string{"..", "a/../b", "a//b", "a\x00", strings.Repeat("x", MaxKeyLength)} {
		keys := Keys{JobPrefix: func(context.Context, *worker.Job) (string, error) { return prefix, nil }}
		_, err := keys.Place(t.Context(), "staged", "job/1.png")
		assert.ErrorIs(t, err, ErrRefused, "%q", prefix)
	}
}

// What a hook's error makes of the job.
func TestKeysJudgeHooks(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name    string
		ctx     context.Context
		err     error
		refused bool
	}{
		{"another tenant's", t.Context(), errors.New("another tenant's"), true},
		{"a database that is away", t.Context(), worker.RetryAfter(0, errors.New("no database")), false},
		{"the end of the job's time", ended, context.Canceled, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			checks := Keys{Check: func(context.Context, *worker.Job, string) error { return row.err }}
			prefixes := Keys{JobPrefix: func(context.Context, *worker.Job) (string, error) { return "", row.err }}
			_, placed := prefixes.Place(row.ctx, "", "a")
			for _, err := range []error{checks.Allow(row.ctx, "a"), placed} {
				require.ErrorIs(t, err, row.err)
				assert.Equal(t, row.refused, worker.IsPermanent(err))
				if row.refused {
					assert.ErrorIs(t, err, ErrRefused)
				}
			}
		})
	}
}

// tenants are the Keys of a host whose jobs name their tenant in a header.
func tenants() Keys {
	root := func(job *worker.Job) string { return "tenants/" + job.Headers["tenant"] }
	return Keys{
		JobPrefix: func(_ context.Context, job *worker.Job) (string, error) { return root(job), nil },
		Check: func(_ context.Context, job *worker.Job, key string) error {
			if !strings.HasPrefix(key, root(job)+"/") {
				return errors.New("another tenant's")
			}
			return nil
		},
	}
}

func ofTenant(t *testing.T, tenant string) context.Context {
	t.Helper()
	return worker.ContextWithJob(t.Context(), newJob(t, validPayload(), worker.WithHeader("tenant", tenant)))
}

func TestFilesKeepTenantsApart(t *testing.T) {
	files := Files{Root: t.TempDir(), BaseURL: "https://cdn.example.com", Keys: tenants()}
	require.NoError(t, os.MkdirAll(filepath.Join(files.Root, "tenants", "7"), 0o755))
	write(t, filepath.Join(files.Root, "tenants", "7", "a.jpg"), "photo")

	for _, url := range []string{"tenants/7/a.jpg", "tenants/8/../7/a.jpg", filepath.Join(files.Root, "tenants/7/a.jpg")} {
		original, err := files.Open(ofTenant(t, "7"), url)
		require.NoError(t, err)
		require.NoError(t, original.Body.Close())
		for _, other := range []string{"8", "", "../tenants"} {
			_, err = files.Open(ofTenant(t, other), url)
			assert.ErrorIs(t, err, ErrRefused, "%q", other)
			assert.ErrorContains(t, err, "another tenant's")
		}
	}

	url, err := files.Put(ofTenant(t, "a%b c"), stagedRoom("job-1"))
	require.NoError(t, err)
	assert.Contains(t, url, "https://cdn.example.com/tenants/a%25b%20c/"+imageID.String()+"/job-1-")
	_, err = files.Put(ofTenant(t, "../.."), stagedRoom("job-1"))
	assert.ErrorIs(t, err, ErrRefused)
	assert.Len(t, names(t, files.Root), 2)
}
