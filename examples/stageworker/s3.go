package main

import (
	"context"
	"errors"
	"fmt"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/real-staging-ai/go-worker/stage/s3store"
)

// s3Config is for pictures in a bucket. Without a key the SDK finds credentials by itself: a role of the machine, a profile.
type s3Config struct {
	endpoint, region string
	keyID, secret    string
	store            s3store.Config // without its client
}

func readS3(e *env) s3Config {
	c := s3Config{
		endpoint: e.address("S3_ENDPOINT", "https://minio.example.com:9000"),
		region:   e.text("S3_REGION", ""),
		keyID:    e.text("S3_ACCESS_KEY_ID", ""),
		secret:   e.text("S3_SECRET_ACCESS_KEY", ""),
		store: s3store.Config{
			Bucket:  e.required("S3_BUCKET", "the bucket that pictures are in"),
			Prefix:  e.text("S3_PREFIX", ""),
			BaseURL: e.text("S3_BASE_URL", ""),
		},
	}
	if (c.keyID == "") != (c.secret == "") {
		e.add("S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY: one is set, and the other is not")
	}
	if c.store.Bucket == "" {
		return c // that has been told
	}
	judged := c.store
	judged.Client = s3.New(s3.Options{Region: "us-east-1"})
	if _, err := s3store.New(judged); err != nil {
		e.add("S3_…: %w", err)
	}
	return c
}

// open asks no server, but perhaps the machine's own for credentials.
func (c s3Config) open(ctx context.Context) (*s3store.Store, error) {
	client, err := c.client(ctx)
	if err != nil {
		return nil, err
	}
	store := c.store
	store.Client = client
	return s3store.New(store)
}

func (c s3Config) client(ctx context.Context) (*s3.Client, error) {
	var options []func(*awsconfig.LoadOptions) error
	if c.region != "" {
		options = append(options, awsconfig.WithRegion(c.region))
	}
	if c.keyID != "" {
		options = append(options, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.keyID, c.secret, "")))
	}
	loaded, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("configure S3: %w", err)
	}
	if loaded.Region == "" {
		return nil, errors.New("S3_REGION is missing: the bucket's region, or any word for a server that has none")
	}
	return s3.NewFromConfig(loaded, func(o *s3.Options) {
		if c.endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = &c.endpoint, true // as most servers that aren't Amazon's like it
		}
	}), nil
}
