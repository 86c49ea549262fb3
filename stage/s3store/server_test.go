package s3store

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	bucket  = "photos"
	keyID   = "AKIDTEST"
	anyCall = ""
)

var imageID = uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11")

// server is an S3 server on a free port. It wants every request signed with keyID, and answers with faults as told.
type server struct {
	*httptest.Server
	s3 http.Handler

	mu     sync.Mutex
	faults []fault
	calls  []call
}

// call is one request that the server got, and its answer's status: zero when a fault had it.
type call struct {
	*http.Request
	status int
}

// fault is what the server does instead of answering the next request of a method.
type fault struct {
	method string // anyCall: whichever
	do     http.HandlerFunc
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{s3: gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server()}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	_, err := s.client(t, nil).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	s.calls = nil
	return s
}

// client is a client of the server that makes no second try, so that tests see each error.
func (s *server) client(t *testing.T, edit func(*s3.Options)) *s3.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o := s3.Options{
		Region:       "eu-central-1",
		BaseEndpoint: &s.URL,
		UsePathStyle: true,
		Credentials:  credentials(keyID),
		HTTPClient:   &http.Client{Transport: transport},
		Retryer:      aws.NopRetryer{},
		// As config.LoadDefaultConfig sets them.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}
	if edit != nil {
		edit(&o)
	}
	return s3.New(o)
}

func credentials(id string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: "SECRET"}, nil
	})
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if do := s.nextFault(r); do != nil {
		do(w, r)
		return
	}
	switch signer := signerOf(r); {
	case signer == "":
		refuse(w, http.StatusForbidden, "AccessDenied")
		return
	case signer != keyID:
		refuse(w, http.StatusForbidden, "InvalidAccessKeyId")
		return
	}
	answer := &recorder{ResponseWriter: w}
	s.s3.ServeHTTP(answer, r)
	s.record(r, answer.status)
}

// signerOf is the id of the key that signed a request, by its header or its query.
func signerOf(r *http.Request) string {
	credential := r.URL.Query().Get("X-Amz-Credential")
	if _, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential = rest
	}
	id, _, _ := strings.Cut(credential, "/")
	return id
}

// refuse answers with an error of the protocol.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>`+code+`</Code><Message>no</Message></Error>`)
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// fail makes the server do something else with the next requests of a method, one after the other.
func (s *server) fail(method string, do ...http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range do {
		s.faults = append(s.faults, fault{method, f})
	}
}

func (s *server) nextFault(r *http.Request) http.HandlerFunc {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.method == anyCall || f.method == r.Method {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			s.calls = append(s.calls, call{Request: r.Clone(context.Background())})
			return f.do
		}
	}
	return nil
}

func (s *server) record(r *http.Request, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call{r.Clone(context.Background()), max(status, http.StatusOK)})
}

// statuses are the answers to all requests so far.
func (s *server) statuses() (found []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		found = append(found, c.status)
	}
	return found
}

// dropped closes the connection instead of answering.
func dropped(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// saying answers with an error of the protocol.
func saying(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, code) }
}

// store makes a Store on the server; edit changes its configuration.
func (s *server) store(t *testing.T, edit func(*Config)) *Store {
	t.Helper()
	cfg := Config{Client: s.client(t, nil), Bucket: bucket, Prefix: "staged"}
	if edit != nil {
		edit(&cfg)
	}
	store, err := New(cfg)
	require.NoError(t, err)
	return store
}

// upload puts an object as a user's browser would.
func (s *server) upload(t *testing.T, key string, data []byte) {
	t.Helper()
	_, err := s.client(t, nil).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(data)})
	require.NoError(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// keys lists what is in the bucket.
func (s *server) keys(t *testing.T) (found []string) {
	t.Helper()
	out, err := s.client(t, nil).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	for _, o := range out.Contents {
		found = append(found, *o.Key)
	}
	return found
}

// read opens and reads an object.
func read(t *testing.T, store *Store, url string) string {
	t.Helper()
	original, err := store.Open(t.Context(), url)
	require.NoError(t, err)
	defer original.Body.Close()
	data, err := io.ReadAll(original.Body)
	require.NoError(t, err)
	require.EqualValues(t, len(data), original.Size)
	return string(data)
}

func staged(job, data string) stage.Staged {
	return stage.Staged{JobID: job, ImageID: imageID, Image: stage.Image{Data: []byte(data), MediaType: "image/png"}}
}

// photo is a picture of some size.
func photo(size int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	for i := range size {
		img.Set(i, i, color.White)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}
