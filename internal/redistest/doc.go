// Package redistest starts real Redis servers for tests: one process each, on a free port, in a directory of its own,
// ended with the test.
package redistest
