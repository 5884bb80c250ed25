package alpaca

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

// activityID is the shape of an activity's id: a time, and a UUID.
var activityID = regexp.MustCompile(`^[0-9]{8,20}::[-0-9A-Za-z]{1,64}$`)

// pageSize is the most that Alpaca lists of activities at once.
const pageSize = 100

// mostRemembered bounds how many orders' ids are kept.
const mostRemembered = 10_000

// execution is an activity of the type FILL
// (https://docs.alpaca.markets/reference/getaccountactivitiesbytype-1).
type execution struct {
	ID         string `json:"id"`
	At         string `json:"transaction_time"`
	Price      string `json:"price"`
	Quantity   string `json:"qty"`
	Cumulative string `json:"cum_qty"`
	Side       string `json:"side"`
	Symbol     string `json:"symbol"`
	OrderID    string `json:"order_id"`
}

// Fills implements venue.Venue. Executions of one millisecond are in no order at
// Alpaca (https://github.com/alpacahq/Alpaca-API/issues/170), and may come to light
// late, so that the list begins anew before the cursor, by time.
func (v *Venue) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	at, err := tally.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	told, err := v.executions(ctx, at.From)
	if err != nil {
		return nil, "", err
	}
	passed := at.Passed()
	fills, entries := []order.Fill{}, make([]tally.Entry, 0, len(told))
	for i := range told {
		happened, err := moment(told[i].At)
		if err != nil || !activityID.MatchString(told[i].ID) {
			return nil, "", fmt.Errorf("%w: an execution has no id or time", venue.ErrMalformed)
		}
		entry := tally.Entry{ID: told[i].ID, At: happened}
		entries = append(entries, entry)
		pair, traded := v.spellings.Pairs[joined(told[i].Symbol)]
		if passed(entry) || !traded {
			continue
		}
		fill, err := v.fill(ctx, &told[i], pair, happened)
		if err != nil {
			return nil, "", err
		}
		if fill.Quantity > 0 {
			fills = append(fills, fill)
		}
	}
	slices.SortStableFunc(fills, func(a, b order.Fill) int {
		return cmp.Or(a.MarketTime.Compare(b.MarketTime), cmp.Compare(a.TradeID, b.TradeID))
	})
	return fills, at.After(entries, settle).String(), nil
}

// executions are all from a time on, page by page.
func (v *Venue) executions(ctx context.Context, from time.Time) ([]execution, error) {
	query := url.Values{"direction": {"asc"}, "page_size": {strconv.Itoa(pageSize)}}
	if !from.IsZero() {
		// What happened at that very time is left out.
		query.Set("after", from.Add(-time.Millisecond).Format(time.RFC3339Nano))
	}
	var all []execution
	for {
		var page []execution
		if err := v.ask(ctx, "/v2/account/activities/FILL", query, &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < pageSize {
			return all, nil
		}
		last := page[len(page)-1].ID
		if last == query.Get("page_token") {
			return nil, fmt.Errorf("%w: a page of executions ends where it began", venue.ErrMalformed)
		}
		query.Set("page_token", last)
	}
}

func (v *Venue) fill(ctx context.Context, told *execution, pair string, at time.Time) (order.Fill, error) {
	fill, err := v.readFill(told, pair, at)
	if err != nil {
		return order.Fill{}, fmt.Errorf("execution %s: %w", told.ID, err)
	}
	if fill.OrderID, err = v.clientID(ctx, told.OrderID); err != nil {
		return order.Fill{}, fmt.Errorf("execution %s: %w", told.ID, err)
	}
	return fill, nil
}

// readFill understands an execution, all but whose order it is of.
func (v *Venue) readFill(told *execution, pair string, at time.Time) (order.Fill, error) {
	instrument := v.spellings.Instruments[pair]
	side, err := sideOf(told.Side)
	if err != nil {
		return order.Fill{}, err
	}
	quantity, err := rest.Number("its quantity", told.Quantity)
	if err != nil {
		return order.Fill{}, err
	}
	cumulative, err := rest.Number("its order's quantity", told.Cumulative)
	if err != nil {
		return order.Fill{}, err
	}
	price, err := rest.Number("its price", told.Price)
	if err != nil {
		return order.Fill{}, err
	}
	if cumulative.LessThan(quantity) {
		return order.Fill{}, fmt.Errorf("%w: it is larger than its order", venue.ErrMalformed)
	}
	fill := order.Fill{Venue: Name, TradeID: told.ID, Pair: pair, Side: side, MarketTime: at}
	var uncountable [3]error
	fill.Quantity, uncountable[0] = tally.Execution(instrument, side, cumulative.Sub(quantity), quantity)
	fill.Price, uncountable[1] = tally.Price(instrument, side, price)
	// Of the exact price: a fee on less than was paid is not the most that it can be.
	fill.Fee, fill.FeeCurrency, uncountable[2] = feeOf(instrument, side, quantity, price)
	if err := errors.Join(uncountable[:]...); err != nil {
		return order.Fill{}, fmt.Errorf("%w: %w", venue.ErrMalformed, err)
	}
	return fill, nil
}

// remember keeps an order's client id, which executions do not tell.
func (v *Venue) remember(o *venue.Order) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.clientIDs) >= mostRemembered {
		clear(v.clientIDs)
	}
	v.clientIDs[o.VenueOrderID] = o.ID
}

// clientID of an order at Alpaca; uuid.Nil if it is not ours.
func (v *Venue) clientID(ctx context.Context, id string) (uuid.UUID, error) {
	v.mu.Lock()
	known, ok := v.clientIDs[id]
	v.mu.Unlock()
	if ok {
		return known, nil
	}
	if !orderID.MatchString(id) {
		return uuid.Nil, fmt.Errorf("%w: its order has no id", venue.ErrMalformed)
	}
	answer, err := v.client.Ask(ctx, v.request(http.MethodGet, "/v2/orders/"+id, nil))
	if err != nil {
		return uuid.Nil, err
	}
	if answer.Status != http.StatusOK {
		return uuid.Nil, question(answer)
	}
	var told orderTold
	if err := answer.Decode(&told); err != nil {
		return uuid.Nil, err
	}
	o, err := v.read(&told)
	if err == nil && o.VenueOrderID != id {
		err = fmt.Errorf("%w: it tells of another order than %s", venue.ErrMalformed, id)
	}
	return o.ID, err
}
