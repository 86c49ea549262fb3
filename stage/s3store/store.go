package s3store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/real-staging-ai/go-worker/stage"
)

// MaxPresign is how long a presigned URL can last: what S3's signatures allow. With temporary credentials it ends with
// them, if that is sooner.
const MaxPresign = 7 * 24 * time.Hour

// Immutable is a Config.CacheControl for pictures that anybody may see: browsers and CDNs keep them for a year and don't
// ask again. For others it is "private, max-age=31536000, immutable".
const Immutable = "public, max-age=31536000, immutable"

// Config is what a Store is made of. Client and Bucket are required.
type Config struct {
	// Client speaks to the server. Its options say with which credentials, at which endpoint, in which style of URLs and
	// with how many retries; it is used and never changed.
	Client *s3.Client
	// Bucket is the name of the one bucket that is read and written.
	Bucket string
	// Prefix is what the keys of staged pictures begin with, "staged" say; slashes around it don't matter. Empty means
	// nothing. It doesn't limit what is read: Keys does.
	Prefix string
	// Keys says which jobs may touch which keys. The zero value means all of them, and with it anybody who can choose a
	// job's original_url can have any picture of the bucket staged.
	Keys stage.Keys

	// BaseURL is what Put's URLs begin with, before the key: the address at which a public bucket or a CDN serves the
	// bucket. Open takes such URLs for the bucket's, too. Empty means that Put returns s3:// URLs.
	BaseURL string
	// PresignFor makes Put return a presigned URL that lasts so long, a second to MaxPresign, instead of one that lasts for
	// ever. Zero means that it doesn't. It excludes BaseURL.
	PresignFor time.Duration

	// CacheControl is the header of that name with which pictures are served, Immutable say. Empty means none.
	CacheControl string
	// EditPut may add to the request of each Put what a host's bucket needs: encryption, a canned ACL, a storage class,
	// tags. It must leave Bucket, Key and Body alone, and is called by several jobs at once. Nil adds nothing.
	EditPut func(in *s3.PutObjectInput)
}

// check reports all that is wrong.
func (c Config) check() error {
	var problems []error
	if c.Client == nil {
		problems = append(problems, errors.New("Client is nil"))
	}
	if !isBucketName(c.Bucket) {
		problems = append(problems, fmt.Errorf("Bucket is %q: a name has 3 to 63 characters, letters, digits, -, _ and .", c.Bucket))
	}
	if _, err := (stage.Keys{}).Place(context.Background(), c.Prefix, "x"); err != nil {
		problems = append(problems, fmt.Errorf("Prefix: %w", err))
	}
	if c.BaseURL != "" && !isBaseURL(c.BaseURL) {
		problems = append(problems, fmt.Errorf("BaseURL %q: it must be http or https, with a host and at most a path", c.BaseURL))
	}
	switch {
	case c.PresignFor != 0 && !canLast(c.PresignFor):
		problems = append(problems, fmt.Errorf("PresignFor is %v: it must be 0, or from 1s to %v", c.PresignFor, MaxPresign))
	case c.PresignFor > 0 && c.BaseURL != "":
		problems = append(problems, errors.New("PresignFor and BaseURL are both set: Put returns one URL"))
	}
	return errors.Join(problems...)
}

// Store is a stage.Source and a stage.Sink on a bucket. It keeps nothing between calls and serves any number at once.
type Store struct {
	cfg     Config
	presign *s3.PresignClient
	places  []place
}

var (
	_ stage.Source = (*Store)(nil)
	_ stage.Sink   = (*Store)(nil)
)

// New makes a Store, or reports all that is wrong with the configuration. It doesn't ask the server for anything.
func New(cfg Config) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("s3store: %w", err)
	}
	places, err := placesOf(cfg)
	if err != nil {
		return nil, fmt.Errorf("s3store: %w", err)
	}
	return &Store{cfg: cfg, presign: presigner(cfg.Client), places: places}, nil
}

// canLast reports whether a presigned URL can last so long: signatures count whole seconds.
func canLast(d time.Duration) bool { return d >= time.Second && d <= MaxPresign }

// presigner signs nothing into a URL that whoever follows it would have to send as a header: by default the client asks
// for checksums with one.
func presigner(client *s3.Client) *s3.PresignClient {
	return s3.NewPresignClient(client, s3.WithPresignClientFromClientOptions(func(o *s3.Options) {
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}))
}

