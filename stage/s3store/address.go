package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/real-staging-ai/go-worker/stage"
)

// address.go: which URLs lead to the bucket, and to which key in it.

// object is what a URL names. The version is empty for the latest.
type object struct{ key, version string }

// place is an address of the bucket: the URLs below it name its objects.
type place struct {
	scheme, host string // host in small letters, without the scheme's own port
	path         string // without a slash at its end
}

// placesOf lists the bucket's addresses: s3://bucket, those of the client's endpoint, and BaseURL.
func placesOf(cfg Config) ([]place, error) {
	places := []place{{scheme: "s3", host: strings.ToLower(cfg.Bucket)}}
	for _, pathStyle := range []bool{true, false} {
		u, err := endpoint(cfg, pathStyle)
		if err != nil {
			return nil, fmt.Errorf("Client: its endpoint: %w", err)
		}
		places = append(places, placeOf(&u))
	}
	if cfg.BaseURL != "" {
		u, err := url.Parse(cfg.BaseURL)
		if err != nil {
			return nil, errors.New("BaseURL: not a URL")
		}
		places = append(places, placeOf(u))
	}
	return slices.Compact(places), nil
}

// endpoint asks the client's own rules for the bucket's address.
func endpoint(cfg Config, pathStyle bool) (url.URL, error) {
	o := cfg.Client.Options()
	resolved, err := o.EndpointResolverV2.ResolveEndpoint(context.Background(), s3.EndpointParameters{
		Bucket:         &cfg.Bucket,
		Region:         &o.Region,
		Endpoint:       o.BaseEndpoint,
		ForcePathStyle: &pathStyle,
		Accelerate:     aws.Bool(o.UseAccelerate && !pathStyle),
		UseDualStack:   aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:        aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
	})
	return resolved.URI, err
}

func placeOf(u *url.URL) place {
	return place{scheme: strings.ToLower(u.Scheme), host: hostOf(u), path: strings.TrimSuffix(u.Path, "/")}
}

// hostOf is the host and port of a URL, in one spelling.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Port() == "443" && u.Scheme == "https" || u.Port() == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+u.Port())
	}
	return host
}

// locate finds what a URL names. Errors wrap stage.ErrRefused and don't repeat the URL, which may hold a secret.
func (s *Store) locate(raw string) (object, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return object{}, refused("not a URL")
	case u.User != nil:
		return object{}, refused("a URL with credentials")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return object{}, refused("a URL with a fragment: in a key, write # as %23")
	}
	key, ok := s.keyOf(u)
	if !ok {
		return object{}, refused("neither s3://" + s.cfg.Bucket + "/… nor a URL of that bucket's server")
	}
	if err := stage.ValidateKey(key); err != nil {
		return object{}, err
	}
	version, err := versionOf(u.RawQuery)
	return object{key: key, version: version}, err
}

func refused(reason string) error { return fmt.Errorf("%w: %s", stage.ErrRefused, reason) }

func (s *Store) keyOf(u *url.URL) (string, bool) {
	host := hostOf(u)
	for _, p := range s.places {
		if p.scheme != u.Scheme || p.host != host {
			continue
		}
		if key, ok := strings.CutPrefix(u.Path, p.path+"/"); ok {
			return key, true
		}
	}
	return "", false
}

// versionOf reads a URL's query, in which only a signature and what it covers may stand beside the version.
func versionOf(query string) (string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", refused("a query that cannot be read: in a key, write ? as %3F")
	}
	for name := range values {
		if name != "versionId" && !ofSignature(name) {
			return "", refused("a query with more than a signature and versionId")
		}
	}
	if len(values["versionId"]) > 1 {
		return "", refused("a query with several versions")
	}
	return values.Get("versionId"), nil
}

// ofSignature reports whether a parameter belongs to a presigned URL: of version 4 or 2, or one that it can cover and
// that changes nothing but headers.
func ofSignature(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "x-id", "awsaccesskeyid", "signature", "expires":
		return true
	}
	return strings.HasPrefix(name, "x-amz-") || strings.HasPrefix(name, "response-")
}

// isBucketName is wider than S3's rule, since old buckets and other servers are.
func isBucketName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return len(name) >= 3 && len(name) <= 63 && strings.Trim(name, letters) == ""
}

func isBaseURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil &&
		u.RawQuery == "" && !strings.ContainsAny(raw, "#?")
}
