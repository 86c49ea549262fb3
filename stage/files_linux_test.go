package stage

import (
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever becomes of it, a call leaves no file open but the one that it returns.
func TestFilesLeaveNothingOpen(t *testing.T) {
	root, _ := house(t)
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(root, "out.jpg")))
	open := func() int {
		found, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(found)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close what is forgotten
	files, before := Files{Root: root}, 0
	for n := range 20 {
		for _, url := range []string{"rooms/empty.jpg", "rooms", "missing.jpg", "out.jpg", "../secret"} {
			original, err := files.Open(t.Context(), url)
			if err == nil {
				_, err = io.Copy(io.Discard, original.Body)
				require.NoError(t, err)
				require.NoError(t, original.Body.Close())
			}
		}
		_, err := files.Put(t.Context(), stagedRoom("job-1"))
		require.NoError(t, err)
		if n == 0 {
			before = open()
		}
	}
	assert.LessOrEqual(t, open(), before)
}
