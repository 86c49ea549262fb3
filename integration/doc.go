// Package integration tests the library on real servers: worker processes that are killed, paused and stopped, Redis
// that goes away, comes back, runs full, is spread over a cluster or fails over.
//
// Every server and every worker process is started by a test and ended by its process id with that test. Without a
// redis-server the tests are skipped, or fail when WORKER_REQUIRE_SERVERS is 1.
//
// The worker processes are this test binary again (process_test.go). Each writes what it does to a history file, which
// outlives it (history_test.go); what became of the jobs is judged from all histories and from what is left in Redis
// (checker_test.go).
package integration
