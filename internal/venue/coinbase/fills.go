package coinbase

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

// Fills implements venue.Venue. Coinbase lists them newest first, and each may come
// to light late by settle at most, so that every list begins before the last one's
// end and leaves out what was told.
func (v *Venue) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	at, err := tally.ParseCursor(cursor)
	if err != nil {
		return nil, "", fmt.Errorf("coinbase: %w", err)
	}
	if len(v.spellings.Symbols) == 0 {
		return nil, cursor, nil
	}
	query := url.Values{"product_ids": slices.Sorted(maps.Values(v.spellings.Symbols))}
	if !at.From.IsZero() {
		query.Set("start_sequence_timestamp", stamp(at.From.Add(-time.Second)))
	}
	listed, err := v.listed(ctx, query)
	if err != nil {
		return nil, "", fmt.Errorf("listing fills at Coinbase: %w", err)
	}
	// Coinbase is asked for a second more, because it does not say whether a list
	// begins with the time or behind it; what was told there is passed over.
	entries, passed := make([]tally.Entry, len(listed)), at.Passed()
	for i, fill := range listed {
		entries[i] = fill.entry()
	}
	listed = slices.DeleteFunc(listed, func(f *listedFill) bool { return passed(f.entry()) })
	if err := v.assign(ctx, listed); err != nil {
		return nil, "", fmt.Errorf("finding the orders of fills at Coinbase: %w", err)
	}
	fills := make([]order.Fill, 0, len(listed))
	for _, fill := range listed {
		if err := v.count(ctx, fill); err != nil {
			return nil, "", fmt.Errorf("counting a fill at Coinbase: %w", err)
		}
		if fill.Quantity > 0 {
			fills = append(fills, fill.Fill)
		}
	}
	return fills, at.After(entries, settle).String(), nil
}

// listed are the fills that a query finds, oldest first and each once.
func (v *Venue) listed(ctx context.Context, query url.Values) ([]*listedFill, error) {
	seen := map[string]bool{}
	var listed []*listedFill
	err := v.pages(ctx, "/orders/historical/fills", query, func(told *pageTold) (more, goOn bool, err error) {
		if told.Fills == nil {
			return false, false, fmt.Errorf("%w: it is no page of fills", venue.ErrMalformed)
		}
		for i := range *told.Fills {
			fill, err := v.readFill(&(*told.Fills)[i])
			if err != nil {
				return false, false, err
			}
			if !seen[fill.TradeID] {
				seen[fill.TradeID] = true
				listed = append(listed, fill)
			}
		}
		// A list of fills says nothing but where it goes on.
		return told.Cursor != "", true, nil
	})
	slices.SortFunc(listed, func(a, b *listedFill) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.TradeID, b.TradeID))
	})
	return listed, err
}

// count tells how many lots a fill adds to those of its order. Where it is not a
// whole number of them, because the pair's lot is coarser than Coinbase's, that
// depends on what was filled before.
func (v *Venue) count(ctx context.Context, fill *listedFill) error {
	instrument, before := v.spellings.Instruments[fill.Pair], decimal.Zero
	if !fill.size.Mod(instrument.Lot).IsZero() {
		others, err := v.listed(ctx, url.Values{"order_ids": {fill.orderID}})
		if err != nil {
			return err
		}
		at := slices.IndexFunc(others, func(other *listedFill) bool { return other.TradeID == fill.TradeID })
		if at < 0 {
			return fmt.Errorf("%w: fill %s is not among those of its order", venue.ErrMalformed, fill.TradeID)
		}
		for _, earlier := range others[:at] {
			before = before.Add(earlier.size)
		}
	}
	var err error
	fill.Quantity, err = tally.Execution(instrument, fill.Side, before, fill.size)
	return err
}

// assign finds out whose the orders of fills are.
func (v *Venue) assign(ctx context.Context, fills []*listedFill) error {
	var unknown []string
	asked := map[string]bool{}
	for _, fill := range fills {
		if _, known := v.known(fill.orderID); !known && !asked[fill.orderID] {
			asked[fill.orderID] = true
			unknown = append(unknown, fill.orderID)
		}
	}
	owners := map[string]uuid.UUID{}
	for ids := range slices.Chunk(unknown, idsPerQuestion) {
		err := v.eachOrder(ctx, url.Values{"order_ids": ids}, func(o *venue.Order) bool {
			owners[o.VenueOrderID] = o.ID
			return true
		})
		if err != nil {
			return err
		}
	}
	for _, fill := range fills {
		owner, known := owners[fill.orderID]
		if !known {
			owner, known = v.known(fill.orderID)
		}
		if !known {
			return fmt.Errorf("%w: there are fills of order %s, and it is not listed", venue.ErrMalformed, fill.orderID)
		}
		fill.OrderID = owner
	}
	return nil
}

// accountTold is what is held of a currency.
type accountTold struct {
	Currency  string      `json:"currency"`
	Available *amountTold `json:"available_balance"`
	Hold      *amountTold `json:"hold"`
}

