//go:build unix

package browsertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var build struct {
	once   sync.Once
	dir    string
	binary string
	err    error
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if build.dir != "" {
			_ = os.RemoveAll(build.dir)
		}
		os.Exit(code)
	}))
}

// program returns the built program, which all tests share.
func program(t *testing.T) string {
	t.Helper()
	build.once.Do(func() {
		if build.dir, build.err = os.MkdirTemp("", "browsertest-"); build.err != nil {
			return
		}
		build.binary = filepath.Join(build.dir, "staging")
		out, err := exec.Command("go", "build", "-o", build.binary, "..").CombinedOutput()
		if err != nil {
			build.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	require.NoError(t, build.err)
	return build.binary
}
