package stage

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// house is a directory with a root and a secret beside it.
func house(t *testing.T) (root, secret string) {
	t.Helper()
	dir := t.TempDir()
	root, secret = filepath.Join(dir, "photos"), filepath.Join(dir, "secret.jpg")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "rooms"), 0o755))
	write(t, secret, "secret")
	write(t, filepath.Join(root, "rooms", "empty.jpg"), "photo")
	return root, secret
}

func write(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
}

func fileURL(name string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(name)}).String()
}

func TestFilesOpen(t *testing.T) {
	root, _ := house(t)
	write(t, filepath.Join(root, "my room #3?.jpg"), "odd")
	require.NoError(t, os.Symlink("rooms/empty.jpg", filepath.Join(root, "link.jpg")))
	for _, row := range []struct{ name, url, want string }{
		{"relative path", "rooms/empty.jpg", "photo"},
		{"with dots that stay inside", "./rooms/../rooms//empty.jpg", "photo"},
		{"absolute path", filepath.Join(root, "rooms", "empty.jpg"), "photo"},
		{"file URL", fileURL(filepath.Join(root, "rooms", "empty.jpg")), "photo"},
		{"file URL with a host", "file://localhost" + filepath.Join(root, "rooms", "empty.jpg"), "photo"},
		{"link that stays inside", "link.jpg", "photo"},
		{"escaped name", "my%20room%20%233%3F.jpg", "odd"},
	} {
		t.Run(row.name, func(t *testing.T) {
			original, err := Files{Root: root}.Open(t.Context(), row.url)
			require.NoError(t, err)
			defer original.Body.Close()
			data, err := io.ReadAll(original.Body)
			require.NoError(t, err)
			assert.Equal(t, row.want, string(data))
			assert.EqualValues(t, len(row.want), original.Size)
		})
	}
}

func TestFilesOpenRelativeRoot(t *testing.T) {
	root, _ := house(t)
	t.Chdir(filepath.Dir(root))
	original, err := Files{Root: "photos"}.Open(t.Context(), fileURL(filepath.Join(root, "rooms", "empty.jpg")))
	require.NoError(t, err)
	assert.NoError(t, original.Body.Close())
}

// Whatever leads out of the root, or to anything but a file, is refused for good.
func TestFilesOpenRefuses(t *testing.T) {
	root, secret := house(t)
	require.NoError(t, os.Symlink(secret, filepath.Join(root, "absolute.jpg")))
	require.NoError(t, os.Symlink("../secret.jpg", filepath.Join(root, "relative.jpg")))
	require.NoError(t, os.Symlink("..", filepath.Join(root, "up")))
	require.NoError(t, os.Symlink("loop.jpg", filepath.Join(root, "loop.jpg")))
	for _, row := range []struct {
		name, url string
		is        error
	}{
		{"dots", "../secret.jpg", ErrRefused},
		{"dots behind a directory", "rooms/../../secret.jpg", ErrRefused},
		{"escaped dots", "%2e%2e/secret.jpg", ErrRefused},
		{"escaped slash", "..%2fsecret.jpg", ErrRefused},
		{"absolute", secret, ErrRefused},
		{"absolute with dots", root + "/../secret.jpg", ErrRefused},
		{"a root with the same beginning", root + "-old/a.jpg", ErrRefused},
		{"file URL", fileURL(secret), ErrRefused},
		{"file URL with escaped dots", "file://" + root + "/%2e%2e/secret.jpg", ErrRefused},
		{"password file", "file:///etc/passwd", ErrRefused},
		{"absolute link", "absolute.jpg", ErrRefused},
		{"relative link", "relative.jpg", ErrRefused},
		{"link to a directory", "up/secret.jpg", ErrRefused},
		{"link to itself", "loop.jpg", ErrRefused},
		{"NUL", "a%00.jpg", ErrRefused},
		{"the root", ".", ErrRefused},
		{"a directory", "rooms", ErrRefused},
		{"another host", "file://server/rooms/empty.jpg", ErrRefused},
		{"another scheme", "https://example.com/rooms/empty.jpg", ErrRefused},
		{"an opaque URL", "file:rooms/empty.jpg", ErrRefused},
		{"a query", "rooms/empty.jpg?v=2", ErrRefused},
		{"a fragment", "rooms/empty.jpg#2", ErrRefused},
		{"no URL", "%zz", ErrRefused},
		{"no such file", "rooms/full.jpg", ErrNotFound},
		{"no such directory", "halls/full.jpg", ErrNotFound},
		{"a file as a directory", "rooms/empty.jpg/1.jpg", ErrNotFound},
		{"a name too long", strings.Repeat("x", 4000) + ".jpg", ErrNotFound},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Files{Root: root}.Open(t.Context(), row.url)
			require.ErrorIs(t, err, row.is)
			assert.True(t, worker.IsPermanent(err), err)
		})
	}
}

