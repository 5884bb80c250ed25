package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Acquire implements Ledger. After a lost reply it takes one more epoch, which
// does no harm.
func (p *Postgres) Acquire(ctx context.Context, agent Agent) (Lease, error) {
	agent, err := checkedAgent(agent)
	if err != nil {
		return Lease{}, err
	}
	lease := Lease{Agent: agent}
	err = p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := register(ctx, tx, agent); err != nil {
			return err
		}
		// From here on no older process of this agent writes: those that had
		// begun are over, the others will find the new epoch.
		err := tx.QueryRow(ctx, `INSERT INTO trading.leases AS l (agent_uid, epoch, holder) VALUES ($1, 1, $2)
			ON CONFLICT (agent_uid) DO UPDATE SET epoch = l.epoch + 1, holder = excluded.holder, acquired_at = clock_timestamp()
			RETURNING epoch`, agent.UID, agent.Holder).Scan(&lease.Epoch)
		if err != nil {
			return fmt.Errorf("advancing the epoch of agent %s: %w", agent, err)
		}
		if err := open(ctx, tx, lease); err != nil {
			return err
		}
		for _, instrument := range agent.Instruments {
			if err := claimPair(ctx, tx, lease, instrument); err != nil {
				return err
			}
		}
		return giveUpOthers(ctx, tx, agent)
	})
	if err != nil {
		return Lease{}, err
	}
	return lease, nil
}

// register makes the agent known, or checks that it is whom it was.
func register(ctx context.Context, tx pgx.Tx, agent Agent) error {
	var known Agent
	err := tx.QueryRow(ctx, `INSERT INTO trading.agents AS a (uid, namespace, name, account, venue, currency) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (uid) DO UPDATE SET namespace = excluded.namespace, name = excluded.name, released_at = NULL
		RETURNING a.account, a.venue, a.currency`,
		agent.UID, agent.Namespace, agent.Name, agent.Account, agent.Venue, agent.Currency).
		Scan(&known.Account, &known.Venue, &known.Currency)
	if err != nil {
		return fmt.Errorf("registering agent %s: %w", agent, err)
	}
	return sameBook(known, agent)
}

// open gives an agent its balance, once.
func open(ctx context.Context, tx pgx.Tx, lease Lease) error {
	var id int64
	err := tx.QueryRow(ctx, `INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time) VALUES ($1, 'Opening', $2, '-infinity')
		ON CONFLICT (agent_uid) WHERE kind = 'Opening' DO NOTHING RETURNING id`, lease.Agent.UID, lease.Epoch).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		var postings postings
		postings.add("assets:cash", "", lease.Agent.Currency, lease.Agent.Balance.String())
		postings.add("equity:opening", "", lease.Agent.Currency, (-lease.Agent.Balance).String())
		err = post(ctx, tx, id, lease.Agent.UID, postings)
	}
	if err != nil {
		return fmt.Errorf("opening the book of agent %s: %w", lease.Agent, err)
	}
	return nil
}

func post(ctx context.Context, tx pgx.Tx, transaction int64, agentUID string, p postings) error {
	_, err := tx.Exec(ctx, `INSERT INTO trading.postings (transaction_id, agent_uid, ledger_account, pair, currency, amount)
		SELECT $1, $2, u.ledger_account, u.pair, u.currency, u.amount::numeric
		FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS u (ledger_account, pair, currency, amount)`,
		transaction, agentUID, p.accounts, p.pairs, p.currencies, p.amounts)
	return err
}

