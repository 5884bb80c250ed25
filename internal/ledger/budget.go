package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Claim is how much an agent wants of a total that binds several agents.
type Claim struct {
	// Scope names the total; every agent that it binds uses the same.
	Scope string
	// Total that all shares together may come to.
	Total market.Money
	// Want is what the agent's share shall be; not negative.
	Want market.Money
}

// checkedClaims returns the claims in the order of their scopes, in which they
// are locked.
func checkedClaims(claims []Claim) ([]Claim, error) {
	sorted := slices.SortedFunc(slices.Values(claims), func(a, b Claim) int { return cmp.Compare(a.Scope, b.Scope) })
	for i := range sorted {
		switch {
		case sorted[i].Scope == "" || sorted[i].Want < 0:
			return nil, fmt.Errorf("a claim of %s on %q needs a scope and must not be negative", sorted[i].Want, sorted[i].Scope)
		case i > 0 && sorted[i-1].Scope == sorted[i].Scope:
			return nil, fmt.Errorf("%q is claimed twice", sorted[i].Scope)
		}
	}
	return sorted, nil
}

// Fund implements Ledger.
func (p *Postgres) Fund(ctx context.Context, lease Lease, claims []Claim) (map[string]market.Money, error) {
	claims, err := checkedClaims(claims)
	if err != nil {
		return nil, err
	}
	var shares map[string]market.Money
	err = p.write(ctx, lease, step{write: func(ctx context.Context, tx pgx.Tx, _ *pgx.Batch) error {
		shares = make(map[string]market.Money, len(claims))
		scopes := make([]string, 0, len(claims))
		for _, claim := range claims {
			var share market.Money
			err := tx.QueryRow(ctx, `SELECT (trading.fund($1, $2, $3, $4::text::numeric, $5::text::numeric) * 100000000)::bigint`,
				lease.Agent.UID, lease.Epoch, claim.Scope, claim.Total.String(), claim.Want.String()).Scan((*int64)(&share))
			if err != nil {
				return fmt.Errorf("claiming %s of %s: %w", claim.Want, claim.Scope, err)
			}
			shares[claim.Scope] = share
			scopes = append(scopes, claim.Scope)
		}
		if _, err := tx.Exec(ctx, `SELECT trading.give_back($1, $2, $3)`, lease.Agent.UID, lease.Epoch, scopes); err != nil {
			return fmt.Errorf("giving back shares of agent %s: %w", lease.Agent, err)
		}
		return nil
	}})
	return shares, err
}

func loadShares(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	rows, err := tx.Query(ctx, `SELECT scope, (amount * 100000000)::bigint FROM trading.shares WHERE agent_uid = $1`, lease.Agent.UID)
	if err != nil {
		return err
	}
	var scope string
	var share market.Money
	_, err = pgx.ForEachRow(rows, []any{&scope, (*int64)(&share)}, func() error {
		s.Shares[scope] = share
		return nil
	})
	return err
}

// inherit gives the shares of an agent that is gone to the one that has taken
// over the last of its positions: what is held never leaves the total.
func inherit(ctx context.Context, tx pgx.Tx, lease Lease, from string) error {
	_, err := tx.Exec(ctx, `SELECT trading.inherit($1, $2, $3)`, lease.Agent.UID, lease.Epoch, from)
	if err != nil {
		return fmt.Errorf("taking over the shares of an agent that is gone: %w", err)
	}
	return nil
}

// memoryBudgets are the shares by scope and agent.
type memoryBudgets map[string]map[string]market.Money

// fund gives an agent as much as it wants and as is left.
func (b memoryBudgets) fund(agentUID string, claim Claim) market.Money {
	shares := b[claim.Scope]
	if shares == nil {
		shares = map[string]market.Money{}
		b[claim.Scope] = shares
	}
	free := claim.Total
	for _, share := range shares {
		free -= share
	}
	granted := min(claim.Want, shares[agentUID]+max(free, 0))
	b.set(claim.Scope, agentUID, granted)
	return granted
}

func (b memoryBudgets) set(scope, agentUID string, share market.Money) {
	if share > 0 {
		b[scope][agentUID] = share
	} else {
		delete(b[scope], agentUID)
	}
}

func (b memoryBudgets) of(agentUID string) map[string]market.Money {
	own := map[string]market.Money{}
	for scope, shares := range b {
		if share := shares[agentUID]; share > 0 {
			own[scope] = share
		}
	}
	return own
}

// move gives all shares of one agent to another; to nobody if that is empty.
func (b memoryBudgets) move(from, to string) {
	for scope, share := range b.of(from) {
		b.set(scope, from, 0)
		if to != "" {
			b.set(scope, to, b[scope][to]+share)
		}
	}
}

// Fund implements Ledger.
func (m *Memory) Fund(_ context.Context, lease Lease, claims []Claim) (map[string]market.Money, error) {
	claims, err := checkedClaims(claims)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.owned(lease); err != nil {
		return nil, err
	}
	shares := make(map[string]market.Money, len(claims))
	for _, claim := range claims {
		shares[claim.Scope] = m.budgets.fund(lease.Agent.UID, claim)
	}
	for scope := range m.budgets.of(lease.Agent.UID) {
		if _, claimed := shares[scope]; !claimed {
			m.budgets.set(scope, lease.Agent.UID, 0)
		}
	}
	return shares, nil
}

// holds reports whether an agent has any claims left.
func (m *Memory) holds(agentUID string) bool {
	for _, held := range m.claims {
		if held.agentUID == agentUID {
			return true
		}
	}
	return false
}
