package sqlstatus

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// pinged is a database that answers pings with err.
type pinged struct {
	nowhere
	driver.Conn
	err error
}

func (p *pinged) Connect(context.Context) (driver.Conn, error) { return p, nil }
func (p *pinged) Ping(context.Context) error                   { return p.err }
func (p *pinged) Close() error                                 { return nil }

func TestPing(t *testing.T) {
	database := &pinged{}
	db := sql.OpenDB(database)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := New(db, Config{Dialect: SQLite})
	require.NoError(t, err)
	require.NoError(t, s.Ping(context.Background()))
	database.err = errors.New("asleep")
	require.ErrorIs(t, s.Ping(context.Background()), database.err)
	s, err = New(openNowhere(t), Config{Dialect: SQLite})
	require.NoError(t, err)
	require.ErrorIs(t, s.Ping(context.Background()), errNowhere)
}
