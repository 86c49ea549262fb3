package sqlstatus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCursors(t *testing.T) {
	for _, p := range []position{
		{created: moment{Time: time.UnixMicro(1_800_000_000_123_456).UTC()}, id: "0190b2c4"},
		{created: moment{Time: time.UnixMicro(0).UTC()}, id: ""},
		{created: moment{Time: time.UnixMicro(-1).UTC()}, id: "a b\x00ü"},
		{created: moment{Time: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}, id: "far"},
		{created: moment{raw: "-infinity"}, id: "a b"},
		{created: moment{raw: "2026-11-24 01:06:54"}, id: ""},
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
	f.Add(position{created: moment{Time: time.UnixMicro(1_800_000_000_123_456)}, id: "id"}.cursor())
	f.Add(position{created: moment{raw: "infinity"}, id: "id"}.cursor())
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