// claimPair gives the agent a pair, if no living agent has it.
func claimPair(ctx context.Context, tx pgx.Tx, lease Lease, instrument market.Instrument) error {
	agent := lease.Agent
	inserted, err := tx.Exec(ctx, `INSERT INTO trading.claims (account, pair, agent_uid, base, quote, tick, lot)
		VALUES ($1, $2, $3, $4, $5, $6::text::numeric, $7::text::numeric) ON CONFLICT DO NOTHING`,
		agent.Account, instrument.Pair, agent.UID, instrument.Base, instrument.Quote, instrument.Tick.String(), instrument.Lot.String())
	if err != nil {
		return fmt.Errorf("claiming %s: %w", instrument.Pair, err)
	}
	if inserted.RowsAffected() == 1 {
		return nil
	}
	owner, released, held, working, err := claimOf(ctx, tx, agent.Account, instrument.Pair)
	if err != nil {
		return err
	}
	if err := mayClaim(agent, owner, released, instrument, held, working); err != nil {
		return err
	}
	if owner.UID != agent.UID && held.position.Quantity != 0 {
		if err := adopt(ctx, tx, lease, owner, instrument, held.position); err != nil {
			return fmt.Errorf("adopting the position of agent %s in %s: %w", owner, instrument.Pair, err)
		}
	}
	_, err = tx.Exec(ctx, `UPDATE trading.claims SET agent_uid = $3, base = $4, quote = $5, tick = $6::text::numeric, lot = $7::text::numeric,
			claimed_at = CASE WHEN agent_uid = $3 THEN claimed_at ELSE clock_timestamp() END
		WHERE account = $1 AND pair = $2`,
		agent.Account, instrument.Pair, agent.UID, instrument.Base, instrument.Quote, instrument.Tick.String(), instrument.Lot.String())
	if err != nil {
		return fmt.Errorf("claiming %s: %w", instrument.Pair, err)
	}
	if owner.UID != agent.UID {
		return inherit(ctx, tx, lease, owner.UID)
	}
	return nil
}

// heldColumns are the position and the count of open orders behind a claim c.
const heldColumns = `
	coalesce((SELECT (b.amount / c.lot)::bigint FROM trading.balances b
		WHERE b.agent_uid = c.agent_uid AND b.ledger_account = 'assets:position' AND b.pair = c.pair AND b.currency = c.base), 0),
	coalesce((SELECT (b.amount * 100000000)::bigint FROM trading.balances b
		WHERE b.agent_uid = c.agent_uid AND b.ledger_account = 'assets:cost' AND b.pair = c.pair AND b.currency = c.quote), 0),
	(SELECT count(*) FROM trading.orders o
		WHERE o.agent_uid = c.agent_uid AND o.pair = c.pair AND o.state NOT IN ('Filled', 'Cancelled', 'Rejected'))`

// claimOf locks a claim and tells whose it is.
func claimOf(ctx context.Context, tx pgx.Tx, account, pair string) (owner Agent, released bool, held claim, working int, err error) {
	var tick, lot decimal.Decimal
	err = tx.QueryRow(ctx, `SELECT a.uid, a.namespace, a.name, a.released_at IS NOT NULL, c.base, c.quote, c.tick::text, c.lot::text, `+heldColumns+`
		FROM trading.claims c JOIN trading.agents a ON a.uid = c.agent_uid
		WHERE c.account = $1 AND c.pair = $2 FOR UPDATE OF c`, account, pair).
		Scan(&owner.UID, &owner.Namespace, &owner.Name, &released, &held.instrument.Base, &held.instrument.Quote, &tick, &lot,
			(*int64)(&held.position.Quantity), (*int64)(&held.position.Cost), &working)
	if err != nil {
		err = fmt.Errorf("reading who trades %s: %w", pair, err)
	}
	held.instrument.Tick, held.instrument.Lot = tick, lot
	return owner, released, held, working, err
}

