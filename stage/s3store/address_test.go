package s3store

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// on is a Store that asks no server.
func on(t *testing.T, o s3.Options, edit func(*Config)) *Store {
	t.Helper()
	if o.Region == "" {
		o.Region = "eu-central-1"
	}
	cfg := Config{Client: s3.New(o), Bucket: bucket}
	if edit != nil {
		edit(&cfg)
	}
	store, err := New(cfg)
	require.NoError(t, err)
	return store
}

func TestWhichURLsLeadToTheBucket(t *testing.T) {
	amazon := s3.Options{}
	own := s3.Options{BaseEndpoint: aws.String("https://s3.example.com:9000/gateway")}
	local := s3.Options{BaseEndpoint: aws.String("http://127.0.0.1:80"), UsePathStyle: true}
	for _, row := range []struct {
		name, url string
		options   s3.Options
		want      object
	}{
		{"s3", "s3://photos/rooms/1.jpg", amazon, object{key: "rooms/1.jpg"}},
		{"escaped", "s3://photos/my%20room%20%233%3F/50%25.jpg", amazon, object{key: "my room #3?/50%.jpg"}},
		{"a plus is a plus", "s3://photos/a+b.jpg", amazon, object{key: "a+b.jpg"}},
		{"a version", "s3://photos/1.jpg?versionId=x.y", amazon, object{"1.jpg", "x.y"}},
		{"Amazon, virtual host", "https://photos.s3.eu-central-1.amazonaws.com/rooms/1.jpg", amazon, object{key: "rooms/1.jpg"}},
		{"Amazon, path", "https://s3.eu-central-1.amazonaws.com/photos/rooms/1.jpg", amazon, object{key: "rooms/1.jpg"}},
		{"capitals, and the scheme's port", "HTTPS://Photos.S3.EU-central-1.amazonaws.com:443/A.jpg", amazon, object{key: "A.jpg"}},
		{"presigned", "https://photos.s3.eu-central-1.amazonaws.com/1.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256" +
			"&X-Amz-Credential=a%2Fb&X-Amz-Expires=60&x-id=GetObject&X-Amz-Signature=c&response-content-type=image%2Fjpeg&versionId=v",
			amazon, object{"1.jpg", "v"}},
		{"presigned, version 2", "https://photos.s3.eu-central-1.amazonaws.com/1.jpg?AWSAccessKeyId=a&Signature=b%3D&Expires=1",
			amazon, object{key: "1.jpg"}},
		{"an own endpoint, path", "https://s3.example.com:9000/gateway/photos/1.jpg", own, object{key: "1.jpg"}},
		{"an own endpoint, virtual host", "https://photos.s3.example.com:9000/gateway/1.jpg", own, object{key: "1.jpg"}},
		{"an address", "http://127.0.0.1/photos/1.jpg", local, object{key: "1.jpg"}},
		{"dual stack", "https://photos.s3.dualstack.eu-central-1.amazonaws.com/1.jpg",
			s3.Options{EndpointOptions: s3.EndpointResolverOptions{UseDualStackEndpoint: aws.DualStackEndpointStateEnabled}}, object{key: "1.jpg"}},
		{"accelerated", "https://photos.s3-accelerate.amazonaws.com/1.jpg", s3.Options{UseAccelerate: true}, object{key: "1.jpg"}},
		{"BaseURL", "https://cdn.example.com/p/1.jpg", amazon, object{key: "1.jpg"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := on(t, row.options, func(c *Config) { c.BaseURL = "https://cdn.example.com/p/" })
			got, err := store.locate(row.url)
			require.NoError(t, err)
			assert.Equal(t, row.want, got)
		})
	}
}

// Some old buckets have capitals in their names.
func TestBucketWithCapitals(t *testing.T) {
	store := on(t, s3.Options{UsePathStyle: true}, func(c *Config) { c.Bucket = "Old_Photos" })
	got, err := store.locate("s3://Old_Photos/1.jpg")
	require.NoError(t, err)
	assert.Equal(t, object{key: "1.jpg"}, got)
}

