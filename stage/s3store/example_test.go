package s3store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/stage/s3store"
)

// newClient makes a client as a host would, here of a server in this process. On Amazon the options come from the
// module config: s3.NewFromConfig(cfg).
func newClient(ctx context.Context) (client *s3.Client, stop func(), err error) {
	server := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	client = s3.New(s3.Options{
		Region:       "eu-central-1",
		BaseEndpoint: aws.String(server.URL),
		UsePathStyle: true,
		HTTPClient:   server.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, nil
		}),
	})
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("photos")})
	return client, server.Close, err
}

// A Store is the Source and the Sink of a stage.Handler. Here its methods are called as the handler does.
func ExampleStore() {
	ctx := context.Background()
	client, stop, err := newClient(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	store, err := s3store.New(s3store.Config{
		Client:       client,
		Bucket:       "photos",
		Prefix:       "staged",
		CacheControl: s3store.Immutable,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	url, err := store.Put(ctx, stage.Staged{
		JobID: "job-7",
		Image: stage.Image{Data: []byte("picture"), MediaType: "image/jpeg"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(url[:35] + "….jpg")

	original, err := store.Open(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer original.Body.Close()
	data, err := io.ReadAll(original.Body)
	fmt.Println(string(data), original.Size, err)

	// A page that shows the picture links to it for as long as the page is open.
	link, err := store.Presign(ctx, url, time.Hour)
	fmt.Println(strings.Contains(link, "X-Amz-Expires=3600"), err)

	_, err = store.Open(ctx, "https://169.254.169.254/latest/meta-data")
	fmt.Println(errors.Is(err, stage.ErrRefused))
	// Output:
	// s3://photos/staged/job-7/2cea274d0b….jpg
	// picture 7 <nil>
	// true <nil>
	// true
}

// Jobs that name their tenant in a header are held to that tenant's keys, in both directions.
func ExampleConfig_keys() {
	ctx := context.Background()
	client, stop, err := newClient(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	store, err := s3store.New(s3store.Config{
		Client: client,
		Bucket: "photos",
		Keys: stage.Keys{
			JobPrefix: func(_ context.Context, job *worker.Job) (string, error) {
				return "tenants/" + job.Headers["tenant"], nil
			},
			Check: func(_ context.Context, job *worker.Job, key string) error {
				if !strings.HasPrefix(key, "tenants/"+job.Headers["tenant"]+"/") {
					return errors.New("another tenant's")
				}
				return nil
			},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	job := &worker.Job{ID: "job-7", Headers: map[string]string{"tenant": "acme"}}
	_, err = store.Open(worker.ContextWithJob(ctx, job), "s3://photos/tenants/other/1.jpg")
	fmt.Println(err)
	// Output: another tenant's: refused
}