// A root that is missing is the host's trouble: the job runs again.
func TestFilesWithoutRoot(t *testing.T) {
	gone := Files{Root: filepath.Join(t.TempDir(), "unmounted")}
	cfg := working()
	cfg.Source = gone
	handler, err := NewHandler(cfg)
	require.NoError(t, err)
	err = handler.Handle(t.Context(), newJob(t, validPayload()), validPayload())
	require.ErrorContains(t, err, "unmounted")
	assert.False(t, worker.IsPermanent(err))

	_, err = gone.Put(t.Context(), stagedRoom("job-1"))
	require.ErrorContains(t, err, "unmounted")
	assert.False(t, worker.IsPermanent(err))

	_, err = Files{}.Put(t.Context(), stagedRoom("job-1"))
	assert.ErrorContains(t, err, "Root is empty")
}

func TestFilesHeedTheContext(t *testing.T) {
	root, _ := house(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Files{Root: root}.Open(ctx, "rooms/empty.jpg")
	assert.Equal(t, context.Canceled, err)
	_, err = Files{Root: root}.Put(ctx, stagedRoom("job-1"))
	assert.Equal(t, context.Canceled, err)
}

func stagedRoom(job string) Staged {
	return Staged{JobID: job, ImageID: imageID, Image: Image{Data: []byte("picture"), MediaType: "image/jpeg"}}
}

// names lists the files below root.
func names(t *testing.T, root string) (found []string) {
	t.Helper()
	require.NoError(t, fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, name)
		}
		return err
	}))
	return found
}

func TestFilesPut(t *testing.T) {
	const name = "0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11/job-1-2cea274d0bedc39ec4ab6ba9e59ec889"
	for _, row := range []struct{ name, base, mediaType, want string }{
		{"beside a web server", "https://cdn.example.com/staged/", "image/jpeg", "https://cdn.example.com/staged/" + name + ".jpg"},
		{"without a slash", "https://cdn.example.com/staged", "image/png", "https://cdn.example.com/staged/" + name + ".png"},
		{"below a path", "/staged", "image/webp", "/staged/" + name + ".webp"},
		{"a strange type", "/staged", "image/../x", "/staged/" + name + ".___x"},
		{"without a base", "", "image/jpeg", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := t.TempDir()
			files := Files{Root: root, BaseURL: row.base}
			require.NoError(t, files.Validate())
			staged := stagedRoom("job-1")
			staged.Image.MediaType = row.mediaType
			got, err := files.Put(t.Context(), staged)
			require.NoError(t, err)
			if row.want == "" {
				row.want = fileURL(filepath.Join(root, name+".jpg"))
			}
			assert.Equal(t, row.want, got)
			require.Len(t, names(t, root), 1, "nothing temporary remains")
		})
	}
}

// What was put can be opened again, by its URL.
func TestFilesPutThenOpen(t *testing.T) {
	files := Files{Root: filepath.Join(t.TempDir(), "with space & 100%")}
	require.NoError(t, os.Mkdir(files.Root, 0o755))
	url, err := files.Put(t.Context(), stagedRoom("job-1"))
	require.NoError(t, err)
	original, err := files.Open(t.Context(), url)
	require.NoError(t, err)
	defer original.Body.Close()
	data, err := io.ReadAll(original.Body)
	require.NoError(t, err)
	assert.Equal(t, "picture", string(data))
}

