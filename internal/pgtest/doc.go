// Package pgtest starts real Postgres servers for tests: one cluster each, on a free port of 127.0.0.1, in a directory
// of its own, ended with the test or, when it is shared, with the test binary. It needs initdb and postgres, as
// Debian's package postgresql brings them, and runs them as an unprivileged user when the tests run as root.
package pgtest
