// Package workertest checks backends and helps to test hosts.
//
// TestQueue, TestStatusStore and TestNotifier are the contracts of worker's ports as tables of promises: run them on a
// backend of your own, and what fails prints the promise that it broke.
//
//	func TestConformance(t *testing.T) {
//		workertest.TestQueue(t, func(t *testing.T) worker.Queue { return myqueue.New(…) })
//	}
//
// MemoryQueue, MemoryStatusStore and Recorder keep those promises in the memory of one process: they are for tests and
// demonstrations, not for production, as a restart forgets everything. They start no goroutine that outlives a
// call, a Subscribe's context apart, though timers of a session that is open, and take their time from package time, so that they work in a testing/synctest
// bubble.
//
// Run runs one handler once, without a queue and a pool.
package workertest
