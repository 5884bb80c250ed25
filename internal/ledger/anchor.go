package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Anchor is what all chains of a ledger came to at one moment.
type Anchor struct {
	// Serial counts the anchors of the database.
	Serial int64
	// Agents is how many chains there were, Links how long they were together, and
	// Epochs the sum of the agents' epochs.
	Agents, Links, Epochs int64
	// Digest is the SHA-256 of all heads, in hexadecimal digits.
	Digest string
	// SystemIdentifier and Timeline are of the server: a fail-over or a restore to a
	// point in time begins a new timeline, another server has another identifier.
	SystemIdentifier string
	Timeline         int64
	// Time is when it was taken, by the database's clock.
	Time time.Time
}

const anchorColumns = `a.serial, a.agents, a.links, a.epochs, encode(a.digest, 'hex'), a.system_identifier::text, a.timeline, a.recorded_at`

func (a *Anchor) fields() []any {
	return []any{&a.Serial, &a.Agents, &a.Links, &a.Epochs, &a.Digest, &a.SystemIdentifier, &a.Timeline, &a.Time}
}

// TakeAnchor writes down what all chains come to now, for the caller to keep where
// the database's administrator cannot change it. It needs the owner's rights.
func TakeAnchor(ctx context.Context, uri string) (Anchor, error) {
	var taken Anchor
	err := withDatabase(uri, func(db *sql.DB) error {
		err := db.QueryRowContext(ctx, `SELECT `+anchorColumns+` FROM trading.anchor() a`).Scan(taken.fields()...)
		if err != nil {
			return fmt.Errorf("taking an anchor of the ledger: %w", err)
		}
		return nil
	})
	taken.Time = taken.Time.UTC()
	return taken, err
}

// Footing is what an anchor is compared with: what the database is and has now.
type Footing struct {
	// Anchor has the sums of now; its Serial and Digest are those of the newest
	// anchor that was taken, zero and empty if none was.
	Anchor
	// Unproven is how many agents have yet to prove their orders since the database
	// was found to have forgotten.
	Unproven int64
}

// footing asks a database that has the schema.
func footing(ctx context.Context, db *sql.DB) (*Footing, error) {
	var now Footing
	err := db.QueryRowContext(ctx, `SELECT coalesce(n.serial, 0), count(c.*), coalesce(sum(c.length), 0), (SELECT coalesce(sum(epoch), 0) FROM trading.leases),
			coalesce(encode(n.digest, 'hex'), ''), (SELECT system_identifier::text FROM pg_control_system()),
			('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint, clock_timestamp(),
			count(*) FILTER (WHERE c.forgot <> '' AND a.released_at IS NULL)
		FROM (SELECT) one LEFT JOIN LATERAL (SELECT serial, digest FROM trading.anchors ORDER BY serial DESC LIMIT 1) n ON true
		LEFT JOIN trading.chains c ON true LEFT JOIN trading.agents a ON a.uid = c.agent_uid
		GROUP BY n.serial, n.digest`).Scan(append(now.fields(), &now.Unproven)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("asking the ledger how far its chains are: %w", err)
	}
	now.Time = now.Time.UTC()
	return &now, nil
}

// Behind says how it is known that the database has lost what it had when an
// anchor was kept, or may have; empty if nothing speaks for it. Kept is the anchor
// that was kept outside.
func (f *Footing) Behind(kept Anchor) string {
	switch {
	case f.SystemIdentifier != kept.SystemIdentifier:
		return fmt.Sprintf("the database cluster is another one: %s, not %s", f.SystemIdentifier, kept.SystemIdentifier)
	case f.Serial < kept.Serial:
		return fmt.Sprintf("the database knows anchor %d and had known anchor %d", f.Serial, kept.Serial)
	case f.Serial == kept.Serial && f.Digest != kept.Digest:
		return fmt.Sprintf("the database has another anchor %d than was kept", kept.Serial)
	case f.Links < kept.Links || f.Epochs < kept.Epochs || f.Agents < kept.Agents:
		return fmt.Sprintf("the database has %d agents with %d links and epochs of %d together, and had %d, %d and %d",
			f.Agents, f.Links, f.Epochs, kept.Agents, kept.Links, kept.Epochs)
	case f.Timeline != kept.Timeline:
		return fmt.Sprintf("the server has gone from timeline %d to %d, by a fail-over or a restore", kept.Timeline, f.Timeline)
	}
	return ""
}

// Forget records for every agent that the database has forgotten, or may have: none
// opens a position before it has proven its open orders at the venue. It returns
// for how many agents that was news. It needs the owner's rights.
func Forget(ctx context.Context, uri, reason string) (int64, error) {
	var told int64
	err := withDatabase(uri, func(db *sql.DB) error {
		if err := db.QueryRowContext(ctx, `SELECT trading.forget($1)`, reason).Scan(&told); err != nil {
			return fmt.Errorf("telling the agents that the ledger forgot: %w", err)
		}
		return nil
	})
	return told, err
}

// Admit gives a role of the database what agents need: to read, to add to journals,
// and the functions that change the rest by rules. It needs the owner's rights and
// may be repeated; later migrations repeat it.
func Admit(ctx context.Context, uri, role string) error {
	return withDatabase(uri, func(db *sql.DB) error {
		version, err := versionIn(ctx, db)
		if err != nil {
			return err
		}
		if err := fits(version); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, `SELECT trading.admit($1)`, role); err != nil {
			return fmt.Errorf("admitting the role %q to the ledger: %w", role, err)
		}
		return nil
	})
}
