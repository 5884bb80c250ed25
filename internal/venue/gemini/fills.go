package gemini

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

// pageSize is the most that Gemini lists of trades at once.
const pageSize = 500

// fullyBroken is a trade that is as if it had never been.
const fullyBroken = "full"

// Fills implements venue.Venue. Gemini lists one symbol at a time, so that each has a
// cursor of its own. Trades may come to light late, so that the list begins anew
// before the cursor, by time.
func (v *Venue) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	cursors, err := parseCursors(cursor, v.listed)
	if err != nil {
		return nil, "", err
	}
	fills := []order.Fill{}
	for _, pair := range v.listed {
		of, next, err := v.fillsOf(ctx, pair, cursors[pair])
		if err != nil {
			return nil, "", err
		}
		fills, cursors[pair] = append(fills, of...), next
	}
	slices.SortStableFunc(fills, func(a, b order.Fill) int { return a.MarketTime.Compare(b.MarketTime) })
	text, err := json.Marshal(cursors)
	if err != nil {
		return nil, "", fmt.Errorf("the cursor cannot be written: %w", err)
	}
	return fills, string(text), nil
}

// parseCursors reads one cursor for each pair.
func parseCursors(text string, pairs []string) (map[string]tally.Cursor, error) {
	cursors := map[string]tally.Cursor{}
	if _, since := venue.SinceOf(text); text == "" || since {
		at, err := tally.ParseCursor(text)
		if err != nil {
			return nil, err
		}
		for _, pair := range pairs {
			cursors[pair] = at
		}
		return cursors, nil
	}
	if err := json.Unmarshal([]byte(text), &cursors); err != nil || cursors == nil {
		return nil, errors.New("the cursor is not one of Gemini's")
	}
	return cursors, nil
}

func (v *Venue) fillsOf(ctx context.Context, pair string, at tally.Cursor) ([]order.Fill, tally.Cursor, error) {
	passed := at.Passed()
	trades, err := v.trades(ctx, pair, at)
	if err != nil {
		return nil, at, err
	}
	var fills []order.Fill
	entries := make([]tally.Entry, 0, len(trades))
	for i := range trades {
		happened, err := trades[i].moment()
		if err != nil {
			return nil, at, err
		}
		entry := tally.Entry{ID: string(trades[i].ID), At: happened}
		entries = append(entries, entry)
		if passed(entry) || trades[i].Break == fullyBroken {
			continue
		}
		fill, err := trades[i].fill(pair, v.spellings.Instruments[pair], func(t *trade) (decimal.Decimal, error) { return v.before(ctx, t) })
		if err != nil {
			return nil, at, err
		}
		if fill.Quantity > 0 {
			fills = append(fills, fill)
		}
	}
	return fills, at.After(entries, settle), nil
}

// trades are all of a pair from a cursor on, oldest first. "To retrieve your full trade
// history" one asks from a time on and goes on from the newest trade of the list
// (https://docs.gemini.com/rest/orders). The lists overlap by a millisecond, because
// several trades may have the same; a full list that does not hold what was listed
// there before leaves something out, and is an error.
func (v *Venue) trades(ctx context.Context, pair string, at tally.Cursor) ([]trade, error) {
	start, known := int64(0), at.Listed
	if !at.From.IsZero() {
		start = at.From.UnixMilli()
	}
	var all []trade
	for {
		var page []trade
		parts := fields{"symbol": v.spellings.Symbols[pair], "limit_trades": pageSize, "timestamp": start}
		if err := v.ask(ctx, "/v1/mytrades", parts, &page); err != nil {
			return nil, err
		}
		if err := sortTrades(page); err != nil {
			return nil, err
		}
		if len(page) >= pageSize && len(known) > 0 && !slices.ContainsFunc(page, func(t trade) bool { return slices.Contains(known, string(t.ID)) }) {
			return nil, fmt.Errorf("%w: Gemini leaves out trades of %s", venue.ErrMalformed, pair)
		}
		all = append(all, page...)
		if len(page) < pageSize {
			return all, nil
		}
		newest, err := page[len(page)-1].moment()
		if err != nil {
			return nil, err
		}
		if newest.UnixMilli() == start {
			return nil, fmt.Errorf("%w: more trades of %s have one time than Gemini lists at once", venue.ErrMalformed, pair)
		}
		start, known = newest.UnixMilli(), []string{string(page[len(page)-1].ID)}
	}
}

// sortTrades puts them in the order in which they happened.
func sortTrades(trades []trade) error {
	moments := make(map[text]time.Time, len(trades))
	for i := range trades {
		if !whole.MatchString(string(trades[i].ID)) {
			return fmt.Errorf("%w: a trade has no id", venue.ErrMalformed)
		}
		at, err := trades[i].moment()
		if err != nil {
			return err
		}
		moments[trades[i].ID] = at
	}
	slices.SortStableFunc(trades, func(a, b trade) int {
		return cmp.Or(moments[a.ID].Compare(moments[b.ID]), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return nil
}

// before is how much of its order was executed before a trade, by the order's own
// list of them.
func (v *Venue) before(ctx context.Context, t *trade) (decimal.Decimal, error) {
	told, err := v.status(ctx, venue.Ref{VenueOrderID: string(t.OrderID)}, true)
	if err != nil {
		return decimal.Zero, err
	}
	if err := sortTrades(told.Trades); err != nil {
		return decimal.Zero, err
	}
	executed, counted := decimal.Zero, map[text]bool{}
	for i := range told.Trades {
		if told.Trades[i].ID == t.ID {
			return executed, nil
		}
		if counted[told.Trades[i].ID] || told.Trades[i].Break == fullyBroken {
			continue
		}
		counted[told.Trades[i].ID] = true
		amount, err := rest.Number("an amount", string(told.Trades[i].Amount))
		if err != nil {
			return decimal.Zero, err
		}
		executed = executed.Add(amount)
	}
	return decimal.Zero, fmt.Errorf("%w: its order %s does not list it", venue.ErrMalformed, t.OrderID)
}
