package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// Without a version in the URL, S3's word for an odd one means something else.
func TestInvalidArgumentWithoutAVersion(t *testing.T) {
	server := newServer(t)
	store := server.store(t, nil)
	server.fail(http.MethodGet, saying(400, "InvalidArgument"))
	_, err := store.Open(t.Context(), "s3://photos/a.jpg")
	require.Error(t, err)
	assert.False(t, worker.IsPermanent(err))
}

// What each failure makes of the job: it ends, or it runs again.
func TestFailures(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault http.HandlerFunc
		open  error // what Open's error is, besides permanent; nil: another attempt
		put   error
	}{
		{"no such object", saying(404, "NoSuchKey"), stage.ErrNotFound, nil},
		{"no such version", saying(404, "NoSuchVersion"), stage.ErrNotFound, nil},
		{"a version that is none", saying(400, "InvalidArgument"), stage.ErrNotFound, nil},
		{"a version that says it is deleted", saying(405, "MethodNotAllowed"), stage.ErrNotFound, nil},
		{"no such bucket", saying(404, "NoSuchBucket"), nil, nil},
		{"access denied", saying(403, "AccessDenied"), stage.ErrRefused, stage.ErrRefused},
		{"an archived object", saying(403, "InvalidObjectState"), stage.ErrRefused, stage.ErrRefused},
		{"a proxy that forbids it", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, stage.ErrRefused, stage.ErrRefused},
		{"an unknown key", saying(403, "InvalidAccessKeyId"), nil, nil},
		{"a wrong secret", saying(403, "SignatureDoesNotMatch"), nil, nil},
		{"an expired token", saying(400, "ExpiredToken"), nil, nil},
		{"a wrong clock", saying(403, "RequestTimeTooSkewed"), nil, nil},
		{"throttling", saying(503, "SlowDown"), nil, nil},
		{"throttling by status", saying(429, "TooManyRequests"), nil, nil},
		{"an internal error", saying(500, "InternalError"), nil, nil},
		{"a gateway's page", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>bad gateway")
		}, nil, nil},
		{"a dropped connection", dropped, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := newServer(t)
			store := server.store(t, nil)
			server.upload(t, "a.jpg", []byte("photo"))
			judged := func(err, want error) {
				t.Helper()
				require.Error(t, err)
				assert.Equal(t, want != nil, worker.IsPermanent(err), err)
				if want != nil {
					assert.ErrorIs(t, err, want)
				}
				assert.NotContains(t, err.Error(), "SECRET")
			}
			server.fail(http.MethodGet, row.fault)
			_, err := store.Open(t.Context(), "s3://photos/a.jpg?versionId=null&X-Amz-Signature=SECRET")
			judged(err, row.open)
			server.fail(http.MethodPut, row.fault)
			_, err = store.Put(t.Context(), staged("job-1", "picture"))
			judged(err, row.put)

			assert.Equal(t, "photo", read(t, store, "s3://photos/a.jpg"), "it passes")
			_, err = store.Put(t.Context(), staged("job-1", "picture"))
			assert.NoError(t, err)
		})
	}
}

func TestOpenWhatIsNotThere(t *testing.T) {
	server := newServer(t)
	_, err := server.store(t, nil).Open(t.Context(), "s3://photos/a.jpg")
	require.ErrorIs(t, err, stage.ErrNotFound)
	assert.True(t, worker.IsPermanent(err))

	_, err = server.store(t, func(c *Config) { c.Bucket = "elsewhere" }).Open(t.Context(), "s3://elsewhere/a.jpg")
	require.ErrorContains(t, err, "NoSuchBucket")
	assert.False(t, worker.IsPermanent(err), "it says nothing about an original")
}

func TestWrongCredentials(t *testing.T) {
	server := newServer(t)
	server.upload(t, "a.jpg", []byte("photo"))
	store := server.store(t, func(c *Config) {
		c.Client = server.client(t, func(o *s3.Options) { o.Credentials = credentials("AKIDOLD") })
	})
	_, err := store.Open(t.Context(), "s3://photos/a.jpg")
	require.ErrorContains(t, err, "InvalidAccessKeyId")
	assert.False(t, worker.IsPermanent(err))
	_, err = store.Put(t.Context(), staged("job-1", "picture"))
	require.ErrorContains(t, err, "InvalidAccessKeyId")
	assert.False(t, worker.IsPermanent(err))
	assert.NotContains(t, err.Error(), "SECRET")
	assert.Len(t, server.keys(t), 1)
}

// The client's own tries are under the Store's.
func TestTheClientTriesAgain(t *testing.T) {
	server := newServer(t)
	store := server.store(t, func(c *Config) {
		c.Client = server.client(t, func(o *s3.Options) {
			o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
		})
	})
	server.fail(http.MethodPut, saying(503, "SlowDown"), func(w http.ResponseWriter, r *http.Request) {
		server.s3.ServeHTTP(&recorder{ResponseWriter: &deaf{}}, r) // it is stored,
		dropped(w, r)                                              // and nobody hears of it
	})
	url, err := store.Put(t.Context(), staged("job-1", "picture"))
	require.NoError(t, err)
	server.fail(http.MethodGet, saying(503, "SlowDown"), dropped)
	assert.Equal(t, "picture", read(t, store, url))
	assert.Equal(t, []int{0, 0, 412, 0, 0, 200}, server.statuses())
}

// deaf takes an answer and keeps nothing of it.
type deaf struct{ header http.Header }

