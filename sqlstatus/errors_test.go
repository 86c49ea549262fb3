package sqlstatus

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// stated is an error as pgx has it, coded one as modernc.org/sqlite has it.
type stated string

func (e stated) Error() string    { return "postgres " + string(e) }
func (e stated) SQLState() string { return string(e) }

type coded int

func (e coded) Error() string { return fmt.Sprint("sqlite ", int(e)) }
func (e coded) Code() int     { return int(e) }

func TestOnlyTheDataIsRefusedForGood(t *testing.T) {
	for err, permanent := range map[error]bool{
		stated("22021"): true,  // a character that isn't in the encoding
		stated("22P05"): true,  // NUL
		stated("21000"): true,  // a row twice
		stated("23502"): true,  // NULL where none may be
		stated("54000"): true,  // too long for an index
		stated("40P01"): false, // deadlock
		stated("40001"): false, // serialization
		stated("57014"): false, // canceled
		stated("57P01"): false, // shutdown
		stated("53100"): false, // disk full
		stated("42P01"): false, // no such table: not migrated yet
		stated("25006"): false, // read only: a standby
		stated("08006"): false, // connection
		stated("2"):     false,

		coded(18): true, coded(19): true, coded(1299): true, coded(20): true,
		coded(5): false, coded(6): false, coded(10): false, coded(13): false, coded(8): false, coded(517): false,

		errors.New("other"): false, context.DeadlineExceeded: false,
	} {
		got := explain("save", fmt.Errorf("wrapped: %w", err))
		require.Equal(t, permanent, worker.IsPermanent(got), "%v", err)
		require.ErrorIs(t, got, err)
		require.ErrorContains(t, got, "save: ")
	}
	require.NoError(t, explain("save", nil))
	require.True(t, isBusy(coded(5)) && isBusy(coded(517)) && isBusy(coded(262)) && isBusy(stated("40001")))
	require.False(t, isBusy(coded(1)) || isBusy(nil) || isBusy(stated("40P01")))
}
