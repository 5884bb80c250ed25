package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Arming is whether an agent may open positions by its own record, since a
// person has last allowed it.
type Arming struct {
	// Disarmed says that the agent has stopped itself and waits for a person.
	Disarmed bool
	// ConsecutiveLosses counts the newest trades that lost in a row, after fees. A
	// trade goes from flat to flat, or to the other side.
	ConsecutiveLosses int32
	// AutomaticExits are the market times of the newest stops, at most 64, the
	// oldest first. The orders of one decision are one.
	AutomaticExits []time.Time
}

const (
	// keptExits is as many stops as a limit can count.
	keptExits = 64
	// keptOpenings is for how long before the newest order opening ones are told
	// to a starting process, and mostOpenings how many.
	keptOpenings = time.Hour
	mostOpenings = 256
)

// allowance is what a person says who lets an agent open positions again.
type allowance struct{ person, reason string }

func (a allowance) check() error {
	const longest = 256
	for _, text := range []struct{ name, value string }{{"name of a person", a.person}, {"reason", a.reason}} {
		if text.value == "" || len(text.value) > longest || !utf8.ValidString(text.value) {
			return fmt.Errorf("rearming needs the %s, in at most %d bytes of text", text.name, longest)
		}
	}
	return nil
}

// Disarm implements Ledger.
func (p *Postgres) Disarm(ctx context.Context, lease Lease, reason string, at time.Time) error {
	return p.write(ctx, lease, step{doing: "recording that the agent is disarmed", write: func(ctx context.Context, tx pgx.Tx, batch *pgx.Batch) error {
		disarmed, err := isDisarmed(ctx, tx, lease.Agent.UID)
		if err != nil || disarmed {
			return err
		}
		batch.Queue(`SELECT trading.disarm($1, $2, $3, $4)`, lease.Agent.UID, lease.Epoch, reason, at)
		return nil
	}})
}

// Arming implements Ledger.
func (p *Postgres) Arming(ctx context.Context, lease Lease) (Arming, error) {
	var snapshot Snapshot
	err := p.write(ctx, lease, step{write: func(ctx context.Context, tx pgx.Tx, _ *pgx.Batch) error {
		snapshot = Snapshot{}
		return loadArming(ctx, tx, lease, &snapshot)
	}})
	return snapshot.Arming, err
}

// Rearm lets an agent open positions again that has stopped itself: stops and
// trades that have lost count from now on. Person is who allows it, and reason
// why; both are kept. It fails with ErrUnknownAgent.
func (p *Postgres) Rearm(ctx context.Context, agentUID, person, reason string) error {
	allowed := allowance{person, reason}
	if err := allowed.check(); err != nil {
		return err
	}
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var known bool
		err := tx.QueryRow(ctx, `SELECT trading.record_arming($1, 'Rearmed', $2, $3, NULL)`, agentUID, allowed.person, allowed.reason).Scan(&known)
		if err != nil {
			return fmt.Errorf("recording that agent %s is rearmed: %w", agentUID, err)
		}
		if !known {
			return fmt.Errorf("agent %s: %w", agentUID, ErrUnknownAgent)
		}
		return nil
	})
}

// Rearm is Postgres.Rearm for who has the connection URI and the agent's name.
func Rearm(ctx context.Context, uri, namespace, name, person, reason string) error {
	p, err := Open(ctx, uri)
	if err != nil {
		return err
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
		return err
	}
	return p.Rearm(ctx, uid, person, reason)
}

func isDisarmed(ctx context.Context, tx pgx.Tx, agentUID string) (disarmed bool, err error) {
	err = tx.QueryRow(ctx, `SELECT coalesce((SELECT kind = 'Disarmed' FROM trading.arming WHERE agent_uid = $1 ORDER BY id DESC LIMIT 1), false)`,
		agentUID).Scan(&disarmed)
	if err != nil {
		err = fmt.Errorf("reading whether agent %s is disarmed: %w", agentUID, err)
	}
	return disarmed, err
}

