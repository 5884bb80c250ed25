package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ErrUnknownAgent means that no process of the agent has ever acquired an epoch.
var ErrUnknownAgent = errors.New("the ledger does not know this agent")

// Use is one use of an API key that asked for more than reading.
type Use struct {
	// Request tells which Done belongs to which Begun.
	Request uuid.UUID
	// Outcome is Begun before the request is carried out, Done after it was
	// answered, or Forbidden.
	Outcome string
	// KeyID and KeyName name the key without being secret.
	KeyID, KeyName string
	// Scope that was asked for: trade or admin.
	Scope        string
	Method, Path string
	// Status of the answer; 0 for Begun.
	Status int
}

// Audit is the record of what was done with an agent's API keys. It is no part of
// Ledger, because a request may come while another process holds the epoch: that
// is worth a record too.
type Audit interface {
	// RecordUse commits a use, once by request and outcome. It fails with
	// ErrUnknownAgent.
	RecordUse(ctx context.Context, agentUID string, use Use) error
	// LastUses is when each key of the agent was last used, by key id.
	LastUses(ctx context.Context, agentUID string) (map[string]time.Time, error)
	// SaveLastUses moves last uses forward; it ignores what is older than known. It
	// fails with ErrUnknownAgent.
	SaveLastUses(ctx context.Context, agentUID string, uses map[string]time.Time) error
}

var (
	_ Audit = (*Postgres)(nil)
	_ Audit = (*Memory)(nil)
)

// checkedUse refuses what the tables would refuse.
func checkedUse(use Use) error {
	switch {
	case use.Outcome != "Begun" && use.Outcome != "Done" && use.Outcome != "Forbidden":
		return fmt.Errorf("record a use: the outcome is %q, not Begun, Done or Forbidden", use.Outcome)
	case use.Scope != "trade" && use.Scope != "admin":
		return fmt.Errorf("record a use: the scope is %q, not trade or admin", use.Scope)
	case use.KeyID == "":
		return errors.New("record a use: no key id")
	case strings.Contains(use.Path, "?"):
		return errors.New("record a use: the path holds a query")
	case use.Outcome == "Begun" && use.Status != 0, use.Outcome != "Begun" && (use.Status < 100 || use.Status > 599):
		return fmt.Errorf("record a use: the status %d does not fit the outcome %s", use.Status, use.Outcome)
	}
	return nil
}

// RecordUse implements Audit.
func (p *Postgres) RecordUse(ctx context.Context, agentUID string, use Use) error {
	if err := checkedUse(use); err != nil {
		return err
	}
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := knownAgent(ctx, tx, agentUID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO trading.api_uses (agent_uid, request, outcome, key_id, key_name, scope, method, path, status)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, nullif($9::integer, 0)) ON CONFLICT (request, outcome) DO NOTHING`,
			agentUID, use.Request, use.Outcome, use.KeyID, use.KeyName, use.Scope, use.Method, use.Path, use.Status)
		if err != nil {
			return fmt.Errorf("recording the use of key %s: %w", use.KeyID, err)
		}
		return nil
	})
}

func knownAgent(ctx context.Context, tx pgx.Tx, agentUID string) error {
	var known bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM trading.agents WHERE uid = $1)`, agentUID).Scan(&known); err != nil {
		return fmt.Errorf("looking for agent %s: %w", agentUID, err)
	}
	if !known {
		return fmt.Errorf("agent %s: %w", agentUID, ErrUnknownAgent)
	}
	return nil
}

// LastUses implements Audit.
func (p *Postgres) LastUses(ctx context.Context, agentUID string) (map[string]time.Time, error) {
	var uses map[string]time.Time
	err := p.db.Read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		uses = map[string]time.Time{}
		rows, err := tx.Query(ctx, `SELECT key_id, used_at FROM trading.api_keys WHERE agent_uid = $1`, agentUID)
		if err != nil {
			return fmt.Errorf("reading the last uses of API keys: %w", err)
		}
		var id string
		var at time.Time
		if _, err := pgx.ForEachRow(rows, []any{&id, &at}, func() error { uses[id] = at.UTC(); return nil }); err != nil {
			return fmt.Errorf("reading the last uses of API keys: %w", err)
		}
		return nil
	})
	return uses, err
}

// SaveLastUses implements Audit.
func (p *Postgres) SaveLastUses(ctx context.Context, agentUID string, uses map[string]time.Time) error {
	ids, times := make([]string, 0, len(uses)), make([]time.Time, 0, len(uses))
	for _, id := range slices.Sorted(maps.Keys(uses)) {
		ids, times = append(ids, id), append(times, marketTime(uses[id]))
	}
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := knownAgent(ctx, tx, agentUID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO trading.api_keys AS known (agent_uid, key_id, used_at)
			SELECT $1, * FROM unnest($2::text[], $3::timestamptz[])
			ON CONFLICT (agent_uid, key_id) DO UPDATE SET used_at = excluded.used_at WHERE known.used_at < excluded.used_at`,
			agentUID, ids, times)
		if err != nil {
			return fmt.Errorf("saving the last uses of API keys: %w", err)
		}
		return nil
	})
}
