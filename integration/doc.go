// Package integration tests the library on real servers: worker processes that are killed, paused and stopped, Redis
// that goes away, comes back, runs full, is spread over a cluster or fails over.
//
// Every server and every worker process is started by a test and ended by its process id with that test. Without a
// redis-server the tests are skipped, or fail when WORKER_REQUIRE_SERVERS is 1.
//
// The worker processes are this test binary again (process_test.go). Each writes what it does to a history file, which
// outlives it (history_test.go). From all histories, what is left in Redis and the rows of the status store, package
// history judges what became of the jobs (checker_test.go).
//
// Fault tests have two sizes (figures_test.go): the quick one runs with all tests, the full one by `make soak`, which prints
// the figures of all runs as one table. Tests that take long because they wait run beside each other, after all others.
package integration
