package sqlstatus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Migrate makes the tables, or brings them up to date. It is idempotent and safe when any number of processes call it
// at once: each migration is applied once, in a transaction. When there is nothing to do it only reads, so that a role
// that may not create tables can call it, too. Tables of a newer version are left as they are, since
// migrations only add what older programs can do without.
func Migrate(ctx context.Context, db *sql.DB, cfg Config) error {
	cfg = cfg.withDefaults()
	err := cfg.check()
	if db == nil {
		err = errors.Join(errors.New("db is nil"), err)
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	d := dialects[cfg.Dialect]
	all, err := readMigrations(d)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	done, err := upToDate(ctx, db, cfg, d, all)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", cfg.expand("{table}"), err)
	}
	if done {
		return nil
	}
	err = d.migrating(ctx, db, cfg, func(tx Tx) error { return migrate(ctx, tx, cfg, d, all) })
	if err != nil {
		return fmt.Errorf("migrate %s: %w", cfg.expand("{table}"), err)
	}
	return nil
}

// migration is one embedded file: <version>_<name>.sql.
type migration struct {
	version    int
	name       string
	statements []string
}

// readMigrations returns a dialect's migrations by version.
func readMigrations(d dialect) ([]migration, error) {
	files, err := fs.ReadDir(migrations, d.folder())
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", f.Name(), err)
		}
		text, err := fs.ReadFile(migrations, path.Join(d.folder(), f.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, migration{version: version, name: f.Name(), statements: split(string(text))})
	}
	slices.SortFunc(all, func(a, b migration) int { return a.version - b.version })
	return all, nil
}

// split returns the statements of a file. Each ends with a semicolon at the end of a line, as drivers that prepare
// statements take one at a time.
func split(text string) (statements []string) {
	for part := range strings.SplitSeq(text, ";\n") {
		if part = strings.TrimSpace(part); part != "" {
			statements = append(statements, part)
		}
	}
	return statements
}

// upToDate reports whether the tables lack nothing.
func upToDate(ctx context.Context, db *sql.DB, cfg Config, d dialect, all []migration) (done bool, err error) {
	err = whileBusy(ctx, func() error {
		statement, args := d.hasTable(cfg, cfg.Table+"_migrations")
		if err := db.QueryRowContext(ctx, statement, args...).Scan(&done); err != nil || !done {
			return err
		}
		version, err := currentVersion(ctx, db, cfg)
		done = err == nil && version >= all[len(all)-1].version
		return err
	})
	return done, err
}

// migrate applies what the tables lack.
func migrate(ctx context.Context, tx Tx, cfg Config, d dialect, all []migration) error {
	_, err := tx.ExecContext(ctx, cfg.expand("CREATE TABLE IF NOT EXISTS {migrations} (version INTEGER PRIMARY KEY)"))
	if err != nil {
		return err
	}
	version, err := currentVersion(ctx, tx, cfg)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.version <= version {
			continue
		}
		for _, statement := range m.statements {
			if _, err := tx.ExecContext(ctx, cfg.expand(statement)); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
		note := cfg.expand("INSERT INTO {migrations} (version) VALUES (" + d.arg(1) + ")")
		if _, err := tx.ExecContext(ctx, note, m.version); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func currentVersion(ctx context.Context, tx Tx, cfg Config) (version int, err error) {
	rows, err := tx.QueryContext(ctx, cfg.expand("SELECT COALESCE(MAX(version), 0) FROM {migrations}"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&version); err != nil {
			return 0, err
		}
	}
	return version, rows.Err()
}
