package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// VenueAccounts is the ledger's memory of the accounts at venues that agents trade
// on. It is no part of Ledger, because whose account a key is for is settled before an
// agent has an epoch.
type VenueAccounts interface {
	// BindVenueAccount records on which account at its venue, by the venue's own id, an
	// agent trades. The first one counts for ever, and is returned.
	BindVenueAccount(ctx context.Context, agentUID, id string) (string, error)
}

var (
	_ VenueAccounts = (*Postgres)(nil)
	_ VenueAccounts = (*Memory)(nil)
)

var errNoVenueAccount = errors.New("binding an agent to an account at its venue needs both their ids")

// BindVenueAccount implements VenueAccounts.
func (p *Postgres) BindVenueAccount(ctx context.Context, agentUID, id string) (string, error) {
	if agentUID == "" || id == "" {
		return "", errNoVenueAccount
	}
	var first string
	err := p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT trading.bind_venue_account($1, $2)`, agentUID, id).Scan(&first); err != nil {
			return fmt.Errorf("binding agent %s to its account at the venue: %w", agentUID, err)
		}
		return nil
	})
	return first, err
}

// BindVenueAccount implements VenueAccounts.
func (m *Memory) BindVenueAccount(_ context.Context, agentUID, id string) (string, error) {
	if agentUID == "" || id == "" {
		return "", errNoVenueAccount
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.venueAccounts == nil {
		m.venueAccounts = map[string]string{}
	}
	if first, known := m.venueAccounts[agentUID]; known {
		return first, nil
	}
	m.venueAccounts[agentUID] = id
	return id, nil
}
