//go:build unix

package stage

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFilesOpenDoesNotWaitForPipes(t *testing.T) {
	root, _ := house(t)
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "pipe.jpg"), 0o600))
	_, err := Files{Root: root}.Open(t.Context(), "pipe.jpg")
	assert.ErrorIs(t, err, ErrRefused)
}
