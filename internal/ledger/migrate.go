package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

//go:embed migrations/*.sql
var embedded embed.FS

const (
	// versionTable is where goose keeps which migrations were applied.
	versionTable = "trading.migrations"
	// migrationLock is the advisory lock under which the schema changes.
	migrationLock int64 = 0x7472_6164_696e_67
	// migrationLockSeconds is how long a migrator waits for another one.
	migrationLockSeconds = 60
)

// ErrSchema means that the database's schema is not the one that this program
// was built for.
var ErrSchema = errors.New("the ledger's schema does not fit this program")

// Latest is the version of the schema that this program was built for: the
// number of the last migration.
const Latest int64 = 25

// Migrate brings the schema of a database to Latest and returns the version
// that it is at. Several may run at once; one works and the others wait. A
// database that a newer program has migrated is left alone with ErrSchema.
func Migrate(ctx context.Context, uri string) (int64, error) {
	var version int64
	err := withDatabase(uri, func(db *sql.DB) error {
		known, err := versionIn(ctx, db)
		if err != nil {
			return err
		}
		version = known
		if err := fits(known); err == nil || known > Latest {
			return err
		}
		if err := migrate(ctx, db); err != nil {
			return fmt.Errorf("migrating the ledger from schema %d to %d: %w", known, Latest, err)
		}
		version, err = versionIn(ctx, db)
		if err != nil {
			return err
		}
		return fits(version)
	})
	return version, err
}

// SchemaVersion is the version of a database's schema; 0 if it has none.
func SchemaVersion(ctx context.Context, uri string) (int64, error) {
	var version int64
	err := withDatabase(uri, func(db *sql.DB) (err error) {
		version, err = versionIn(ctx, db)
		return err
	})
	return version, err
}

// fits says why a program cannot work with a schema.
func fits(version int64) error {
	switch {
	case version > Latest:
		return fmt.Errorf("%w: the database is at schema %d, but this program knows schemas up to %d: install a newer release; a schema is never taken back", ErrSchema, version, Latest)
	case version < Latest:
		return fmt.Errorf("%w: the database is at schema %d, but this program needs %d: let the operator migrate it first", ErrSchema, version, Latest)
	default:
		return nil
	}
}

// serves says why a program that only uses a schema cannot: it may be newer than the
// program, if the migrations since leave the program able to work.
func serves(version, oldest int64) error {
	if version > Latest && 0 < oldest && oldest <= Latest {
		return nil
	}
	return fits(version)
}

// oldestIn reads which programs can work with the schema; 0 if it does not say.
func oldestIn(ctx context.Context, db *sql.DB) (int64, error) {
	var oldest int64
	err := db.QueryRowContext(ctx, "SELECT oldest FROM trading.compatibility").Scan(&oldest)
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && (refusal.Code == "42P01" || refusal.Code == "3F000") {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading which programs the ledger's schema is for: %w", err)
	}
	return oldest, nil
}

// migrate applies what is missing. The lock is taken here and not by goose,
// which looks for its own table before it locks, and does not make the schema
// that the table is in.
func migrate(ctx context.Context, db *sql.DB) (err error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, migrationLockSeconds))
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("waiting for another migration: %w", err)
	}
	defer func() {
		// The lock ends with the session; an error after success is no failure.
		_ = locker.SessionUnlock(context.WithoutCancel(ctx), conn)
	}()
	if _, err := conn.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS trading"); err != nil {
		return err
	}
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err = provider.Up(ctx); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "SELECT trading.admit_again()")
	return err
}

// versionIn reads the version of the schema.
func versionIn(ctx context.Context, db *sql.DB) (int64, error) {
	var version int64
	err := db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable+" WHERE is_applied").Scan(&version)
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && (refusal.Code == "42P01" || refusal.Code == "3F000") {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the version of the ledger's schema: %w", err)
	}
	return version, nil
}

// withDatabase runs a task that is no agent's: its statements may take longer.
func withDatabase(uri string, task func(*sql.DB) error) error {
	config, err := database.Config(uri)
	if err != nil {
		return err
	}
	config.ConnConfig.RuntimeParams["statement_timeout"] = "600000"
	config.ConnConfig.RuntimeParams["lock_timeout"] = "10000"
	db := stdlib.OpenDB(*config.ConnConfig)
	db.SetConnMaxIdleTime(time.Minute)
	err = task(db)
	closed := db.Close()
	if err == nil {
		err = closed
	}
	return database.Clean(uri, err)
}