// Whatever leads elsewhere is refused for good, before anybody is asked, and nothing of it is repeated.
func TestOpenRefuses(t *testing.T) {
	store := on(t, s3.Options{}, func(c *Config) { c.BaseURL = "https://cdn.example.com/p/" })
	const host = "https://photos.s3.eu-central-1.amazonaws.com"
	for _, row := range []struct{ name, url string }{
		{"another bucket", "s3://secrets/SECRET.jpg"},
		{"a bucket with the same beginning", "s3://photos-SECRET/1.jpg"},
		{"the bucket itself", "s3://photos"},
		{"the bucket with a slash", "s3://photos/"},
		{"a port", "s3://photos:80/SECRET.jpg"},
		{"another host", "https://example.com/SECRET.jpg"},
		{"another region", "https://photos.s3.us-west-2.amazonaws.com/SECRET.jpg"},
		{"another bucket of the host", "https://secrets.s3.eu-central-1.amazonaws.com/SECRET.jpg"},
		{"another bucket by path", "https://s3.eu-central-1.amazonaws.com/secrets/SECRET.jpg"},
		{"a longer bucket by path", "https://s3.eu-central-1.amazonaws.com/photosSECRET/1.jpg"},
		{"the host as a beginning", host + ".example.com/SECRET.jpg"},
		{"a dot behind the host", "https://photos.s3.eu-central-1.amazonaws.com./SECRET.jpg"},
		{"another port", host + ":8443/SECRET.jpg"},
		{"http", "http://photos.s3.eu-central-1.amazonaws.com/SECRET.jpg"},
		{"beside BaseURL", "https://cdn.example.com/SECRET.jpg"},
		{"a user", "https://photos:SECRET@photos.s3.eu-central-1.amazonaws.com/1.jpg"},
		{"the host as a user", "https://photos.s3.eu-central-1.amazonaws.com@example.com/SECRET.jpg"},
		{"metadata", "http://169.254.169.254/latest/SECRET"},
		{"a file", "file:///etc/SECRET"},
		{"a path", "rooms/SECRET.jpg"},
		{"a path without a host", "//photos/SECRET.jpg"},
		{"an opaque URL", "s3:photos/SECRET.jpg"},
		{"no URL", "s3://photos/%zzSECRET"},
		{"no URL, either", "https://[SECRET/1.jpg"},
		{"a fragment", "s3://photos/1.jpg#SECRET"},
		{"an empty fragment", "s3://photos/SECRET.jpg#"},
		{"dots", "s3://photos/a/../SECRET.jpg"},
		{"escaped dots", host + "/a/%2e%2e/SECRET.jpg"},
		{"dots out of the bucket", "https://s3.eu-central-1.amazonaws.com/photos/../secrets/SECRET.jpg"},
		{"an escaped slash", host + "/..%2fSECRET.jpg"},
		{"an empty part", "s3://photos/a//SECRET.jpg"},
		{"an empty first part", "s3://photos//SECRET.jpg"},
		{"a directory", "s3://photos/SECRET/"},
		{"NUL", "s3://photos/SECRET%00.jpg"},
		{"a line break", "s3://photos/SECRET%0d%0a.jpg"},
		{"no UTF-8", "s3://photos/SECRET%ff.jpg"},
		{"too long", "s3://photos/SECRET" + strings.Repeat("x", 1024)},
		{"a sub-resource", host + "/1.jpg?acl&SECRET"},
		{"a part", host + "/1.jpg?partNumber=1&X-Amz-Signature=SECRET"},
		{"two versions", host + "/1.jpg?versionId=SECRET&versionId=b"},
		{"no query", host + "/1.jpg?X-Amz-Signature=SECRET%zz"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := store.Open(t.Context(), row.url)
			require.ErrorIs(t, err, stage.ErrRefused)
			assert.True(t, worker.IsPermanent(err), err)
			assert.NotContains(t, err.Error(), "SECRET")
		})
	}
}

func FuzzLocate(f *testing.F) {
	for _, url := range []string{"s3://photos/a.jpg", "https://s3.eu-central-1.amazonaws.com/photos/a?versionId=1", "s3://photos/%2e%2e/x", "//x"} {
		f.Add(url)
	}
	store, err := New(Config{Client: s3.New(s3.Options{Region: "eu-central-1"}), Bucket: bucket})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, url string) {
		object, err := store.locate(url)
		if err != nil {
			require.ErrorIs(t, err, stage.ErrRefused)
			return
		}
		require.NoError(t, stage.ValidateKey(object.key))
		again, err := store.locate("s3://photos/" + escaped(object.key))
		require.NoError(t, err)
		require.Equal(t, object.key, again.key)
	})
}