// loadArming reads what counts since a person has last allowed trading.
func loadArming(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	var err error
	if s.Disarmed, err = isDisarmed(ctx, tx, lease.Agent.UID); err != nil {
		return err
	}
	var sequence, transaction int64
	err = tx.QueryRow(ctx, `SELECT coalesce(max(after_sequence), 0), coalesce(max(after_transaction), 0)
		FROM trading.arming WHERE agent_uid = $1 AND kind = 'Rearmed'`, lease.Agent.UID).Scan(&sequence, &transaction)
	if err != nil {
		return fmt.Errorf("reading when agent %s was rearmed: %w", lease.Agent, err)
	}
	err = tx.QueryRow(ctx, `WITH ended AS (SELECT result, ended FROM trading.trades($1) WHERE ended > $2)
		SELECT count(*) FROM ended WHERE ended > coalesce((SELECT max(ended) FROM ended WHERE result >= 0), 0)`,
		lease.Agent.UID, transaction).Scan(&s.ConsecutiveLosses)
	if err != nil {
		return fmt.Errorf("counting the losses of agent %s: %w", lease.Agent, err)
	}
	rows, err := tx.Query(ctx, `SELECT min(market_time) FROM trading.intents
		WHERE agent_uid = $1 AND sequence > $2 AND reason = 'Stop' GROUP BY sequence ORDER BY sequence DESC LIMIT $3`,
		lease.Agent.UID, sequence, keptExits)
	if err != nil {
		return fmt.Errorf("reading the stops of agent %s: %w", lease.Agent, err)
	}
	if s.AutomaticExits, err = pgx.CollectRows(rows, utcTime); err != nil {
		return fmt.Errorf("reading the stops of agent %s: %w", lease.Agent, err)
	}
	if len(s.AutomaticExits) == 0 {
		s.AutomaticExits = nil
	}
	slices.Reverse(s.AutomaticExits)
	return nil
}

func utcTime(row pgx.CollectableRow) (time.Time, error) {
	at, err := pgx.RowTo[time.Time](row)
	return at.UTC(), err
}

// loadRecord reads what the gate counts by pair.
func loadRecord(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	var pair string
	var at time.Time
	rows, err := tx.Query(ctx, `SELECT pair, max(market_time) FROM trading.intents WHERE agent_uid = $1 AND reason = 'Stop' GROUP BY pair`, lease.Agent.UID)
	if err != nil {
		return err
	}
	if _, err = pgx.ForEachRow(rows, []any{&pair, &at}, func() error {
		s.LastStop[pair] = at.UTC()
		return nil
	}); err != nil {
		return err
	}
	var realised market.Money
	rows, err = tx.Query(ctx, `SELECT pair, (result * 100000000)::bigint FROM trading.trades($1) WHERE ended IS NULL AND result <> 0`, lease.Agent.UID)
	if err != nil {
		return err
	}
	if _, err = pgx.ForEachRow(rows, []any{&pair, (*int64)(&realised)}, func() error {
		s.Realised[pair] = realised
		return nil
	}); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `SELECT `+intentColumns+` FROM trading.intents i JOIN trading.orders o ON o.id = i.id
		WHERE i.agent_uid = $1 AND NOT i.reduce_only AND o.state <> 'Rejected'
			AND i.market_time > (SELECT max(market_time) FROM trading.intents WHERE agent_uid = $1 AND NOT reduce_only) - $2::interval
		ORDER BY i.ordinal DESC LIMIT $3`, lease.Agent.UID, keptOpenings, mostOpenings)
	if err != nil {
		return err
	}
	var intent order.Intent
	_, err = pgx.ForEachRow(rows, intentFields(&intent), func() error {
		s.RecentOpenings = append(s.RecentOpenings, intent)
		return nil
	})
	slices.Reverse(s.RecentOpenings)
	return err
}
