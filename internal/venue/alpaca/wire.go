package alpaca

import (
	"fmt"
	"regexp"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

// orderID is the shape of Alpaca's own ids.
var orderID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// orderTold is an order as Alpaca tells of it
// (https://docs.alpaca.markets/reference/getorderbyorderid).
type orderTold struct {
	ID            string `json:"id"`
	ClientOrderID string `json:"client_order_id"`
	Symbol        string `json:"symbol"`
	Side          string `json:"side"`
	Quantity      string `json:"qty"`
	Filled        string `json:"filled_qty"`
	Status        string `json:"status"`
}

// states of Alpaca's words (https://docs.alpaca.markets/docs/orders-at-alpaca). An
// order that is rejected after it was accepted is one that ended without a fill. One
// that is replaced, which only a person can do, has ended; what is in its place is
// not ours.
var states = map[string]order.State{
	"new": order.Acked, "partially_filled": order.Acked, "accepted": order.Acked, "pending_new": order.Acked,
	"accepted_for_bidding": order.Acked, "pending_cancel": order.Acked, "pending_replace": order.Acked, "held": order.Acked,
	"done_for_day": order.Acked, "stopped": order.Acked, "suspended": order.Acked, "calculated": order.Acked,
	"filled":   order.Filled,
	"canceled": order.Cancelled, "expired": order.Cancelled, "rejected": order.Cancelled, "replaced": order.Cancelled,
}

// read understands an order of one of the agent's pairs.
func (v *Venue) read(told *orderTold) (venue.Order, error) {
	pair, traded := v.spellings.Pairs[joined(told.Symbol)]
	state, known := states[told.Status]
	switch {
	case !orderID.MatchString(told.ID):
		return venue.Order{}, fmt.Errorf("%w: an order has no id", venue.ErrMalformed)
	case !traded:
		return venue.Order{}, fmt.Errorf("%w: order %s is of a pair that is not the agent's", venue.ErrMalformed, told.ID)
	case !known:
		return venue.Order{}, fmt.Errorf("%w: order %s is in a state that is not known", venue.ErrMalformed, told.ID)
	}
	side, err := sideOf(told.Side)
	if err != nil {
		return venue.Order{}, fmt.Errorf("order %s: %w", told.ID, err)
	}
	executed, err := rest.Number("the filled quantity", told.Filled)
	if err != nil {
		return venue.Order{}, fmt.Errorf("order %s: %w", told.ID, err)
	}
	filled, err := tally.Filled(v.spellings.Instruments[pair], side, executed)
	if err != nil {
		return venue.Order{}, fmt.Errorf("%w: order %s: %w", venue.ErrMalformed, told.ID, err)
	}
	o := venue.Order{ID: rest.OwnID(told.ClientOrderID), VenueOrderID: told.ID, Pair: pair, State: state, Filled: filled}
	v.remember(&o)
	return o, nil
}

func sideWord(side order.Side) string {
	if side == order.Buy {
		return "buy"
	}
	return "sell"
}

func sideOf(word string) (order.Side, error) {
	switch word {
	case "buy":
		return order.Buy, nil
	case "sell":
		return order.Sell, nil
	}
	return 0, fmt.Errorf("%w: it is neither buy nor sell", venue.ErrMalformed)
}

func moment(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() < 2000 || at.Year() > 9000 {
		return time.Time{}, fmt.Errorf("%w: a time is not one", venue.ErrMalformed)
	}
	return at.UTC(), nil
}
