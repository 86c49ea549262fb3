package stage

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Files keeps pictures in a local directory: a Source of originals and a Sink of staged ones. Nothing outside of the
// directory is touched, whatever a URL says and whichever symbolic links there are inside.
type Files struct {
	// Root is the directory. It must exist when jobs run, and is opened for each of them. Required.
	Root string
	// BaseURL is what Put's URLs begin with, the address that a web server serves Root at, say. Empty means that they
	// are file URLs.
	BaseURL string
	// Keys says which jobs may touch which files; a file's key is its path below Root, with slashes. The zero value
	// means that all may.
	Keys Keys
}

var (
	_ Source = Files{}
	_ Sink   = Files{}
)

// Validate reports what is wrong with the fields; it doesn't look for the directory.
func (f Files) Validate() error {
	var problems []error
	if f.Root == "" {
		problems = append(problems, errors.New("Root is empty"))
	}
	switch base, err := parseURL(f.BaseURL); {
	case err != nil:
		problems = append(problems, fmt.Errorf("BaseURL %q: %w", f.BaseURL, err))
	case base.RawQuery != "" || base.Fragment != "" || base.Opaque != "":
		problems = append(problems, fmt.Errorf("BaseURL %q: only a scheme, a host and a path make sense", f.BaseURL))
	}
	return errors.Join(problems...)
}

// Open opens an ordinary file below Root. The URL is a path relative to Root, an absolute path, or a file URL; as it is
// a URL, the characters % ? and # in names are escaped. Errors wrap ErrRefused or ErrNotFound when trying again is
// useless.
func (f Files) Open(ctx context.Context, url string) (Original, error) {
	if err := ctx.Err(); err != nil {
		return Original{}, err
	}
	name, err := f.nameOf(url)
	if err != nil {
		return Original{}, err
	}
	if err := f.Keys.check(ctx, filepath.ToSlash(name)); err != nil {
		return Original{}, err
	}
	root, err := f.openRoot()
	if err != nil {
		return Original{}, err
	}
	defer root.Close()
	info, err := root.Stat(name) // before opening: that would wait for the other end of a pipe
	if err != nil {
		return Original{}, judgePath(err)
	}
	if !info.Mode().IsRegular() {
		return Original{}, fmt.Errorf("%w: %s is not an ordinary file", ErrRefused, name)
	}
	file, err := root.Open(name)
	if err != nil {
		return Original{}, judgePath(err)
	}
	return Original{Body: file, Size: info.Size()}, nil
}

// openRoot opens the directory. That it is missing is the host's trouble, an unmounted disk say, and says nothing
// about an original: so the error is not one of the kind that errors.Is(err, fs.ErrNotExist) finds.
func (f Files) openRoot() (*os.Root, error) {
	if f.Root == "" {
		return nil, errors.New("Files.Root is empty")
	}
	root, err := os.OpenRoot(f.Root)
	if err != nil {
		return nil, fmt.Errorf("open root: %s", err) //nolint:errorlint // wrapped, it would look like a missing original
	}
	return root, nil
}

// nameOf returns the name below Root that a URL means.
func (f Files) nameOf(raw string) (string, error) {
	u, err := parseURL(raw)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: not a URL: %w", ErrRefused, err)
	case u.Scheme != "" && u.Scheme != "file", u.Opaque != "":
		return "", fmt.Errorf("%w: neither a file URL nor a path", ErrRefused)
	case u.Host != "" && u.Host != "localhost", u.User != nil:
		return "", fmt.Errorf("%w: a file URL of another host", ErrRefused)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("%w: a path with a query or a fragment: write ? as %%3F and # as %%23", ErrRefused)
	}
	name := u.Path
	if path.IsAbs(name) {
		if name, err = f.belowRoot(name); err != nil {
			return "", err
		}
	}
	name, err = filepath.Localize(path.Clean(name))
	if err != nil {
		return "", fmt.Errorf("%w: it is not a path below the root", ErrRefused)
	}
	return name, nil
}

// belowRoot makes an absolute path, with slashes, relative to Root.
func (f Files) belowRoot(name string) (string, error) {
	if filepath.VolumeName(name[1:]) != "" { // the path of file:///C:/photos/1.jpg
		name = name[1:]
	}
	root, err := filepath.Abs(f.Root)
	if err != nil {
		return "", fmt.Errorf("find root: %s", err) //nolint:errorlint // for the same reason
	}
	rel, err := filepath.Rel(root, filepath.FromSlash(name))
	if err != nil {
		return "", fmt.Errorf("%w: it is not a path below the root", ErrRefused)
	}
	return filepath.ToSlash(rel), nil
}

// judgePath tells by the error of an operation on os.Root whether the path is to blame.
func judgePath(err error) error {
	var system syscall.Errno
	switch {
	case !errors.As(err, &system): // os.Root itself refused, and has no name for why
		return judge(err, ErrRefused)
	case errors.Is(err, syscall.ELOOP):
		return judge(err, ErrRefused)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return judge(err, ErrNotFound)
	}
	return err
}

// Put stores the picture as <image id>/<job id>-<hash of the content>.<type>, below the job's prefix if Keys has one:
// the same picture of the same job always has the same name, another picture another. The file appears whole or not at
// all; after a crash a file whose name begins with ".tmp-" may remain.
func (f Files) Put(ctx context.Context, staged Staged) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	key, err := f.Keys.Place(ctx, "", staged.ImageID.String()+"/"+fileName(staged))
	if err != nil {
		return "", err
	}
	name, err := filepath.Localize(key)
	if err != nil {
		return "", fmt.Errorf("%w: it is not a path below the root", ErrRefused)
	}
	root, err := f.openRoot()
	if err != nil {
		return "", err
	}
	defer root.Close()
	if err := replaceFile(root, name, staged.Image.Data); err != nil {
		if errors.As(err, new(syscall.Errno)) {
			return "", err // a full disk, say
		}
		return "", judge(err, ErrRefused)
	}
	return f.urlOf(key)
}

// fileName names a staged picture by what it is.
func fileName(staged Staged) string {
	sum := sha256.Sum256(staged.Image.Data)
	name := hex.EncodeToString(sum[:16]) + "." + extension(staged.Image.MediaType)
	if job := plain(staged.JobID, 100); job != "" {
		name = job + "-" + name
	}
	return name
}

// replaceFile writes the file under a name of its own, then gives it the right one. A power cut may still lose the
// name, but never leaves half a file under it.
func replaceFile(root *os.Root, name string, data []byte) error {
	dir := filepath.Dir(name)
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp := filepath.Join(dir, ".tmp-"+rand.Text())
	err := writeFile(root, temp, data)
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		_ = root.Remove(temp) // the first error tells more
	}
	return err
}

// writeFile writes a new file through to the disk.
func writeFile(root *os.Root, name string, data []byte) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

func (f Files) urlOf(key string) (string, error) {
	if f.BaseURL != "" {
		return url.JoinPath(f.BaseURL, (&url.URL{Path: key}).EscapedPath())
	}
	full, err := filepath.Abs(filepath.Join(f.Root, filepath.FromSlash(key)))
	if err != nil {
		return "", fmt.Errorf("find root: %w", err)
	}
	full = filepath.ToSlash(full)
	if !strings.HasPrefix(full, "/") { // C:/photos
		full = "/" + full
	}
	return (&url.URL{Scheme: "file", Path: full}).String(), nil
}
