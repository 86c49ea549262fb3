package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/real-staging-ai/go-worker/stage"
)

// work runs a pool and nothing else until ctx ends.
func work(ctx context.Context, s settings, log *slog.Logger, stdout io.Writer) (err error) {
	archive, err := openArchive(ctx, s.data, s.databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, archive.close()) }()
	studio, err := openStudio(s.redisURL, archive.temporary, archive.statuses, newTape(stdout, ""), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, studio.close()) }()
	if err := studio.workOn(ctx, archive, s.pace); err != nil {
		return err
	}
	introduce(stdout, s, archive)
	say(stdout, "waiting for pictures\nCtrl-C stops.\n\n")
	<-ctx.Done()
	return nil
}

// workOn starts a pool that stages the archive's pictures.
func (s *studio) workOn(ctx context.Context, a *archive, pace time.Duration) error {
	model, err := newDecorator(encodeJPEG, pace)
	if err != nil {
		return err
	}
	return s.work(ctx, ports{
		source: stage.Files{Root: a.dir},
		model:  model,
		sink:   stage.Files{Root: filepath.Join(a.dir, "staged"), BaseURL: "/images/staged"},
	})
}