func (d *deaf) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *deaf) Write(b []byte) (int, error) { return len(b), nil }
func (d *deaf) WriteHeader(int)             {}

// Where the condition is the trouble, the picture is put without one.
func TestPutWithoutACondition(t *testing.T) {
	for _, fault := range []http.HandlerFunc{saying(501, "NotImplemented"), saying(409, "ConditionalRequestConflict")} {
		server := newServer(t)
		store := server.store(t, nil)
		server.fail(http.MethodPut, fault)
		url, err := store.Put(t.Context(), staged("job-1", "picture"))
		require.NoError(t, err)
		assert.Equal(t, "picture", read(t, store, url))
		require.Equal(t, []int{0, 200, 200}, server.statuses())
		assert.Equal(t, "*", server.calls[0].Header.Get("If-None-Match"))
		assert.Empty(t, server.calls[1].Header.Get("If-None-Match"))
	}
}

// staging runs a job with the store's originals and a model that makes nothing of them.
func staging(t *testing.T, store *Store, url string, maxBytes int64) error {
	t.Helper()
	handler, err := stage.NewHandler(stage.Config{Source: store, Sink: store, MaxBytes: maxBytes,
		Model: stage.ModelFunc(func(_ context.Context, req stage.Request) (stage.Picture, error) {
			return stage.Picture{Data: req.Original.Data, Model: "copy/1"}, nil
		})})
	require.NoError(t, err)
	payload := stage.Payload{ImageID: imageID, OriginalURL: url}
	job, err := worker.NewJob(payload)
	require.NoError(t, err)
	return handler.Handle(worker.ContextWithJob(t.Context(), job), job, payload)
}

// A body that isn't what the server has is no picture that cannot be decoded: the job runs again.
func TestBodiesThatAreCutShort(t *testing.T) {
	data := photo(200)
	for _, row := range []struct {
		name string
		body http.HandlerFunc
	}{
		{"in the middle", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:len(data)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}},
		{"before it begins", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}},
		{"without a length", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(data[:len(data)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}},
		{"against its checksum", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Checksum-Crc32", "AAAAAA==")
			_, _ = w.Write(data)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := newServer(t)
			server.upload(t, "a.png", data)
			store := server.store(t, nil)
			server.fail(http.MethodGet, row.body)
			err := staging(t, store, "s3://photos/a.png", 0)
			require.Error(t, err)
			assert.False(t, worker.IsPermanent(err), err)
			assert.NoError(t, staging(t, store, "s3://photos/a.png", 0))
		})
	}
}

// Checksums of bodies are compared unless the client was told not to.
func TestChecksumsOfBodies(t *testing.T) {
	server := newServer(t)
	for _, row := range []struct {
		name     string
		option   aws.ResponseChecksumValidation
		compared bool
	}{
		{"a client made of a config", aws.ResponseChecksumValidationWhenSupported, true},
		{"a client made of options", aws.ResponseChecksumValidation(0), true},
		{"a client told not to", aws.ResponseChecksumValidationWhenRequired, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := server.store(t, func(c *Config) {
				c.Client = server.client(t, func(o *s3.Options) { o.ResponseChecksumValidation = row.option })
			})
			server.fail(http.MethodGet, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Amz-Checksum-Crc32", "AAAAAA==")
				_, _ = io.WriteString(w, "photo")
			})
			original, err := store.Open(t.Context(), "s3://photos/a.png")
			require.NoError(t, err)
			defer original.Body.Close()
			_, err = io.ReadAll(original.Body)
			assert.Equal(t, row.compared, err != nil, err)
		})
	}
}

// No more is read than the limit, whatever the server says or sends.
func TestBodiesWithoutEnd(t *testing.T) {
	gone := make(chan struct{}, 1)
	for _, row := range []struct {
		name string
		body http.HandlerFunc
	}{
		{"by its length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10000000000000")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			gone <- struct{}{}
		}},
		{"by what comes", func(w http.ResponseWriter, _ *http.Request) {
			for block := make([]byte, 64<<10); ; {
				if _, err := w.Write(block); err != nil {
					gone <- struct{}{}
					return
				}
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := newServer(t)
			server.fail(http.MethodGet, row.body)
			assert.ErrorIs(t, staging(t, server.store(t, nil), "s3://photos/a.png", 1<<20), stage.ErrTooLarge)
			<-gone // the connection was closed
		})
	}
}

// A server that doesn't answer, or stops in the middle, is waited for until the job's context ends.
func TestSlowServers(t *testing.T) {
	over := errors.New("the job is over")
	server := newServer(t)
	store := server.store(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		ctx, cancel := context.WithCancelCause(t.Context())
		server.fail(method, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client went away
			cancel(over)
			<-r.Context().Done()
		})
		var err error
		if method == http.MethodGet {
			_, err = store.Open(ctx, "s3://photos/a.png")
		} else {
			_, err = store.Put(ctx, staged("job-1", "picture"))
		}
		require.ErrorIs(t, err, context.Canceled, method)
		assert.False(t, worker.IsPermanent(err))
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	server.fail(http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "photo")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	original, err := store.Open(ctx, "s3://photos/a.png")
	require.NoError(t, err)
	defer original.Body.Close()
	assert.EqualValues(t, 1000, original.Size)
	begun := make([]byte, 5)
	_, err = io.ReadFull(original.Body, begun)
	require.NoError(t, err)
	cancel(over)
	_, err = original.Body.Read(begun)
	assert.Error(t, err)
	assert.NotErrorIs(t, err, io.EOF)
}
