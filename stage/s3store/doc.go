// Package s3store keeps the pictures of package stage in a bucket: Amazon S3, or any server that speaks its protocol.
// It is a module of its own, so that hosts which don't use it don't have the client's code.
//
//	client := s3.NewFromConfig(cfg) // of github.com/aws/aws-sdk-go-v2/service/s3: credentials, endpoint, retries
//	store, err := s3store.New(s3store.Config{Client: client, Bucket: "photos", Prefix: "staged"})
//	handler, err := stage.NewHandler(stage.Config{Source: store, Model: …, Sink: store})
//
// # What is read
//
// A Store opens s3://bucket/key and the https URLs that lead to its bucket: those of the client's endpoint, in both
// styles, and those below Config.BaseURL. Whatever else a payload names is refused, so no server but the client's is
// ever asked. Config.Keys can hold each job to its tenant's keys.
//
// # What is written
//
// A picture's key is <prefix>/<job id>/<SHA-256 of its bytes>.<type>, and nothing that was put is ever replaced by
// something else: the bytes behind a URL stay the same, and caches may keep them for ever.
//
// # Which URL a job's result keeps
//
// Results are stored, and read again after months; a presigned URL works for seven days at most. So by default Put
// returns s3://bucket/key, and the host makes a fresh link with Store.Presign whenever it shows one. With Config.BaseURL
// it returns the lasting address at a public bucket or a CDN. Config.PresignFor is for hosts whose users fetch their
// picture soon, and never again.
//
// # Errors
//
// Of the errors that an attempt can meet, these end the job: no such object (stage.ErrNotFound), a URL or key that is
// refused and an access that the server denies (stage.ErrRefused). Others are the server's or the worker's trouble and
// let the job run again: throttling, 5xx, the network, a body cut short, a bucket that isn't there, and credentials
// that are unknown, expired or signed by a clock that is wrong. The client tries a few times itself before an error
// gets so far, as its options say.
//
// The jobs need s3:GetObject for what they read and s3:PutObject for what they write. Without s3:ListBucket, S3 says
// that access is denied where an object doesn't exist; both end the job.
package s3store
