package main

import (
	"cmp"
	"crypto/rand"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

// bundled are pictures of empty rooms, named for the type of room that they suit.
//
//go:embed rooms/*.jpg
var bundled embed.FS

// sample is a bundled picture that people can choose instead of uploading one.
type sample struct {
	Name     string // of its file, without the extension
	Label    string // for people
	File     string // below the directory of pictures
	RoomType string // that it suits
}

// unpackSamples writes the bundled pictures below root, where they are missing, and returns them in the order of the types
// of room.
func unpackSamples(root *os.Root) ([]sample, error) {
	files, err := fs.Glob(bundled, "rooms/*.jpg")
	if err != nil {
		return nil, err
	}
	samples := make([]sample, len(files))
	for i, file := range files {
		samples[i] = describe(path.Base(file))
		data, err := bundled.ReadFile(file)
		if err == nil {
			err = unpack(root, samples[i].File, data)
		}
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", file, err)
		}
	}
	slices.SortStableFunc(samples, func(a, b sample) int { return cmp.Compare(roomRank(a), roomRank(b)) })
	return samples, nil
}

// unpack lets others find the whole file or none.
func unpack(root *os.Root, name string, data []byte) error {
	if there, err := root.Stat(name); err == nil && there.Size() == int64(len(data)) {
		return nil
	}
	temp := name + "-" + rand.Text()[:8]
	err := root.WriteFile(temp, data, 0o644)
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		_ = root.Remove(temp) // what went wrong is worth telling more than this
	}
	return err
}

// describe reads a file's name: living_room.jpg, say, or bedroom-2.jpg.
func describe(file string) sample {
	name := strings.TrimSuffix(file, ".jpg")
	words := strings.NewReplacer("-", " ", "_", " ").Replace(name)
	s := sample{Name: name, Label: strings.ToUpper(words[:1]) + words[1:], File: "samples/" + file}
	s.RoomType = localmodel.RoomTypes()[0].Name
	first, _, _ := strings.Cut(words, " ")
	for _, room := range localmodel.RoomTypes() {
		if strings.HasPrefix(room.Name, first) {
			s.RoomType = room.Name
			break
		}
	}
	return s
}

func roomRank(s sample) int {
	return slices.IndexFunc(localmodel.RoomTypes(), func(o localmodel.Option) bool { return o.Name == s.RoomType })
}
