package sqlstatus

import (
	"errors"
	"fmt"
	"slices"

	"github.com/real-staging-ai/go-worker"
)

// SQLite's result codes that matter here. Drivers may answer extended ones, whose low byte they are.
const (
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteTooBig     = 18
	sqliteConstraint = 19
	sqliteMismatch   = 20
)

// sqliteCode returns the result code that err carries, 0 if none.
func sqliteCode(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code() & 0xff
	}
	return 0
}

// sqlState returns the SQLSTATE that err carries, empty if none.
func sqlState(err error) string {
	var stated interface{ SQLState() string }
	if errors.As(err, &stated) && len(stated.SQLState()) == 5 {
		return stated.SQLState()
	}
	return ""
}

// isBusy reports whether the database did nothing since another connection is at the same rows, or, in SQLite, writes
// at all. A deadlock of Postgres is not among it: there is none to hide.
func isBusy(err error) bool {
	code := sqliteCode(err)
	return code == sqliteBusy || code == sqliteLocked || sqlState(err) == "40001"
}

// isData reports whether the database refused what it was given, as opposed to being in trouble. Of Postgres these are
// the classes 21 (a cardinality was violated), 22 (data exceptions), 23 (constraints) and 54 (limits of the program).
func isData(err error) bool {
	if state := sqlState(err); state != "" {
		return slices.Contains([]string{"21", "22", "23", "54"}, state[:2])
	}
	return slices.Contains([]int{sqliteTooBig, sqliteConstraint, sqliteMismatch}, sqliteCode(err))
}

// explain says what was being written when err came up, and marks it worker.Permanent when it concerns the data.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", doing, err)
	if isData(err) {
		return worker.Permanent(wrapped)
	}
	return wrapped
}
