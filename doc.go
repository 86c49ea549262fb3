// Package worker runs background jobs inside any Go program. Jobs wait in a queue (package redisqueue keeps them in
// Redis Lists), run in your process with typed payloads, write their status to your own database, tell your users, and
// leave traces and metrics. A job that was accepted is never lost, and never left hanging.
//
// # Jobs and handlers
//
// A [Payload] is a struct with a JobType method. [Handle] connects its type with a function in a [Registry]; the
// function's error decides what becomes of the job: nil is success, anything else is another attempt by the
// [RetryPolicy] until there is none left, and [Permanent], [RetryAfter], [Snooze] and [Cancel] say more. While it runs,
// a handler may call [Job.Progress], [Job.SetResult] and [Job.Checkpoint].
//
// # Producers
//
// A [Client] enqueues, cancels and reopens jobs. Enqueueing is idempotent by id, so a producer that does not know
// whether a call went through makes it again.
//
// # Workers
//
// A [Pool] claims jobs, runs their handlers on Config.Concurrency slots, records what became of them and settles the
// claims. [Pool.Run] does all of it until its context ends. A worker holds what it claimed by a lease: when its process
// dies, others take its jobs over; when it was only cut off, the larger fencing token of the later claim makes whatever
// it still writes ineffective.
//
// [Periodic] jobs are enqueued by pools, at each tick of a [Schedule]: any number of replicas may have the same.
//
// # Parts to plug in
//
// [Queue], [StatusStore] and [Notifier] are small interfaces. Only the queue is required. Package workertest has the
// conformance suites that check implementations of one's own, backends in memory for tests, and helpers that run a
// handler, a queue or a crash on them.
//
// # States
//
//	scheduled | queued → running → succeeded | retrying | failed | canceled
//
// Every status goes to the StatusStore before it has any effect in the queue, and only then to the Notifier; so a user
// never reads "failed" and then "succeeded", and a crash between two steps is mended by whoever claims the job next.
package worker
