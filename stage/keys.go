package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/real-staging-ai/go-worker"
)

// keys.go: what stored pictures are named, and which job may touch which name. Files and the stores in subpackages keep
// to it; so may a host's own.

// MaxKeyLength is how long a key may be, in bytes: S3's limit.
const MaxKeyLength = 1024

// Keys says which jobs may touch which keys. A key is a name within a store, with slashes: an object's key in a bucket,
// a path below Files.Root. The zero value lets every job read everything in its store.
//
// Whoever can choose a job's original_url can read what its store holds, and has it staged. A host whose users do so
// sets Check, and JobPrefix for the other direction:
//
//	stage.Keys{
//		JobPrefix: func(_ context.Context, job *worker.Job) (string, error) {
//			return "tenants/" + job.Headers["tenant"], nil
//		},
//		Check: func(_ context.Context, job *worker.Job, key string) error {
//			if !strings.HasPrefix(key, "tenants/"+job.Headers["tenant"]+"/") {
//				return errors.New("another tenant's")
//			}
//			return nil
//		},
//	}
//
// Both are called once for each Open or Put they concern, by several jobs at once, with the context of the port. The
// job is nil when that has none, in a test of the host's say. An error from either fails the job for good and wraps
// ErrRefused, unless it wraps one of package worker's verbs: worker.RetryAfter, when a database doesn't answer.
type Keys struct {
	// JobPrefix returns what the keys of a job's pictures begin with, below the store's own prefix. Slashes around it
	// don't matter. Nil or empty means nothing.
	JobPrefix func(ctx context.Context, job *worker.Job) (string, error)
	// Check is asked before anything is read or written. Nil means that all is allowed.
	Check func(ctx context.Context, job *worker.Job, key string) error
}

// Allow reports whether the job in ctx may touch key. A store calls it before it reads. Keys that ValidateKey doesn't
// like are never allowed.
func (k Keys) Allow(ctx context.Context, key string) error {
	if err := ValidateKey(key); err != nil {
		return err
	}
	return k.check(ctx, key)
}

func (k Keys) check(ctx context.Context, key string) error {
	if k.Check == nil {
		return nil
	}
	job, _ := worker.JobFromContext(ctx)
	if err := k.Check(ctx, job, key); err != nil {
		return refuseFor(ctx, err)
	}
	return nil
}

// Place returns the key at which the job in ctx puts a picture: the store's prefix, JobPrefix and the picture's own
// name, if that key is allowed. A store calls it before it writes, with Staged.Key as name.
func (k Keys) Place(ctx context.Context, prefix, name string) (string, error) {
	ofJob, err := k.jobPrefix(ctx)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, part := range []string{prefix, ofJob, name} {
		if part = strings.Trim(part, "/"); part != "" {
			parts = append(parts, part)
		}
	}
	key := strings.Join(parts, "/")
	return key, k.Allow(ctx, key)
}

func (k Keys) jobPrefix(ctx context.Context) (string, error) {
	if k.JobPrefix == nil {
		return "", nil
	}
	job, _ := worker.JobFromContext(ctx)
	prefix, err := k.JobPrefix(ctx, job)
	if err != nil {
		return "", refuseFor(ctx, err)
	}
	return prefix, nil
}

// refuseFor makes a hook's error final, but for one that only says that the job's time was over.
func refuseFor(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return judge(err, ErrRefused)
}

// ValidateKey reports what is wrong with a key: it is empty or longer than MaxKeyLength, is no UTF-8, has control
// characters, or parts between its slashes that are empty, "." or "..", which proxies and clients make other keys of.
// The error wraps ErrRefused and doesn't repeat the key.
func ValidateKey(key string) error {
	if problem := keyProblem(key); problem != nil {
		return fmt.Errorf("%w: the key %w", ErrRefused, problem)
	}
	return nil
}

func keyProblem(key string) error {
	switch {
	case key == "":
		return errors.New("is empty")
	case len(key) > MaxKeyLength:
		return fmt.Errorf("has %d bytes: the limit is %d", len(key), MaxKeyLength)
	case !utf8.ValidString(key):
		return errors.New("is not UTF-8")
	case strings.ContainsFunc(key, unicode.IsControl):
		return errors.New("has control characters")
	}
	for part := range strings.SplitSeq(key, "/") {
		switch part {
		case "":
			return errors.New("has an empty part")
		case ".", "..":
			return fmt.Errorf("has a part %q", part)
		}
	}
	return nil
}

// Key names the picture in an object store: <job id>/<SHA-256 of the bytes>.<type>. The same picture of a job always
// has the same key and another one another, so a retry never overwrites what a cache may hold. Characters of a job id
// that don't belong in URLs become _, and a hash is added to it. Without a job id it is the image's.
func (s Staged) Key() string {
	sum := sha256.Sum256(s.Image.Data)
	return keyPart(s) + "/" + hex.EncodeToString(sum[:]) + "." + extension(s.Image.MediaType)
}

func keyPart(s Staged) string {
	if s.JobID == "" {
		return s.ImageID.String()
	}
	name := plain(s.JobID, 100)
	if name != s.JobID {
		sum := sha256.Sum256([]byte(s.JobID))
		name += "-" + hex.EncodeToString(sum[:8])
	}
	return name
}

// extension is the usual ending of names of files of a media type, "bin" when it isn't known.
func extension(mediaType string) string {
	switch kind := plain(strings.TrimPrefix(mediaType, "image/"), 20); kind {
	case "jpeg":
		return "jpg"
	case "":
		return "bin"
	default:
		return kind
	}
}

// plain makes s harmless in file names and URLs, and at most limit characters long. Several strings may become the
// same one.
func plain(s string, limit int) string {
	s = strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '_'
	}, s)
	return s[:min(len(s), limit)]
}
