//go:build unix

package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/stage"
)

// The original is an object, and so is what becomes of it.
func TestWorkerOnS3(t *testing.T) {
	redis, postgres := redistest.Server(t), pgtest.Server(t)
	server := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(server.Close)
	c := s3Config{endpoint: server.URL, region: "eu-central-1", keyID: "AKIDTEST", secret: "hunter2"}
	client, err := c.client(t.Context())
	require.NoError(t, err)
	_, err = client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("photos")})
	require.NoError(t, err)
	photo, err := os.Open(filepath.Join(rooms(t), "rooms", "1.jpg"))
	require.NoError(t, err)
	defer photo.Close()
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("photos"), Key: aws.String("rooms/1.jpg"), Body: photo})
	require.NoError(t, err)

	h := newHost(t, redis.Addr(), postgres.URL())
	w := launch(t, map[string]string{
		"REDIS_URL": "redis://" + redis.Addr(), "DATABASE_URL": postgres.URL(), "HTTP_ADDR": "127.0.0.1:0",
		"SOURCE": "s3", "SINK": "s3", "S3_BUCKET": "photos", "S3_PREFIX": "staged", "S3_ENDPOINT": server.URL,
		"S3_REGION": "eu-central-1", "S3_ACCESS_KEY_ID": "AKIDTEST", "S3_SECRET_ACCESS_KEY": "hunter2",
	})
	job := h.orderOf(t, "s3://photos/rooms/1.jpg", "modern")
	h.await(t, job, worker.StateSucceeded)
	var result stage.Result
	require.NoError(t, json.Unmarshal(h.status(t, job).Result, &result))
	require.Regexp(t, `^s3://photos/staged/`+job+`/[0-9a-f]{64}\.jpg$`, result.StagedURL)
	staged, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{
		Bucket: aws.String("photos"), Key: aws.String(result.StagedURL[len("s3://photos/"):]),
	})
	require.NoError(t, err)
	assert.EqualValues(t, result.Bytes, *staged.ContentLength)
	assert.Equal(t, "image/jpeg", *staged.ContentType)
	assert.Zero(t, w.terminate(t), w.said())
	assert.NotContains(t, w.said(), "hunter2")
}