// adopt moves a position from an agent that is gone to the next one, which pays
// its cost: neither book gains or loses by it.
func adopt(ctx context.Context, tx pgx.Tx, lease Lease, from Agent, instrument market.Instrument, position Position) error {
	quantity := instrument.QuantityDecimal(position.Quantity).String()
	cost := position.Cost.String()
	var adopting int64
	for _, side := range []struct{ uid, quantity, cost string }{
		{from.UID, negated(quantity), (-position.Cost).String()},
		{lease.Agent.UID, quantity, cost},
	} {
		err := tx.QueryRow(ctx, `INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time)
			VALUES ($1, 'Adoption', $2, coalesce((SELECT max(market_time) FROM trading.marks WHERE agent_uid = $3), '-infinity')) RETURNING id`,
			side.uid, lease.Epoch, from.UID).Scan(&adopting)
		if err != nil {
			return err
		}
		var postings postings
		postings.add("assets:position", instrument.Pair, instrument.Base, side.quantity)
		postings.add("equity:exchange", instrument.Pair, instrument.Base, negated(side.quantity))
		postings.add("assets:cost", instrument.Pair, instrument.Quote, side.cost)
		if side.cost != "0" {
			postings.add("assets:cash", "", instrument.Quote, negated(side.cost))
		}
		if err := post(ctx, tx, adopting, side.uid, postings); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO trading.adoptions (transaction_id, agent_uid, from_agent_uid, epoch, pair, quantity, cost)
		VALUES ($1, $2, $3, $4, $5, $6::text::numeric, $7::text::numeric)`,
		adopting, lease.Agent.UID, from.UID, lease.Epoch, instrument.Pair, quantity, cost)
	return err
}

// giveUpOthers drops the agent's claims of pairs that it no longer names.
func giveUpOthers(ctx context.Context, tx pgx.Tx, agent Agent) error {
	named := make([]string, len(agent.Instruments))
	for i, instrument := range agent.Instruments {
		named[i] = instrument.Pair
	}
	rows, err := tx.Query(ctx, `SELECT c.pair, `+heldColumns+` FROM trading.claims c
		WHERE c.agent_uid = $1 AND c.pair <> ALL ($2::text[]) ORDER BY c.pair`, agent.UID, named)
	if err != nil {
		return fmt.Errorf("reading what agent %s no longer trades: %w", agent, err)
	}
	var pair string
	var position Position
	var working int
	_, err = pgx.ForEachRow(rows, []any{&pair, (*int64)(&position.Quantity), (*int64)(&position.Cost), &working}, func() error {
		return mayGiveUp(agent, pair, position, working)
	})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM trading.claims WHERE agent_uid = $1 AND pair <> ALL ($2::text[])`, agent.UID, named)
	if err != nil {
		return fmt.Errorf("giving up what agent %s no longer trades: %w", agent, err)
	}
	return nil
}

// Release gives up the claims of an agent that is gone and fences what may be
// left of it. Claims of pairs in which it holds a position or has open orders
// stay: the next agent that claims such a pair adopts its position. An agent
// that never came is no error. Release may be repeated.
func (p *Postgres) Release(ctx context.Context, agentUID string) error {
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE trading.leases SET epoch = epoch + 1, holder = 'released', acquired_at = clock_timestamp() WHERE agent_uid = $1`, agentUID)
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE trading.agents SET released_at = coalesce(released_at, clock_timestamp()) WHERE uid = $1`, agentUID)
		}
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM trading.claims c USING (SELECT c.account, c.pair, `+heldColumns+` FROM trading.claims c
					WHERE c.agent_uid = $1) AS held (account, pair, quantity, cost, working)
				WHERE c.account = held.account AND c.pair = held.pair AND held.quantity = 0 AND held.working = 0`, agentUID)
		}
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM trading.shares WHERE agent_uid = $1
				AND NOT EXISTS (SELECT 1 FROM trading.claims WHERE agent_uid = $1)`, agentUID)
		}
		if err != nil {
			return fmt.Errorf("releasing the pairs of agent %s: %w", agentUID, err)
		}
		return nil
	})
}

// Release is Postgres.Release for who has only the connection URI. A database
// that was never migrated has nothing to release.
func Release(ctx context.Context, uri, agentUID string) error {
	version, err := SchemaVersion(ctx, uri)
	if err != nil || version == 0 {
		return err
	}
	db, err := database.Open(ctx, uri)
	if err != nil {
		return err
	}
	defer db.Close()
	return (&Postgres{db: db}).Release(ctx, agentUID)
}
