package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/workertest"
)

// stageOne stages the picture in s.image into s.out, and prints the statuses to w. All that can be wrong with the
// command is found before the first of them.
func stageOne(ctx context.Context, s settings, log *slog.Logger, w io.Writer) error {
	payload, err := s.payload()
	if err != nil {
		return err
	}
	photo, err := readPhoto(s.image)
	if err != nil {
		return fmt.Errorf("%s: %w", s.image, err)
	}
	out, err := createOutput(s.out, s.image)
	if err != nil {
		return fmt.Errorf("%s: %w", s.out, err)
	}
	defer out.discard()
	model, err := newDecorator(out.encoder(), s.pace)
	if err != nil {
		return err
	}
	source := stage.SourceFunc(func(context.Context, string) (stage.Original, error) { return photo.open(), nil })
	studio, err := openStudio(s.redisURL, true, workertest.NewStatusStore(), newTape(w, ""), log)
	if err != nil {
		return err
	}
	err = studio.work(ctx, ports{source: source, model: model, sink: out})
	if err == nil {
		err = studio.stageAndWait(ctx, payload)
	}
	return errors.Join(err, studio.close())
}

// payload makes the job's data of the flags.
func (s settings) payload() (stage.Payload, error) {
	room, err := choose("-room", localmodel.RoomTypes(), s.room)
	if err != nil {
		return stage.Payload{}, err
	}
	style, err := choose("-style", localmodel.Styles(), s.style)
	if err != nil {
		return stage.Payload{}, err
	}
	payload := stage.Payload{ImageID: uuid.New(), OriginalURL: "photo", RoomType: room.Name, Style: style.Name,
		Prompt: s.prompt, Seed: &s.seed}
	return payload, payload.Validate()
}

// stageAndWait returns when the picture is staged; if it cannot be, with the reason.
func (s *studio) stageAndWait(ctx context.Context, payload stage.Payload) error {
	job, err := s.newJob(payload)
	if err != nil {
		return err
	}
	if err := s.client.EnqueueMany(ctx, job); err != nil {
		return err
	}
	last, err := s.end(ctx, job.ID)
	switch {
	case err != nil:
		return fmt.Errorf("interrupted: %w", err)
	case last.State != worker.StateSucceeded:
		return fmt.Errorf("%s: %s", last.State, last.Error)
	}
	return nil
}

// photo is a picture that was read and can be decoded.
type photo []byte

func readPhoto(name string) (photo, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, plainError(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxPhoto+1)) // one byte more tells that there is more
	if err != nil {
		return nil, plainError(err)
	}
	if _, err := checkPhoto(data); err != nil {
		return nil, err
	}
	if _, err := stage.Decode(stage.Image{Data: data}); err != nil {
		return nil, fmt.Errorf("the picture is damaged: %w", err)
	}
	return data, nil
}

func (p photo) open() stage.Original {
	return stage.Original{Body: io.NopCloser(strings.NewReader(string(p))), Size: int64(len(p))}
}

// output is a stage.Sink of one picture: a file that appears whole or not at all.
type output struct {
	path string
	temp *os.File // beside it, until Put has given it its name
}

var _ stage.Sink = (*output)(nil)

// createOutput finds out whether path can be written, without touching it.
func createOutput(path, input string) (*output, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jpg", ".jpeg", ".png":
	default:
		return nil, errors.New("the name must end with .jpg or .png")
	}
	if there, err := os.Stat(path); err == nil {
		if !there.Mode().IsRegular() {
			return nil, errors.New("this is not an ordinary file")
		}
		if original, err := os.Stat(input); err == nil && os.SameFile(there, original) {
			return nil, errors.New("this is the original: write to another file")
		}
	}
	temp := filepath.Join(filepath.Dir(path), ".staging-"+rand.Text()[:12])
	file, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot be written: %w", plainError(err))
	}
	return &output{path: path, temp: file}, nil
}

// encoder makes the kind of picture that the file's name promises.
func (o *output) encoder() encoder {
	if strings.EqualFold(filepath.Ext(o.path), ".png") {
		return png.Encode
	}
	return encodeJPEG
}

// Put implements stage.Sink. Its URL is the path.
func (o *output) Put(_ context.Context, staged stage.Staged) (string, error) {
	err := o.temp.Truncate(0) // an attempt before may have written half of it
	if err == nil {
		_, err = o.temp.WriteAt(staged.Image.Data, 0)
	}
	if err == nil {
		err = o.temp.Sync()
	}
	if err == nil {
		err = os.Rename(o.temp.Name(), o.path)
	}
	if err != nil {
		return "", plainError(err)
	}
	return o.path, nil
}

// discard removes what is not the output. After Put nothing is left to remove.
func (o *output) discard() {
	_ = o.temp.Close() // Put has synced what matters
	_ = os.Remove(o.temp.Name())
}

// plainError drops the operation and path, which the message around it tells better.
func plainError(err error) error {
	if inner := (*fs.PathError)(nil); errors.As(err, &inner) {
		return inner.Err
	}
	return err
}
