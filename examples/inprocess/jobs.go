package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

const imageJob = "image:stage"

// stageImage is the job of one image: its id is the image's.
type stageImage struct {
	SourceURL string `json:"source_url"`
	Notify    string `json:"notify,omitempty"` // who gets a mail when it is done; empty: nobody
}

// JobType implements worker.Payload.
func (stageImage) JobType() string { return imageJob }

// Validate is asked before the job is made, and again before it runs.
func (p stageImage) Validate() error {
	u, err := url.Parse(p.SourceURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("source_url is %q: it must be a http or https URL", p.SourceURL)
	}
	return nil
}

// stagedImage is the result of a stageImage job.
type stagedImage struct {
	URL string `json:"staged_url"`
}

// sendMail is a job that has no row in the table of images.
type sendMail struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

// JobType implements worker.Payload.
func (sendMail) JobType() string { return "mail:send" }

// model stages a picture and returns where the new one is.
type model func(ctx context.Context, job *worker.Job, sourceURL string) (stagedURL string, err error)

// mailer sends one mail.
type mailer func(ctx context.Context, to, text string) error

// handlers are the jobs that run in this process.
func handlers(stage model, mail mailer, client *worker.Client) *worker.Registry {
	registry := worker.NewRegistry()
	worker.Handle(registry, func(ctx context.Context, job *worker.Job, p stageImage) error {
		staged, err := stage(ctx, job, p.SourceURL)
		if err != nil {
			return err
		}
		if p.Notify != "" {
			text := "Your picture is ready: " + staged
			// The id is of our choice, so that another attempt does not enqueue another mail while the first one waits.
			if _, err := client.Enqueue(ctx, sendMail{To: p.Notify, Text: text}, worker.WithID("mail:"+job.ID)); err != nil {
				return err
			}
		}
		return job.SetResult(stagedImage{URL: staged})
	}, worker.WithRetry(worker.RetryPolicy{MaxAttempts: 3, Base: time.Second}))
	worker.Handle(registry, func(ctx context.Context, _ *worker.Job, p sendMail) error {
		return mail(ctx, p.To, p.Text)
	})
	return registry
}

// pretend stands in for a model: it takes a second, and cannot read pictures whose URL says that they are broken.
func pretend(ctx context.Context, job *worker.Job, sourceURL string) (string, error) {
	for i := range 10 {
		job.Progress(float64(i)/10, "staging")
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if strings.Contains(sourceURL, "broken") {
		return "", worker.Permanent(errors.New("the picture cannot be read"))
	}
	return "https://staged.example/" + job.ID + ".jpg", nil
}
