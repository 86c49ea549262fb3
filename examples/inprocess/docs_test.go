package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// quoted is a comment that names a file of the project, and the code below it.
var quoted = regexp.MustCompile("(?s)<!-- from (\\S+) -->\n```go\n(.*?)```\n")

// What docs/backends.md quotes is what the files say, and it quotes the whole of images.go.
func TestQuotesInDocs(t *testing.T) {
	root := filepath.Join("..", "..")
	page := read(t, filepath.Join(root, "docs", "backends.md"))
	quotes := map[string]string{}
	for _, m := range quoted.FindAllStringSubmatch(page, -1) {
		path, code := m[1], m[2]
		quotes[path] += code
		assert.True(t, strings.Contains(read(t, filepath.Join(root, path)), code), "the code quoted from %s is not there", path)
	}
	assert.Equal(t, read(t, "images.go"), quotes["examples/inprocess/images.go"])
	assert.Contains(t, quotes["examples/inprocess/orders.go"], "client.Push")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}
