package sqlstatus

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMoments(t *testing.T) {
	var m moment
	require.NoError(t, m.Scan(int64(1_800_000_000_123)))
	require.Equal(t, time.UnixMilli(1_800_000_000_123).UTC(), m.Time)
	require.NoError(t, m.Scan(nil))
	require.True(t, m.IsZero())
	require.NoError(t, m.Scan(time.Unix(5, 0)))
	require.Equal(t, time.UTC, m.Location())
	require.Empty(t, m.raw)
	for raw, v := range map[string]any{
		"infinity": "infinity", "soon": []byte("soon"), "0.5": 0.5, "true": true,
		"-9223372036854775807": int64(-math.MaxInt64),
	} {
		require.NoError(t, m.Scan(v))
		require.True(t, m.IsZero(), raw)
		require.Equal(t, raw, m.raw)
	}
	require.NoError(t, m.Scan(time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.Zero(t, m.ordinary())
	require.Equal(t, 20000, m.Year())
}

// Every kind of value that a driver may hand over is read, as zero if as nothing else.
func TestScansTakeAnything(t *testing.T) {
	for _, c := range []struct {
		v        any
		text     text
		whole    int
		fraction fraction
	}{
		{nil, "", 0, 0},
		{int64(7), "7", 7, 7},
		{2.5, "2.5", 2, 2.5},
		{math.Inf(1), "+Inf", 0, 0},
		{math.NaN(), "NaN", 0, 0},
		{1e300, "1e+300", 0, 1e300},
		{"abc", "abc", 0, 0},
		{[]byte("abc"), "abc", 0, 0},
		{true, "true", 0, 0},
		{time.Time{}, "0001-01-01 00:00:00 +0000 UTC", 0, 0},
	} {
		gotText, gotWhole, gotFraction := text("before"), 99, fraction(99)
		require.NoError(t, gotText.Scan(c.v))
		require.NoError(t, whole[int]{&gotWhole}.Scan(c.v))
		require.NoError(t, gotFraction.Scan(c.v))
		require.Equal(t, c.text, gotText)
		require.Equal(t, c.whole, gotWhole)
		require.Equal(t, c.fraction, gotFraction)
	}
}
