package kraken

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

const (
	// pageSize of TradesHistory, newest first
	// (https://docs.kraken.com/api-reference/account-data/get-trades-history).
	pageSize = 50
	// mostPages bounds one reading.
	mostPages = 4000
	// mostAsked is how many orders QueryOrders tells of at once.
	mostAsked = 50
	// mostRemembered bounds how many orders are known by Kraken's id.
	mostRemembered = 10_000
)

// Fills implements venue.Venue. Kraken lists trades newest first, so all pages
// since the cursor are read before the first is told. A trade whose order Kraken
// does not show yet is told later.
func (v *Venue) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	at, err := tally.ParseCursor(cursor)
	if err != nil {
		return nil, "", fmt.Errorf("kraken: listing fills: %w", err)
	}
	fills, next, err := v.fills(ctx, at)
	if err != nil {
		return nil, "", fmt.Errorf("kraken: listing fills: %w", err)
	}
	return fills, next.String(), nil
}

func (v *Venue) fills(ctx context.Context, at tally.Cursor) ([]order.Fill, tally.Cursor, error) {
	trades, err := v.trades(ctx, at.From)
	if err != nil {
		return nil, at, err
	}
	passed := at.Passed()
	isTold := func(t *trade) bool { return passed(tally.Entry{ID: t.id, At: t.at}) }
	orders, err := v.ordersOf(ctx, trades, isTold)
	if err != nil {
		return nil, at, err
	}
	if from, back := begin(trades, orders, isTold, at.From); back {
		if trades, err = v.trades(ctx, from); err != nil {
			return nil, at, err
		}
	}
	var entries []tally.Entry
	var fills []order.Fill
	executed := map[string]decimal.Decimal{}
	for _, t := range trades {
		if isTold(t) {
			executed[t.orderID] = executed[t.orderID].Add(t.quantity)
			entries = append(entries, tally.Entry{ID: t.id, At: t.at})
		}
	}
	for _, t := range trades {
		order, shown := orders[t.orderID]
		if isTold(t) || !shown {
			continue
		}
		fill, err := t.fill(order, executed[t.orderID])
		if err != nil {
			return nil, at, err
		}
		executed[t.orderID] = executed[t.orderID].Add(t.quantity)
		entries = append(entries, tally.Entry{ID: t.id, At: t.at})
		if fill.Quantity > 0 {
			fills = append(fills, fill)
		}
	}
	return fills, at.After(entries, 2*settle), nil
}

// fill is the trade in lots, after what its order had executed before.
func (t *trade) fill(of known, before decimal.Decimal) (order.Fill, error) {
	instrument := t.listed.instrument
	quantity, err := tally.Execution(instrument, t.side, before, t.quantity)
	if err != nil {
		return order.Fill{}, fmt.Errorf("%w: trade %s: %w", venue.ErrMalformed, t.id, err)
	}
	return order.Fill{
		Venue: Name, TradeID: t.id, OrderID: of.id, Pair: instrument.Pair, Side: t.side, Quantity: quantity, Price: t.price,
		Fee: t.fee, FeeCurrency: instrument.Quote, MarketTime: t.at,
	}, nil
}

// begin is when the oldest order of a new trade that is not of whole lots was
// opened, if that is before what was read: what such a trade adds in lots depends on
// what its order had executed before.
func begin(trades []*trade, orders map[string]known, isTold func(*trade) bool, from time.Time) (time.Time, bool) {
	back := false
	for _, t := range trades {
		order, shown := orders[t.orderID]
		if t.quantity.Mod(t.listed.instrument.Lot).IsZero() || !shown || isTold(t) || from.IsZero() || !order.opened.Before(from) {
			continue
		}
		from, back = order.opened, true
	}
	return from, back
}

// trades reads all pages of the agent's trades since a time, oldest first. While it
// reads, new trades push older ones back, which are then read twice; none is left
// out.
func (v *Venue) trades(ctx context.Context, since time.Time) ([]*trade, error) {
	if err := v.spell(ctx); err != nil {
		return nil, err
	}
	told := map[string]tradeInfo{}
	form := url.Values{"type": {"all"}, "consolidate_taker": {"false"}}
	if !since.IsZero() {
		// What happened at that very time is left out.
		form.Set("start", strconv.FormatInt(max(since.Unix()-1, 0), 10))
	}
	for offset, pages := 0, 0; ; pages++ {
		if pages == mostPages {
			return nil, fmt.Errorf("there are more than %d trades since %s", mostPages*pageSize, since.UTC().Format(time.RFC3339))
		}
		form.Set("ofs", strconv.Itoa(offset))
		var page struct {
			Trades map[string]tradeInfo `json:"trades"`
			Count  int                  `json:"count"`
		}
		if err := v.session.ask(ctx, "TradesHistory", form, &page); err != nil {
			return nil, err
		}
		if page.Trades == nil {
			return nil, fmt.Errorf("%w: it lists no trades", venue.ErrMalformed)
		}
		maps.Copy(told, page.Trades)
		offset += len(page.Trades)
		if len(page.Trades) == 0 || len(page.Trades) < pageSize && offset >= page.Count {
			return v.understood(told)
		}
	}
}

// understood are the trades in the agent's pairs, oldest first.
func (v *Venue) understood(told map[string]tradeInfo) ([]*trade, error) {
	var trades []*trade
	for id, info := range told {
		listed, ours := v.listings.bySpelling[info.Pair]
		if !ours {
			continue
		}
		read, err := info.read(id, listed)
		if err != nil {
			return nil, err
		}
		trades = append(trades, read)
	}
	slices.SortFunc(trades, func(a, b *trade) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.id, b.id)) })
	return trades, nil
}

// ordersOf are the orders of trades that are new, as far as Kraken shows them. That
// it shows a trade and for long not its order would be a fault.
func (v *Venue) ordersOf(ctx context.Context, trades []*trade, isTold func(*trade) bool) (map[string]known, error) {
	orders, asked := map[string]known{}, []string{}
	v.mu.Lock()
	for _, t := range trades {
		if order, ok := v.orders[t.orderID]; ok {
			orders[t.orderID] = order
		} else if !isTold(t) {
			asked = append(asked, t.orderID)
		}
	}
	v.mu.Unlock()
	slices.Sort(asked)
	for ids := range slices.Chunk(slices.Compact(asked), mostAsked) {
		if err := v.query(ctx, ids, orders); err != nil {
			return nil, err
		}
	}
	for _, t := range trades {
		if _, shown := orders[t.orderID]; !shown && !isTold(t) && v.now().Sub(t.at) > settle {
			return nil, fmt.Errorf("%w: it tells of trade %s and not of its order %s", venue.ErrMalformed, t.id, t.orderID)
		}
	}
	return orders, nil
}

// query asks for orders by Kraken's ids.
func (v *Venue) query(ctx context.Context, ids []string, into map[string]known) error {
	var told map[string]orderInfo
	err := v.session.ask(ctx, "QueryOrders", url.Values{"txid": {strings.Join(ids, ",")}}, &told)
	if said, ok := asSaid(err); ok && said.unknown() {
		return nil // none of them shows yet
	}
	if err != nil {
		return err
	}
	for id, info := range told {
		opened, err := moment(info.Opened)
		if err != nil {
			return fmt.Errorf("order %s: %w", id, err)
		}
		into[id] = known{rest.OwnID(info.ClientID), opened}
		v.learn(id, into[id])
	}
	return nil
}
