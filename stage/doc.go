// Package stage is the job this library was made for: a photo of a room goes in, a virtually staged picture comes out.
//
// A Handler runs the jobs of type "stage:run", whose data is a Payload, in three steps, each through a port that the
// host provides: a Source opens the original, a Model stages it, a Sink puts the staged picture away. What came out is
// the job's Result.
//
//	handler, err := stage.NewHandler(stage.Config{Source: …, Model: …, Sink: …})
//	handler.Register(registry, worker.MaxAttempts(3))
//
// Which room types and styles there are is the host's to say, and how they become a prompt; see Config. Memory is bounded:
// bytes by Config.MaxBytes for each job, decoded pixels by Config.PixelBudget for all of them together.
//
// Files is a Source and a Sink on local directories, package s3store one on a bucket. HTTPSource opens originals over HTTP
// and lets strangers choose their URLs. Models that want pixels call Decode, which turns photos upright. A job whose payload
// or photo is at fault fails for good; whatever else goes wrong runs again.
package stage