type amountTold struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

// Balances implements venue.Balancer.
func (v *Venue) Balances(ctx context.Context) ([]venue.Balance, error) {
	held := map[string]venue.Balance{}
	err := v.pages(ctx, "/accounts", url.Values{}, func(told *pageTold) (more, goOn bool, err error) {
		if told.Accounts == nil || told.HasNext == nil {
			return false, false, fmt.Errorf("%w: it is no page of accounts", venue.ErrMalformed)
		}
		for _, account := range *told.Accounts {
			available, err := account.amount("available_balance", account.Available)
			if err != nil {
				return false, false, err
			}
			hold, err := account.amount("hold", account.Hold)
			if err != nil {
				return false, false, err
			}
			// One currency may be in several of Coinbase's accounts.
			balance := held[account.Currency]
			held[account.Currency] = venue.Balance{
				Currency: account.Currency, Available: balance.Available.Add(available), Total: balance.Total.Add(available).Add(hold),
			}
		}
		return *told.HasNext, true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("asking for balances at Coinbase: %w", err)
	}
	balances := slices.Collect(maps.Values(held))
	slices.SortFunc(balances, func(a, b venue.Balance) int { return strings.Compare(a.Currency, b.Currency) })
	return balances, nil
}

func (a *accountTold) amount(name string, told *amountTold) (decimal.Decimal, error) {
	if told == nil || a.Currency == "" || told.Currency != a.Currency {
		return decimal.Zero, fmt.Errorf("%w: an account's %s is missing, or in another currency", venue.ErrMalformed, name)
	}
	return rest.Number(name+" of an account", told.Value)
}

// Cancel implements venue.Venue.
func (v *Venue) Cancel(ctx context.Context, ref venue.Ref) error {
	if ref.VenueOrderID == "" {
		found, err := v.Lookup(ctx, ref)
		if err != nil || found.State.Final() {
			return err
		}
		ref.VenueOrderID = found.VenueOrderID
	}
	refused, err := v.cancel(ctx, []string{ref.VenueOrderID})
	if err != nil || len(refused) == 0 {
		return err
	}
	// Coinbase also refuses what is final; what it does not know is not found.
	found, err := v.Lookup(ctx, ref)
	if err != nil {
		return err
	}
	if !found.State.Final() {
		return fmt.Errorf("cancelling order %s at Coinbase: it is open and is not cancelled", ref.ID)
	}
	return nil
}

// cancel asks for orders to be cancelled and returns those that are not.
func (v *Venue) cancel(ctx context.Context, ids []string) (refused []string, err error) {
	body, err := json.Marshal(map[string][]string{"order_ids": ids})
	if err != nil {
		return nil, err
	}
	request := v.session.request(http.MethodPost, apiPath+"/orders/batch_cancel", nil)
	request.Body = body
	answer, err := v.session.client.Cancel(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("cancelling orders at Coinbase: %w", err)
	}
	if answer.Status != http.StatusOK {
		return nil, fmt.Errorf("cancelling orders at Coinbase: %w", questionError(answer))
	}
	var told struct {
		Results []struct {
			Success *bool  `json:"success"`
			OrderID string `json:"order_id"`
		} `json:"results"`
	}
	if err := answer.Decode(&told); err != nil {
		return nil, err
	}
	cancelled := map[string]bool{}
	for _, result := range told.Results {
		if result.Success == nil || !slices.Contains(ids, result.OrderID) {
			return nil, fmt.Errorf("%w: it does not say what became of each order", venue.ErrMalformed)
		}
		cancelled[result.OrderID] = *result.Success
	}
	if len(cancelled) != len(ids) {
		return nil, fmt.Errorf("%w: it does not say what became of each order", venue.ErrMalformed)
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return cancelled[id] }), nil
}

// cancelRounds is how often CancelAll looks for orders that are left: some may
// come to light late.
const cancelRounds = 4

// CancelAll implements venue.Stopper: Coinbase has nothing for it but to cancel
// what is listed.
func (v *Venue) CancelAll(ctx context.Context, pairs []string) error {
	for range cancelRounds {
		open, err := v.open(ctx, pairs)
		if err != nil || len(open) == 0 {
			return err
		}
		for chunk := range slices.Chunk(open, pageSize) {
			ids := make([]string, len(chunk))
			for i := range chunk {
				ids[i] = chunk[i].VenueOrderID
			}
			if _, err := v.cancel(ctx, ids); err != nil {
				return err
			}
		}
	}
	open, err := v.open(ctx, pairs)
	if err == nil && len(open) > 0 {
		err = fmt.Errorf("%d orders at Coinbase are still open", len(open))
	}
	return err
}

// CancelAllAfter implements venue.Stopper: Coinbase has no such switch for REST.
func (v *Venue) CancelAllAfter(context.Context, time.Duration) error {
	return fmt.Errorf("coinbase has no dead-man switch: %w", errors.ErrUnsupported)
}