func TestFilesPutNeverReplacesAnotherPicture(t *testing.T) {
	files := Files{Root: t.TempDir(), BaseURL: "/s"}
	urls := map[string]bool{}
	for _, job := range []string{"job-1", "job-2", "", "../../etc/x", "a/b", strings.Repeat("ü", 300)} {
		for _, data := range []string{"one", "two", "one"} {
			staged := stagedRoom(job)
			staged.Image.Data = []byte(data)
			url, err := files.Put(t.Context(), staged)
			require.NoError(t, err)
			urls[url] = true
		}
	}
	assert.Len(t, urls, 12, "two pictures of each job")
	assert.Len(t, names(t, files.Root), 12)
}

// Whoever reads while others put the same picture sees all of it.
func TestFilesPutTheSameAtOnce(t *testing.T) {
	files := Files{Root: t.TempDir()}
	staged := stagedRoom("job-1")
	staged.Image.Data = bytes.Repeat([]byte("picture "), 10_000)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			url, err := files.Put(t.Context(), staged)
			if !assert.NoError(t, err) {
				return
			}
			original, err := files.Open(t.Context(), url)
			if !assert.NoError(t, err) {
				return
			}
			defer original.Body.Close()
			data, err := io.ReadAll(original.Body)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(staged.Image.Data, data))
		})
	}
	wg.Wait()
	assert.Len(t, names(t, files.Root), 1)
}

func TestFilesPutStaysInside(t *testing.T) {
	root, secret := house(t)
	outside := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(root, imageID.String())))
	_, err := Files{Root: root}.Put(t.Context(), stagedRoom("job-1"))
	require.ErrorIs(t, err, ErrRefused)
	assert.Empty(t, names(t, outside))

	// A link in the picture's place is replaced, not followed.
	require.NoError(t, os.Remove(filepath.Join(root, imageID.String())))
	require.NoError(t, os.Mkdir(filepath.Join(root, imageID.String()), 0o755))
	place := filepath.Join(root, imageID.String(), fileName(stagedRoom("job-1")))
	require.NoError(t, os.Symlink(secret, place))
	_, err = Files{Root: root}.Put(t.Context(), stagedRoom("job-1"))
	require.NoError(t, err)
	data, err := os.ReadFile(secret)
	require.NoError(t, err)
	assert.Equal(t, "secret", string(data))
}

func TestFilesPutFailsForTheTimeBeing(t *testing.T) {
	root := t.TempDir()
	place := filepath.Join(root, imageID.String(), fileName(stagedRoom("job-1")))
	require.NoError(t, os.MkdirAll(filepath.Join(place, "in the way"), 0o755))
	_, err := Files{Root: root}.Put(t.Context(), stagedRoom("job-1"))
	require.ErrorAs(t, err, new(syscall.Errno))
	assert.False(t, worker.IsPermanent(err))
	assert.Empty(t, names(t, root), "nothing temporary remains")
}

func TestFilesValidate(t *testing.T) {
	assert.NoError(t, Files{Root: "."}.Validate())
	err := Files{BaseURL: "https://h/%zz"}.Validate()
	assert.ErrorContains(t, err, "Root is empty")
	assert.ErrorContains(t, err, `BaseURL "https://h/%zz": invalid URL escape`)
	for _, base := range []string{"https://h/?x=1", "https://h/#x", "mailto:x"} {
		assert.Error(t, Files{Root: ".", BaseURL: base}.Validate(), base)
	}
}

func FuzzFilesOpen(f *testing.F) {
	for _, url := range []string{"rooms/empty.jpg", "../secret.jpg", "file:///etc/passwd", "%2e%2e/secret.jpg", "up/secret.jpg", "//x"} {
		f.Add(url)
	}
	dir := f.TempDir()
	root := filepath.Join(dir, "photos")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "rooms"), 0o755), os.Symlink("..", filepath.Join(root, "up")),
		os.WriteFile(filepath.Join(dir, "secret.jpg"), []byte("secret"), 0o600),
		os.WriteFile(filepath.Join(root, "rooms", "empty.jpg"), []byte("photo"), 0o600),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, url string) {
		original, err := Files{Root: root}.Open(t.Context(), url)
		if err != nil {
			require.True(t, worker.IsPermanent(err), err)
			return
		}
		defer original.Body.Close()
		data, err := io.ReadAll(original.Body)
		require.NoError(t, err)
		require.Equal(t, "photo", string(data), "the only file in there")
	})
}