// Open opens the object that url names, as the package's documentation says which do. A signature in its query is of no
// use and no hindrance, since the client signs its own requests; versionId is heeded, any other parameter refused. As it
// is a URL, the characters % ? and # in keys are escaped, also behind s3://.
func (s *Store) Open(ctx context.Context, url string) (stage.Original, error) {
	object, err := s.locate(url)
	if err != nil {
		return stage.Original{}, err
	}
	if err := s.cfg.Keys.Allow(ctx, object.key); err != nil {
		return stage.Original{}, err
	}
	in := s.get(object)
	if s.cfg.Client.Options().ResponseChecksumValidation != aws.ResponseChecksumValidationWhenRequired {
		in.ChecksumMode = types.ChecksumModeEnabled // the default of clients that are made of a config, and of no others
	}
	out, err := s.cfg.Client.GetObject(ctx, in)
	if err != nil {
		return stage.Original{}, judgeGet(err, object)
	}
	return stage.Original{Body: out.Body, Size: aws.ToInt64(out.ContentLength)}, nil
}

func (s *Store) get(o object) *s3.GetObjectInput {
	in := &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: &o.key}
	if o.version != "" {
		in.VersionId = &o.version
	}
	return in
}

// Put stores the picture and returns its URL. Putting the same again changes nothing, nor do two at once.
func (s *Store) Put(ctx context.Context, staged stage.Staged) (string, error) {
	key, err := s.cfg.Keys.Place(ctx, s.cfg.Prefix, staged.Key())
	if err != nil {
		return "", err
	}
	if err := s.write(ctx, key, staged.Image); err != nil {
		return "", judgePut(err)
	}
	return s.urlOf(ctx, key)
}

// write writes an object unless it is there. As keys name what is in them, one that exists is what was to be written;
// and where the server knows no condition, or another worker is writing at this moment, overwriting changes nothing.
func (s *Store) write(ctx context.Context, key string, image stage.Image) error {
	err := s.put(ctx, key, image, true)
	switch {
	case alreadyThere(err):
		return nil
	case conditionFailed(err):
		return s.put(ctx, key, image, false)
	}
	return err
}

// put sends the picture with its SHA-256, which the server compares with what it got.
func (s *Store) put(ctx context.Context, key string, image stage.Image, onlyNew bool) error {
	sum := sha256.Sum256(image.Data)
	in := &s3.PutObjectInput{
		Bucket:         &s.cfg.Bucket,
		Key:            &key,
		Body:           bytes.NewReader(image.Data),
		ContentLength:  aws.Int64(int64(len(image.Data))),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}
	if image.MediaType != "" {
		in.ContentType = &image.MediaType
	}
	if s.cfg.CacheControl != "" {
		in.CacheControl = &s.cfg.CacheControl
	}
	if onlyNew {
		in.IfNoneMatch = aws.String("*")
	}
	if s.cfg.EditPut != nil {
		s.cfg.EditPut(in)
	}
	_, err := s.cfg.Client.PutObject(ctx, in)
	return err
}

// urlOf is the URL that a job's result keeps.
func (s *Store) urlOf(ctx context.Context, key string) (string, error) {
	switch {
	case s.cfg.PresignFor > 0:
		return s.presigned(ctx, object{key: key}, s.cfg.PresignFor)
	case s.cfg.BaseURL != "":
		return url.JoinPath(s.cfg.BaseURL, escaped(key))
	}
	return "s3://" + s.cfg.Bucket + "/" + escaped(key), nil
}

// escaped is a key as the path of a URL.
func escaped(key string) string { return (&url.URL{Path: key}).EscapedPath() }

// Presign returns a URL at which whoever has it can read the object until d has passed, from a second to MaxPresign. The
// object is named by a URL that Open would take, a job's Result.StagedURL say; whether there is one is not looked at, and
// Config.Keys is not asked: who may see a picture is for the caller to know. Nothing is sent to the server.
func (s *Store) Presign(ctx context.Context, url string, d time.Duration) (string, error) {
	if !canLast(d) {
		return "", fmt.Errorf("presign for %v: it must be from 1s to %v", d, MaxPresign)
	}
	object, err := s.locate(url)
	if err != nil {
		return "", err
	}
	return s.presigned(ctx, object, d)
}

func (s *Store) presigned(ctx context.Context, o object, d time.Duration) (string, error) {
	req, err := s.presign.PresignGetObject(ctx, s.get(o), s3.WithPresignExpires(d))
	if err != nil {
		return "", fmt.Errorf("presign: %w", err)
	}
	return req.URL, nil
}
