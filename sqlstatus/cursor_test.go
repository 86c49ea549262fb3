package sqlstatus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCursors(t *testing.T) {
	for _, p := range []position{
		{created: time.UnixMicro(1_800_000_000_123_456).UTC(), id: "0190b2c4"},
		{created: time.UnixMicro(0).UTC(), id: ""},
		{created: time.UnixMicro(-1).UTC(), id: "a b\x00ü"},
	} {
		got, err := readCursor(p.cursor())
		require.NoError(t, err)
		require.Equal(t, p, *got)
	}
	none, err := readCursor("")
	require.NoError(t, err)
	require.Nil(t, none)
}

// FuzzReadCursor: a cursor is refused or means exactly one position.
func FuzzReadCursor(f *testing.F) {
	f.Add(position{created: time.UnixMicro(1_800_000_000_123_456), id: "id"}.cursor())
	f.Add("!")
	f.Add("eiB6")
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := readCursor(cursor)
		if err != nil || p == nil {
			return
		}
		require.Equal(t, cursor, p.cursor())
	})
}
