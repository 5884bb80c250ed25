package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ServerInfo is what is worth knowing of a database before money is entrusted
// to it.
type ServerInfo struct {
	// ServerVersion of PostgreSQL, such as "15.18".
	ServerVersion string
	// SchemaVersion of the ledger; 0 if it was never migrated. Latest is the
	// version that this program needs.
	SchemaVersion, Latest int64
	// Oldest is the oldest schema whose programs can work with this one; 0 if the
	// database does not say.
	Oldest int64
	// Fsync, FullPageWrites and SynchronousCommit are the server's settings as
	// a session of this user has them.
	Fsync, FullPageWrites, SynchronousCommit string
	// ReadOnly says that the server is a standby, or refuses to write.
	ReadOnly bool
	// Footing is what anchors are compared with; nil if the schema is older, or the
	// server a standby.
	Footing *Footing
}

// leastServer is PostgreSQL 15, as the server counts its versions.
const leastServer = 150000

// Info asks a database about itself.
func Info(ctx context.Context, uri string) (ServerInfo, error) {
	info := ServerInfo{Latest: Latest}
	err := withDatabase(uri, func(db *sql.DB) error {
		var number int
		var recovery bool
		var readOnly string
		err := db.QueryRowContext(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int,
			current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
			current_setting('default_transaction_read_only'), pg_is_in_recovery()`).
			Scan(&info.ServerVersion, &number, &info.Fsync, &info.FullPageWrites, &info.SynchronousCommit, &readOnly, &recovery)
		if err != nil {
			return fmt.Errorf("asking the database about itself: %w", err)
		}
		// Debian writes "15.18 (Debian 15.18-0+deb12u1)".
		info.ServerVersion, _, _ = strings.Cut(info.ServerVersion, " ")
		info.ReadOnly = recovery || readOnly == "on"
		if number < leastServer {
			return fmt.Errorf("the ledger needs PostgreSQL 15 or later, but the server is %s", info.ServerVersion)
		}
		info.SchemaVersion, err = versionIn(ctx, db)
		if err == nil {
			info.Oldest, err = oldestIn(ctx, db)
		}
		if err == nil && serves(info.SchemaVersion, info.Oldest) == nil && !info.ReadOnly {
			info.Footing, err = footing(ctx, db)
		}
		return err
	})
	return info, err
}

// durable refuses a database that could forget, asked by the session that is about
// to write.
func durable(ctx context.Context, tx pgx.Tx) error {
	var info ServerInfo
	err := tx.QueryRow(ctx, `SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')`).
		Scan(&info.Fsync, &info.FullPageWrites, &info.SynchronousCommit)
	if err != nil {
		return fmt.Errorf("asking the database for its settings: %w", err)
	}
	if faults := info.NotDurable(); faults != "" {
		return notDurable(faults)
	}
	return nil
}

func notDurable(faults string) error {
	return fmt.Errorf("%w: %s; turn it on for the server, the database and the role, and start again", ErrNotDurable, faults)
}

// Durable says whether what is committed outlives a crash of the server.
func (i ServerInfo) Durable() bool { return i.NotDurable() == "" }

// NotDurable names the settings by which a commit may be lost; empty if there
// are none.
func (i ServerInfo) NotDurable() string {
	var faults []string
	for _, setting := range []struct{ name, value string }{
		{"fsync", i.Fsync}, {"full_page_writes", i.FullPageWrites}, {"synchronous_commit", i.SynchronousCommit},
	} {
		if setting.value == "off" {
			faults = append(faults, setting.name+" is off")
		}
	}
	return strings.Join(faults, ", ")
}
