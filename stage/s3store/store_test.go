package s3store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

func TestNewReportsAllProblems(t *testing.T) {
	_, err := New(Config{Bucket: "a/b", Prefix: "a/../b", BaseURL: "ftp://x", PresignFor: 8 * 24 * time.Hour})
	for _, problem := range []string{
		"s3store: ", "Client is nil", `Bucket is "a/b"`, "Prefix: refused", `BaseURL "ftp://x"`, "PresignFor is 192h0m0s",
	} {
		assert.ErrorContains(t, err, problem)
	}
	client := s3.New(s3.Options{Region: "eu-central-1"})
	_, err = New(Config{Client: client, Bucket: bucket, BaseURL: "https://cdn.example.com", PresignFor: time.Hour})
	assert.ErrorContains(t, err, "PresignFor and BaseURL are both set")
	_, err = New(Config{Client: client, Bucket: bucket, PresignFor: -1})
	assert.ErrorContains(t, err, "PresignFor is -1ns")
	for _, base := range []string{"https://h?x=1", "https://h/#", "https://u:p@h", "/path", "https:///path"} {
		_, err = New(Config{Client: client, Bucket: bucket, BaseURL: base})
		assert.ErrorContains(t, err, "BaseURL", base)
	}
	for _, name := range []string{"", "ab", strings.Repeat("x", 64), "a b c", "a/b", "photos?"} {
		_, err = New(Config{Client: client, Bucket: name})
		assert.ErrorContains(t, err, "Bucket is", name)
	}
	_, err = New(Config{Client: s3.New(s3.Options{}), Bucket: bucket})
	assert.ErrorContains(t, err, "Client: its endpoint: ", "a client without a region")
}

func TestPutThenOpen(t *testing.T) {
	server := newServer(t)
	store := server.store(t, func(c *Config) { c.CacheControl = Immutable })
	url, err := store.Put(t.Context(), staged("job-1", "picture"))
	require.NoError(t, err)
	sum := sha256.Sum256([]byte("picture"))
	key := "staged/job-1/" + hex.EncodeToString(sum[:]) + ".png"
	require.Equal(t, "s3://photos/"+key, url)
	assert.Equal(t, "picture", read(t, store, url))
	assert.Equal(t, "picture", read(t, store, server.URL+"/photos/"+key))

	put := server.calls[0]
	assert.Equal(t, "*", put.Header.Get("If-None-Match"))
	assert.Equal(t, Immutable, put.Header.Get("Cache-Control"))
	assert.EqualValues(t, len("picture"), put.ContentLength)
	assert.Empty(t, put.Header.Get("Content-Encoding"), "no chunks of the SDK's own, which other servers don't take")
	assert.Equal(t, base64.StdEncoding.EncodeToString(sum[:]), put.Header.Get("X-Amz-Checksum-Sha256"))
	head, err := server.client(t, nil).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
	require.NoError(t, err)
	assert.Equal(t, "image/png", aws.ToString(head.ContentType))
}

// A retry writes nothing anew; another picture has another key.
func TestPutNeverReplacesAnotherPicture(t *testing.T) {
	server := newServer(t)
	store := server.store(t, nil)
	urls := map[string]string{}
	for range 2 {
		for _, job := range []string{"job-1", "job-2", "", "../../etc/x"} {
			for _, data := range []string{"one", "two"} {
				url, err := store.Put(t.Context(), staged(job, data))
				require.NoError(t, err)
				urls[url] = data
			}
		}
	}
	assert.Equal(t, append(slicesRepeat(200, 8), slicesRepeat(412, 8)...), server.statuses())
	assert.Len(t, urls, 8)
	assert.Len(t, server.keys(t), 8)
	for url, data := range urls {
		assert.Equal(t, data, read(t, store, url))
	}
}

func slicesRepeat(status, times int) (all []int) {
	for range times {
		all = append(all, status)
	}
	return all
}

func TestPutTheSameAtOnce(t *testing.T) {
	server := newServer(t)
	store := server.store(t, nil)
	picture := staged("job-1", strings.Repeat("picture ", 50_000))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			url, err := store.Put(t.Context(), picture)
			if assert.NoError(t, err) {
				assert.Equal(t, string(picture.Image.Data), read(t, store, url))
			}
		})
	}
	wg.Wait()
	assert.Len(t, server.keys(t), 1)
}

// The URL that a result keeps.
func TestURLsOfPut(t *testing.T) {
	server := newServer(t)
	key := staged("job-1", "picture").Key()
	for _, row := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"by default", func(*Config) {}, "s3://photos/staged/" + key},
		{"without a prefix", func(c *Config) { c.Prefix = "" }, "s3://photos/" + key},
		{"a CDN", func(c *Config) { c.BaseURL = "https://cdn.example.com/p/" }, "https://cdn.example.com/p/staged/" + key},
		{"a CDN without a slash", func(c *Config) { c.BaseURL = "https://cdn.example.com" }, "https://cdn.example.com/staged/" + key},
		{"names to escape", func(c *Config) { c.Prefix = "a b/50%/#?" }, "s3://photos/a%20b/50%25/%23%3F/" + key},
		{"names to escape, on a CDN", func(c *Config) { c.Prefix, c.BaseURL = "a b/50%/#?", "https://h/" }, "https://h/a%20b/50%25/%23%3F/" + key},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := server.store(t, row.edit)
			url, err := store.Put(t.Context(), staged("job-1", "picture"))
			require.NoError(t, err)
			assert.Equal(t, row.want, url)
			assert.Equal(t, "picture", read(t, store, url), "what was put can be an original")
		})
	}
}

