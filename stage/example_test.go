package stage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// photo is a small picture for the examples.
func photo(c color.Color) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 4, 3))
	img.Set(0, 0, c)
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// tint is a Model of one's own: it needs nothing but its one method.
type tint struct{}

func (tint) Stage(_ context.Context, req stage.Request) (stage.Picture, error) {
	if req.Style == "industrial" {
		// Trying again will not help.
		return stage.Picture{}, worker.Permanent(errors.New("there are no curtains in industrial style"))
	}
	req.Progress(0.5, "hanging curtains")
	return stage.Picture{Data: photo(color.White), Model: "tint/1"}, nil
}

// A worker of one's own takes three ports and a registry, which goes into worker.Config. Here the job is run as a pool
// would run it.
func ExampleHandler() {
	handler, err := stage.NewHandler(stage.Config{
		Source: stage.SourceFunc(func(_ context.Context, url string) (stage.Original, error) {
			return stage.Original{Body: io.NopCloser(bytes.NewReader(photo(color.Black)))}, nil
		}),
		Model: tint{},
		Sink: stage.SinkFunc(func(_ context.Context, staged stage.Staged) (string, error) {
			return "https://cdn.example.com/" + staged.JobID + ".png", nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := worker.NewRegistry()
	handler.Register(registry, worker.MaxAttempts(3))

	payload := stage.Payload{
		ImageID:     uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11"),
		OriginalURL: "https://example.com/rooms/7.png",
		RoomType:    "bedroom",
		Style:       "scandinavian",
	}
	job, err := worker.NewJob(payload, worker.WithID("job-7"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := handler.Handle(context.Background(), job, payload); err != nil {
		fmt.Println(err)
		return
	}
	var result stage.Result
	if err := json.Unmarshal(job.Result(), &result); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.StagedURL, result.MediaType, result.Width, "x", result.Height, result.Model)

	for _, payload.Style = range []string{"industrial", "unheard of"} {
		err := handler.Handle(context.Background(), job, payload)
		fmt.Println(err, worker.IsPermanent(err))
	}
	// Output:
	// https://cdn.example.com/job-7.png image/png 4 x 3 tint/1
	// stage: there are no curtains in industrial style true
	// payload: style "unheard of" is unknown: accepted are modern, contemporary, traditional, industrial, scandinavian true
}

func ExampleNewHandler() {
	_, err := stage.NewHandler(stage.Config{Source: stage.Files{}, Model: tint{}, MaxBytes: -1})
	fmt.Println(err)
	// Output:
	// stage handler: Source: Root is empty
	// Sink is nil
	// MaxBytes is -1: it must not be negative
}

// A host may have room types of its own, and words of its own for the model.
func ExampleConfig_promptTemplate() {
	handler, err := stage.NewHandler(stage.Config{
		Source: stage.SourceFunc(func(_ context.Context, url string) (stage.Original, error) {
			return stage.Original{Body: io.NopCloser(bytes.NewReader(photo(color.Black)))}, nil
		}),
		Model: stage.ModelFunc(func(_ context.Context, req stage.Request) (stage.Picture, error) {
			fmt.Println(req.Prompt)
			return stage.Picture{Data: photo(color.White)}, nil
		}),
		Sink: stage.SinkFunc(func(_ context.Context, staged stage.Staged) (string, error) {
			return "https://cdn.example.com/" + staged.JobID + ".png", nil
		}),
		RoomTypes:      append(stage.DefaultRoomTypes(), "home_cinema"),
		Styles:         []string{stage.Any},
		PromptTemplate: `A {{or .Style "plain"}} {{words .RoomType}}, photographed{{with .Prompt}}, {{.}}{{end}}`,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, payload := range []stage.Payload{
		{RoomType: "home_cinema", Style: "futuristic", Prompt: "popcorn on a small table"},
		{RoomType: "office"},
		{RoomType: "garage"},
	} {
		payload.ImageID, payload.OriginalURL = uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11"), "rooms/7.png"
		if err := handler.Handle(context.Background(), &worker.Job{ID: "job-7"}, payload); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// A futuristic home cinema, photographed, popcorn on a small table
	// A plain office, photographed
	// payload: room_type "garage" is unknown: accepted are living_room, bedroom, kitchen, bathroom, dining_room, office, home_cinema
}

func ExampleFiles() {
	root, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(root)
	if err := os.WriteFile(filepath.Join(root, "7.png"), photo(color.Black), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	files := stage.Files{Root: root, BaseURL: "https://cdn.example.com/"}

	original, err := files.Open(ctx, "7.png")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer original.Body.Close()
	_, err = files.Open(ctx, "../7.png")
	fmt.Println(err, errors.Is(err, stage.ErrRefused))

	url, err := files.Put(ctx, stage.Staged{
		JobID:   "job-7",
		ImageID: uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11"),
		Image:   stage.Image{Data: photo(color.White), MediaType: "image/png"},
	})
	fmt.Println(strings.HasPrefix(url, "https://cdn.example.com/0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11/job-7-"), err)
	// Output:
	// refused: it is not a path below the root true
	// true <nil>
}

// Users may choose the URLs of originals: the configuration says whom the worker asks, and the source keeps to it.
func ExampleNewHTTPSource() {
	_, err := stage.NewHTTPSource(stage.HTTPConfig{})
	fmt.Println(err)

	source, err := stage.NewHTTPSource(stage.HTTPConfig{
		AllowedHosts: []string{"photos.example.com", "*.uploads.example.com"}, // or AllowPublic: true
		MaxBytes:     10 << 20,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, url := range []string{
		"http://photos.example.com/7.jpg?signature=5ec2e7",
		"https://photos.example.com.evil.example/7.jpg?signature=5ec2e7",
		"https://photos.example.com@169.254.169.254/latest/meta-data/",
	} {
		_, err := source.Open(context.Background(), url)
		fmt.Println(err, worker.IsPermanent(err))
	}
	// Output:
	// HTTP source: AllowedHosts is empty and AllowPublic is not set: no URL could be opened
	// photos.example.com: refused by rule scheme: only https is allowed true
	// photos.example.com.evil.example: refused by rule host: it is none of the allowed hosts true
	// 169.254.169.254: refused by rule credentials: the URL has a user name or a password true
}

// A model that wants pixels decodes the original with the package's Decode: photos are often stored lying on their side.
func ExampleDecode() {
	model := stage.ModelFunc(func(_ context.Context, req stage.Request) (stage.Picture, error) {
		room, err := stage.Decode(req.Original)
		if err != nil {
			return stage.Picture{}, err
		}
		fmt.Println(room.Bounds().Dx(), "x", room.Bounds().Dy())
		return stage.Picture{Data: photo(color.White)}, nil
	})
	original := stage.Image{Data: photo(color.Black), MediaType: "image/png", Width: 4, Height: 3, Orientation: 6}
	if _, err := model.Stage(context.Background(), stage.Request{Original: original}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 3 x 4
}

func ExamplePayload() {
	payload := stage.Payload{OriginalURL: "https://example.com/rooms/7.png", Style: strings.Repeat("s", 200)}
	fmt.Println(payload.Validate())
	// Output:
	// image_id is missing or zero
	// style has 200 bytes: the limit is 128
}
