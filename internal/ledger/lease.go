package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

// memory is what this process has seen of its agents' chains, to notice a
// database that has forgotten it.
type memory struct {
	mu     sync.Mutex
	agents map[string]seen
}

// seen is how far an agent's chain has come.
type seen struct {
	epoch, links int64
	// told is what the process has been told of what the database forgot.
	told string
}

func (m *memory) of(agentUID string) seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.agents[agentUID]
}

// advance remembers a commit.
func (m *memory) advance(agentUID string, links int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.agents[agentUID]
	known.links = max(known.links, links)
	m.agents[agentUID] = known
}

// begin remembers a new epoch, and with it whatever the chain is by now.
func (m *memory) begin(agentUID string, epoch, links int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[agentUID] = seen{epoch: epoch, links: links, told: m.agents[agentUID].told}
}

func (m *memory) tell(agentUID, told string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.agents[agentUID]
	known.told = told
	m.agents[agentUID] = known
}

// standing of an agent in the database.
type holding struct {
	epoch, links   int64
	holder, forgot string
}

// forgotten is what a database has lost that this process was told to be
// committed.
type forgotten struct {
	epoch  int64
	reason string
	cause  error
}

func (f *forgotten) Error() string { return f.reason }
func (f *forgotten) Unwrap() error { return f.cause }

// own locks the agent's lease until the transaction ends, if it still holds.
func (p *Postgres) own(ctx context.Context, tx pgx.Tx, lease Lease) (holding, error) {
	var now holding
	err := tx.QueryRow(ctx, `SELECT epoch, holder, links, forgot FROM trading.own($1)`, lease.Agent.UID).
		Scan(&now.epoch, &now.holder, &now.links, &now.forgot)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return holding{}, fmt.Errorf("checking the epoch of agent %s: %w", lease.Agent, err)
	}
	known := p.memory.of(lease.Agent.UID)
	switch {
	case now.epoch < lease.Epoch:
		// Whoever comes next has another epoch: this process must end too.
		reason := fmt.Sprintf("agent %s: the database is at epoch %d and had been at epoch %d", lease.Agent, now.epoch, lease.Epoch)
		return now, &forgotten{now.epoch, reason, errors.Join(ErrForgot, fenced(lease, now.epoch))}
	case now.epoch != lease.Epoch || now.holder != lease.Agent.Holder:
		return now, fenced(lease, now.epoch)
	case now.links < known.links:
		reason := fmt.Sprintf("agent %s: the database has %d links of the agent's chain and had %d", lease.Agent, now.links, known.links)
		return now, &forgotten{now.epoch, reason, ErrForgot}
	}
	return now, nil
}

// write runs a transaction of the agent that holds the lease. What the function
// queues is sent with the question how long the chain has become, which is what
// the database is held to from then on. Doing says what it is about.
func (p *Postgres) write(ctx context.Context, lease Lease, doing string, write func(context.Context, pgx.Tx, *pgx.Batch) error) error {
	var links int64
	err := p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		now, err := p.own(ctx, tx, lease)
		if err != nil {
			return err
		}
		if now.forgot != p.memory.of(lease.Agent.UID).told {
			return fmt.Errorf("agent %s: %w: load what it has left first", lease.Agent, ErrForgot)
		}
		links = now.links
		batch := &pgx.Batch{}
		if err := write(ctx, tx, batch); err != nil || batch.Len() == 0 {
			return err
		}
		batch.Queue(`SELECT length FROM trading.chains WHERE agent_uid = $1`, lease.Agent.UID).
			QueryRow(func(row pgx.Row) error { return row.Scan(&links) })
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		return nil
	})
	if err == nil {
		p.memory.advance(lease.Agent.UID, links)
	}
	return p.noted(ctx, lease, err)
}

// noted writes down that the database has forgotten, so that whoever reads it
// next is told, this process or another.
func (p *Postgres) noted(ctx context.Context, lease Lease, err error) error {
	lost, ok := errors.AsType[*forgotten](err)
	if !ok || lost.epoch == 0 {
		return err
	}
	recorded := p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT trading.record_recovery($1, $2, 'Forgot', $3)`, lease.Agent.UID, lost.epoch, lost.reason)
		return err
	})
	if recorded != nil && !errors.Is(recorded, database.ErrUnavailable) {
		// A newer process has the epoch and compares for itself.
		return err
	}
	return errors.Join(err, recorded)
}

// Proven implements Ledger.
func (p *Postgres) Proven(ctx context.Context, lease Lease, what string) error {
	err := p.write(ctx, lease, "recording what was proven", func(_ context.Context, _ pgx.Tx, batch *pgx.Batch) error {
		batch.Queue(`SELECT trading.record_recovery($1, $2, 'Proven', $3)`, lease.Agent.UID, lease.Epoch, what)
		return nil
	})
	if err == nil {
		p.memory.tell(lease.Agent.UID, "")
	}
	return err
}
