// Package workertest checks backends and helps to test hosts.
//
// # Tests of a host
//
// Run runs one job on a payload as a worker would, and RunThroughCrash lets the worker die first, after the work was done.
// RequireEnqueued and Enqueued tell what a program put into a MemoryQueue; Drain runs what is there. Time is fake in a
// testing/synctest bubble; where a test can't run in one, a Clock moves the queue's. Under the race detector tests in
// bubbles need go test -cpu 1 for now, as threads in parallel can crash it: https://go.dev/issue/78156.
//
//	func TestSignUp(t *testing.T) {
//		queue := workertest.NewQueue()
//		signUp(newClient(queue), "ada@example.com")
//		workertest.RequireEnqueued(t, queue, Welcome{"ada@example.com"}, worker.OnQueue("mail"))
//	}
//
// # Tests of a backend
//
// TestQueue, TestStatusStore and TestNotifier are the contracts of worker's ports as tables of promises: run them on a
// backend of your own, and what fails prints the promise that it broke.
//
//	func TestConformance(t *testing.T) {
//		workertest.TestQueue(t, func(t *testing.T) worker.Queue { return myqueue.New(…) })
//	}
//
// # Backends in memory
//
// MemoryQueue, MemoryStatusStore and Recorder keep those promises in the memory of one process: they are for tests and
// demonstrations, not for production, as a restart forgets everything. They start no goroutine that outlives a
// call, a Subscribe's context apart, though timers of a session that is open, and take their time from package time, a
// queue with a Clock apart, so that they work in a testing/synctest bubble.
package workertest
