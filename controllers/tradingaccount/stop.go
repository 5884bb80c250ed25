package tradingaccount

import (
	"context"
	"errors"
	"fmt"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// Stop has an account's venue cancel every open order in pairs, whoever placed it. It
// fails with errors.ErrUnsupported where the account is at no real venue.
func (v *Venues) Stop(ctx context.Context, account *v1alpha1.TradingAccount, pairs []*v1alpha1.AssetPair) error {
	access := account.Access()
	if access == nil {
		return fmt.Errorf("venue %s has no controls of its own: %w", account.Spec.Venue, errors.ErrUnsupported)
	}
	credentials, _, err := v.credentials(ctx, account)
	if err != nil {
		return err
	}
	opening := venues.Account{Venue: account.Spec.Venue, Environment: access.Environment}
	if known := account.Status.VenueAccount; known != nil {
		opening.ID = known.ID
	}
	names := make([]string, len(pairs))
	for i, pair := range pairs {
		instrument, err := instrumentOf(pair)
		if err != nil {
			return fmt.Errorf("AssetPair %q: %w", pair.Name, err)
		}
		opening.Instruments = append(opening.Instruments, instrument)
		names[i] = instrument.Pair
	}
	opened, err := v.Real.Open(opening, credentials)
	if err != nil {
		return err
	}
	defer opened.Close()
	return opened.CancelAll(ctx, names)
}

func instrumentOf(pair *v1alpha1.AssetPair) (market.Instrument, error) {
	tick, tickErr := decimal.NewFromString(string(pair.Spec.TickSize))
	lot, lotErr := decimal.NewFromString(string(pair.Spec.LotSize))
	if err := errors.Join(tickErr, lotErr); err != nil {
		return market.Instrument{}, err
	}
	return market.NewInstrument(string(pair.Spec.Base), string(pair.Spec.Quote), tick, lot, decimal.Zero)
}