// fetch reads a URL as a browser does.
func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(data)
}

func TestPresignedURLs(t *testing.T) {
	server := newServer(t)
	lasting := server.store(t, nil)
	lastingURL, err := lasting.Put(t.Context(), staged("job-1", "picture"))
	require.NoError(t, err)
	plain := server.URL + "/photos/" + strings.TrimPrefix(lastingURL, "s3://photos/")
	status, _ := fetch(t, plain)
	require.Equal(t, http.StatusForbidden, status, "the bucket is private")

	fresh, err := lasting.Presign(t.Context(), lastingURL, 10*time.Minute)
	require.NoError(t, err)
	assert.Contains(t, fresh, "X-Amz-Expires=600")
	put, err := server.store(t, func(c *Config) { c.PresignFor = MaxPresign }).Put(t.Context(), staged("job-1", "picture"))
	require.NoError(t, err)
	assert.Contains(t, put, "X-Amz-Expires=604800")
	for _, presigned := range []string{fresh, put} {
		require.True(t, strings.HasPrefix(presigned, plain+"?"))
		query, err := url.ParseQuery(presigned[len(plain)+1:])
		require.NoError(t, err)
		assert.Equal(t, "host", query.Get("X-Amz-SignedHeaders"), "a link brings no other headers")
		assert.NotContains(t, presigned, "Checksum")
		status, body := fetch(t, presigned)
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, "picture", body)
		assert.Equal(t, "picture", read(t, lasting, presigned), "it can be an original, too")
	}

	for _, d := range []time.Duration{0, time.Second - 1, -1, MaxPresign + 1} {
		_, err = lasting.Presign(t.Context(), lastingURL, d)
		assert.ErrorContains(t, err, "it must be from 1s to 168h0m0s")
	}
	_, err = lasting.Presign(t.Context(), "https://example.com/x", time.Hour)
	assert.ErrorIs(t, err, stage.ErrRefused)
}

func TestEditPut(t *testing.T) {
	server := newServer(t)
	store := server.store(t, func(c *Config) {
		c.EditPut = func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAwsKms }
	})
	_, err := store.Put(t.Context(), staged("job-1", "picture"))
	require.NoError(t, err)
	assert.Equal(t, "aws:kms", server.calls[0].Header.Get("X-Amz-Server-Side-Encryption"))
}

func TestOpenAVersion(t *testing.T) {
	server := newServer(t)
	client := server.client(t, nil)
	_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String(bucket),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	require.NoError(t, err)
	var versions []string
	for _, data := range []string{"first", "second"} {
		out, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("a.jpg"),
			Body: strings.NewReader(data)})
		require.NoError(t, err)
		versions = append(versions, aws.ToString(out.VersionId))
	}
	store := server.store(t, nil)
	assert.Equal(t, "second", read(t, store, "s3://photos/a.jpg"))
	assert.Equal(t, "first", read(t, store, "s3://photos/a.jpg?versionId="+versions[0]))
	presigned, err := store.Presign(t.Context(), "s3://photos/a.jpg?versionId="+versions[0], time.Hour)
	require.NoError(t, err)
	_, body := fetch(t, presigned)
	assert.Equal(t, "first", body)
	assert.Equal(t, "first", read(t, store, presigned))
}

// Jobs read and write below their own tenant's prefix and nowhere else.
func TestTenantsAreKeptApart(t *testing.T) {
	server := newServer(t)
	server.upload(t, "tenants/7/a.jpg", []byte("photo"))
	root := func(job *worker.Job) string { return "tenants/" + job.Headers["tenant"] }
	store := server.store(t, func(c *Config) {
		c.Prefix = ""
		c.Keys = stage.Keys{
			JobPrefix: func(_ context.Context, job *worker.Job) (string, error) { return root(job), nil },
			Check: func(_ context.Context, job *worker.Job, key string) error {
				if !strings.HasPrefix(key, root(job)+"/") {
					return errors.New("another tenant's")
				}
				return nil
			},
		}
	})
	as := func(tenant string) context.Context {
		return worker.ContextWithJob(t.Context(), &worker.Job{Headers: map[string]string{"tenant": tenant}})
	}
	for _, url := range []string{"s3://photos/tenants/7/a.jpg", server.URL + "/photos/tenants/7/a.jpg",
		server.URL + "/photos/tenants%2F7%2Fa.jpg"} {
		original, err := store.Open(as("7"), url)
		require.NoError(t, err)
		require.NoError(t, original.Body.Close())
		_, err = store.Open(as("8"), url)
		assert.ErrorIs(t, err, stage.ErrRefused)
		assert.True(t, worker.IsPermanent(err))
	}
	_, err := store.Open(as("8"), "s3://photos/tenants/8/../7/a.jpg")
	assert.ErrorIs(t, err, stage.ErrRefused)
	assert.Len(t, server.statuses(), 3, "what is refused is not asked for")

	url, err := store.Put(as("8"), staged("job-1", "picture"))
	require.NoError(t, err)
	assert.Contains(t, url, "s3://photos/tenants/8/job-1/")
	for _, tenant := range []string{"../7", "..", "8//x", "8\n"} {
		_, err = store.Put(as(tenant), staged("job-1", "picture"))
		assert.ErrorIs(t, err, stage.ErrRefused, "%q", tenant)
	}
	assert.Len(t, server.keys(t), 2)
}
