package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// archive is what outlives a process: orders and statuses in a database, and pictures as files below a directory.
//
//	samples/…    the bundled ones
//	originals/…  uploads
//	staged/…     what the model made of them
type archive struct {
	*database
	dir       string
	root      *os.Root // of dir
	temporary bool     // it is removed by close
}

// openArchive opens the archive in dir, and makes what it lacks. An empty dir means a temporary one.
func openArchive(ctx context.Context, dir, databaseURL string) (*archive, error) {
	a := &archive{temporary: dir == ""}
	if err := a.openDir(dir); err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, databaseURL, a.dir, a.temporary)
	if err != nil {
		return nil, errors.Join(err, a.closeDir())
	}
	a.database = db
	return a, nil
}

func (a *archive) openDir(dir string) error {
	if a.temporary {
		temp, err := os.MkdirTemp("", "staging-")
		if err != nil {
			return err
		}
		dir = temp
	}
	for _, folder := range []string{"samples", "originals", "staged"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return fmt.Errorf("-data: %w", err)
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	a.dir, a.root = dir, root
	return err
}

func (a *archive) close() error { return errors.Join(a.database.close(), a.closeDir()) }

func (a *archive) closeDir() error {
	err := a.root.Close()
	if a.temporary {
		err = errors.Join(err, os.RemoveAll(a.dir))
	}
	return err
}
