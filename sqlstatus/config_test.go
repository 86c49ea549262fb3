package sqlstatus

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// nowhere is a database that cannot be reached.
type nowhere struct{}

var errNowhere = errors.New("nowhere")

func (nowhere) Connect(context.Context) (driver.Conn, error) { return nil, errNowhere }
func (nowhere) Driver() driver.Driver                        { return nil }

func openNowhere(t *testing.T) *sql.DB {
	t.Helper()
	db := sql.OpenDB(nowhere{})
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestNewReportsAllThatIsWrong(t *testing.T) {
	cfg := Config{Schema: "Public", Table: "jobs;--", MaxPayload: -1}
	for name, err := range map[string]error{
		"new":     func() error { _, err := New(nil, cfg); return err }(),
		"migrate": Migrate(context.Background(), nil, cfg),
	} {
		for _, part := range []string{name, "db is nil", "Dialect is 0", "Schema", "Table", "MaxPayload is -1", "a-z 0-9 _"} {
			require.ErrorContains(t, err, part)
		}
	}
	_, err := New(openNowhere(t), Config{Dialect: SQLite, Schema: "main"})
	require.ErrorContains(t, err, "SQLite has none")
}

func TestNewSendsNothing(t *testing.T) {
	db := openNowhere(t)
	for _, d := range []Dialect{Postgres, SQLite} {
		s, err := New(db, Config{Dialect: d})
		require.NoError(t, err)
		_, err = s.Get(context.Background(), "id")
		require.ErrorIs(t, err, errNowhere)
		require.ErrorIs(t, Migrate(context.Background(), db, Config{Dialect: d}), errNowhere)
	}
}

func TestNamesAreIdentifiers(t *testing.T) {
	for _, name := range []string{"a", "_", "jobs_2", "select", strings.Repeat("x", 48)} {
		require.NoError(t, checkName("Table", name), name)
	}
	for _, name := range []string{"", "2", "Jobs", "a b", "a.b", `a"b`, "a;b", "a'b", "é", "a-b", "{table}", "a\x00", strings.Repeat("x", 49)} {
		require.Error(t, checkName("Table", name), name)
	}
}

// FuzzNames: whatever passes stands in a statement as one name.
func FuzzNames(f *testing.F) {
	f.Add("worker_jobs", "public")
	f.Add(`a"b`, "é")
	name := regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)
	f.Fuzz(func(t *testing.T, table, schema string) {
		cfg := Config{Dialect: Postgres, Table: table, Schema: schema}
		if cfg.check() != nil {
			return
		}
		require.Regexp(t, name, table)
		want := `"` + table + `"`
		if schema != "" {
			require.Regexp(t, name, schema)
			want = `"` + schema + `".` + want
		}
		require.Equal(t, want, cfg.expand("{table}"))
	})
}

// The longest names of indexes and tables still fit Postgres, which would cut them.
func TestDerivedNamesFit(t *testing.T) {
	cfg := Config{Table: strings.Repeat("x", maxName)}
	made := regexp.MustCompile(`(?:INDEX|TABLE) "?(\w+)"?`)
	for _, d := range []Dialect{Postgres, SQLite} {
		all, err := readMigrations(dialects[d])
		require.NoError(t, err)
		require.NotEmpty(t, all)
		for i, m := range all {
			require.Equal(t, i+1, m.version, "versions count up from 1")
			require.NotEmpty(t, m.statements)
			for _, statement := range m.statements {
				statement = cfg.expand(statement)
				require.NotContains(t, statement, "{")
				names := made.FindStringSubmatch(statement)
				require.Len(t, names, 2, statement)
				require.LessOrEqual(t, len(names[1]), 63)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	require.Equal(t, []string{"A (\n\tb;c\n)", "-- note\nD"}, split("A (\n\tb;c\n);\n\n-- note\nD;\n"))
	require.Empty(t, split("\n"))
}
