package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Latch implements Halts.
func (p *Postgres) Latch(ctx context.Context, agentUID string, halt LatchedHalt) error {
	if err := halt.check(); err != nil {
		return err
	}
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT trading.latch_halt($1, $2, $3, $4, $5, $6, $7)`,
			agentUID, halt.UID, halt.Name, halt.State, halt.Task, halt.Pairs, halt.Reason)
		if err != nil {
			return fmt.Errorf("latching %s for agent %s: %w", halt.Name, agentUID, err)
		}
		return nil
	})
}

// Latched implements Halts.
func (p *Postgres) Latched(ctx context.Context, agentUID string) ([]LatchedHalt, error) {
	var bound []LatchedHalt
	err := p.db.Read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT halt_uid, name, state, task, reason, pairs FROM trading.latched_halts($1)`, agentUID)
		if err == nil {
			bound, err = pgx.CollectRows(rows, pgx.RowToStructByPos[LatchedHalt])
		}
		if err != nil {
			return fmt.Errorf("reading the halts that bind agent %s: %w", agentUID, err)
		}
		return nil
	})
	return bound, err
}

// Unlatch implements Halts.
func (p *Postgres) Unlatch(ctx context.Context, haltUID, by, reason string) error {
	if err := checkRelease(haltUID, by, reason); err != nil {
		return err
	}
	return p.release(ctx, "", haltUID, by, reason)
}

// UnlatchAgent implements Halts.
func (p *Postgres) UnlatchAgent(ctx context.Context, agentUID, haltUID, by, reason string) error {
	if err := checkAgentRelease(agentUID, haltUID, by, reason); err != nil {
		return err
	}
	return p.release(ctx, agentUID, haltUID, by, reason)
}

// release records a release for one agent, or for all if it names none.
func (p *Postgres) release(ctx context.Context, agentUID, haltUID, by, reason string) error {
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO trading.halt_releases (halt_uid, agent_uid, released_by, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			haltUID, agentUID, by, reason)
		if err != nil {
			return fmt.Errorf("recording the release of halt %s: %w", haltUID, err)
		}
		return nil
	})
}

// FenceHalted takes the epoch from one process of an agent, the pod with the UID
// holder, so that no intent of it can be committed any more. It reports whether the
// process still had it.
func (p *Postgres) FenceHalted(ctx context.Context, agentUID, haltUID, holder string) (bool, error) {
	var taken bool
	err := p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT trading.fence_halted($1, $2, $3)`, agentUID, haltUID, holder).Scan(&taken); err != nil {
			return fmt.Errorf("advancing the epoch of agent %s: %w", agentUID, err)
		}
		return nil
	})
	return taken, err
}

// FenceHalted is Postgres.FenceHalted for who has the connection URI. A database
// without a ledger has no process to fence.
func FenceHalted(ctx context.Context, uri, agentUID, haltUID, holder string) (bool, error) {
	var taken bool
	err := briefly(ctx, uri, func(p *Postgres) (err error) {
		taken, err = p.FenceHalted(ctx, agentUID, haltUID, holder)
		return err
	})
	return taken, err
}

// Unlatch is Postgres.Unlatch for who has the connection URI. A database without a
// ledger binds nobody.
func Unlatch(ctx context.Context, uri, haltUID, by, reason string) error {
	return briefly(ctx, uri, func(p *Postgres) error { return p.Unlatch(ctx, haltUID, by, reason) })
}

// LatchAll latches halts by the UIDs of the agents that they bind, for who has the
// connection URI. Unlike a release it needs a ledger: where none is, nothing would
// remember them.
func LatchAll(ctx context.Context, uri string, halts map[string]LatchedHalt) error {
	p, err := Open(ctx, uri)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for agentUID, halt := range halts {
			if err := halt.check(); err != nil {
				return err
			}
			batch.Queue(`SELECT trading.latch_halt($1, $2, $3, $4, $5, $6, $7)`, agentUID, halt.UID, halt.Name, halt.State, halt.Task, halt.Pairs, halt.Reason)
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("latching halts for %d agents: %w", len(halts), err)
		}
		return nil
	})
}

// BoundBy are the UIDs of the agents that a halt binds by a ledger, for who has the
// connection URI.
func BoundBy(ctx context.Context, uri, haltUID string) ([]string, error) {
	var bound []string
	err := briefly(ctx, uri, func(p *Postgres) error {
		return p.db.Read(ctx, func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `SELECT h.agent_uid FROM trading.halts h WHERE h.halt_uid = $1
				AND NOT EXISTS (SELECT FROM trading.halt_releases r WHERE r.halt_uid = h.halt_uid AND r.agent_uid IN ('', h.agent_uid)) ORDER BY 1`, haltUID)
			if err == nil {
				bound, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			if err != nil {
				return fmt.Errorf("reading whom halt %s binds: %w", haltUID, err)
			}
			return nil
		})
	})
	return bound, err
}

// briefly opens a ledger for one thing to be done. Where there is none, nothing is.
func briefly(ctx context.Context, uri string, do func(*Postgres) error) error {
	version, err := SchemaVersion(ctx, uri)
	if err != nil || version == 0 {
		return err
	}
	p, err := Open(ctx, uri)
	if err != nil {
		return err
	}
	defer p.Close()
	return do(p)
}

// ReleaseLatched frees one agent of every halt that binds it by the ledger alone;
// they bind every other agent as before. It is the way out when the objects are gone,
// with their definitions, before they were released. It returns what it has released.
func ReleaseLatched(ctx context.Context, uri, namespace, name, person, reason string) ([]LatchedHalt, error) {
	if err := (allowance{person, reason}).check(); err != nil {
		return nil, err
	}
	p, err := Open(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var uid string
	err = p.db.Read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT uid FROM trading.agents WHERE namespace = $1 AND name = $2 AND released_at IS NULL
			ORDER BY recorded_at DESC LIMIT 1`, namespace, name).Scan(&uid)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("agent %s/%s: %w", namespace, name, ErrUnknownAgent)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	bound, err := p.Latched(ctx, uid)
	if err != nil {
		return nil, err
	}
	for i := range bound {
		if err := p.UnlatchAgent(ctx, uid, bound[i].UID, person, reason); err != nil {
			return bound[:i], err
		}
	}
	return bound, nil
}
