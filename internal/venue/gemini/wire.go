package gemini

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

// text is a JSON string, or a number as it is written: Gemini has some both ways.
type text string

// UnmarshalJSON reads either.
func (t *text) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if len(data) > 0 && data[0] == '"' {
		var word string
		if err := json.Unmarshal(data, &word); err != nil {
			return err
		}
		*t = text(word)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(data, &number); err != nil {
		return err
	}
	*t = text(number)
	return nil
}

// whole is the shape of Gemini's ids and times.
var whole = regexp.MustCompile(`^[0-9]{1,20}$`)

// orderTold is an order as Gemini tells of it (https://docs.gemini.com/rest/orders).
type orderTold struct {
	ID            text    `json:"order_id"`
	ClientOrderID string  `json:"client_order_id"`
	Symbol        string  `json:"symbol"`
	Side          string  `json:"side"`
	Live          *bool   `json:"is_live"`
	Cancelled     *bool   `json:"is_cancelled"`
	Executed      text    `json:"executed_amount"`
	Original      text    `json:"original_amount"`
	Trades        []trade `json:"trades"`
}

// trade is one execution, as /v1/mytrades tells of it, and an order's status less
// fully.
type trade struct {
	ID            text   `json:"tid"`
	OrderID       text   `json:"order_id"`
	ClientOrderID string `json:"client_order_id"`
	Symbol        string `json:"symbol"`
	At            text   `json:"timestampms"`
	Side          string `json:"type"`
	Price         text   `json:"price"`
	Amount        text   `json:"amount"`
	Fee           text   `json:"fee_amount"`
	FeeCurrency   string `json:"fee_currency"`
	Break         string `json:"break"`
}

// read understands an order of one of the agent's pairs.
func (v *Venue) read(told *orderTold) (venue.Order, error) {
	pair, traded := v.spellings.Pairs[strings.ToLower(told.Symbol)]
	switch {
	case !whole.MatchString(string(told.ID)):
		return venue.Order{}, fmt.Errorf("%w: an order has no id", venue.ErrMalformed)
	case !traded:
		return venue.Order{}, fmt.Errorf("%w: order %s is of a pair that is not the agent's", venue.ErrMalformed, told.ID)
	case told.Live == nil || told.Cancelled == nil:
		return venue.Order{}, fmt.Errorf("%w: of order %s it is not said whether it is live or cancelled", venue.ErrMalformed, told.ID)
	}
	side, err := sideOf(told.Side)
	if err != nil {
		return venue.Order{}, fmt.Errorf("order %s: %w", told.ID, err)
	}
	executed, err := rest.Number("the executed amount", string(told.Executed))
	if err != nil {
		return venue.Order{}, fmt.Errorf("order %s: %w", told.ID, err)
	}
	original, err := rest.Number("the original amount", string(told.Original))
	if err != nil {
		return venue.Order{}, fmt.Errorf("order %s: %w", told.ID, err)
	}
	filled, err := tally.Filled(v.spellings.Instruments[pair], side, executed)
	if err != nil {
		return venue.Order{}, fmt.Errorf("%w: order %s: %w", venue.ErrMalformed, told.ID, err)
	}
	o := venue.Order{ID: rest.OwnID(told.ClientOrderID), VenueOrderID: string(told.ID), Pair: pair, State: order.Cancelled, Filled: filled}
	switch {
	case *told.Live:
		o.State = order.Acked
	case executed.GreaterThanOrEqual(original):
		o.State = order.Filled
	}
	return o, nil
}

// before is how much of its order was executed before a trade. It is asked for only
// where a trade is not of whole lots.
type before func(t *trade) (decimal.Decimal, error)

// fill understands a trade. A quantity of zero is one that completes no lot.
func (t *trade) fill(pair string, instrument market.Instrument, earlier before) (order.Fill, error) {
	at, err := t.moment()
	if err != nil || !whole.MatchString(string(t.ID)) || !whole.MatchString(string(t.OrderID)) {
		return order.Fill{}, fmt.Errorf("%w: a trade has no id, order or time", venue.ErrMalformed)
	}
	side, err := sideOf(t.Side)
	if err != nil {
		return order.Fill{}, fmt.Errorf("trade %s: %w", t.ID, err)
	}
	amount, err := rest.Number("its amount", string(t.Amount))
	if err != nil {
		return order.Fill{}, fmt.Errorf("trade %s: %w", t.ID, err)
	}
	price, err := rest.Number("its price", string(t.Price))
	if err != nil {
		return order.Fill{}, fmt.Errorf("trade %s: %w", t.ID, err)
	}
	executed := decimal.Zero
	if !amount.Mod(instrument.Lot).IsZero() {
		if executed, err = earlier(t); err != nil {
			return order.Fill{}, fmt.Errorf("trade %s: %w", t.ID, err)
		}
	}
	fill := order.Fill{
		Venue: Name, TradeID: string(t.ID), OrderID: rest.OwnID(t.ClientOrderID), Pair: pair, Side: side,
		FeeCurrency: strings.ToUpper(t.FeeCurrency), MarketTime: at,
	}
	if fill.Quantity, err = tally.Execution(instrument, side, executed, amount); err != nil {
		return order.Fill{}, fmt.Errorf("%w: trade %s: %w", venue.ErrMalformed, t.ID, err)
	}
	if fill.Price, err = tally.Price(instrument, side, price); err != nil {
		return order.Fill{}, fmt.Errorf("%w: trade %s: %w", venue.ErrMalformed, t.ID, err)
	}
	if fill.Fee, err = t.fee(fill.FeeCurrency); err != nil {
		return order.Fill{}, fmt.Errorf("trade %s: %w", t.ID, err)
	}
	return fill, nil
}

var currencyName = regexp.MustCompile(`^[A-Z0-9]{1,16}$`)

// fee may be a rebate.
func (t *trade) fee(currency string) (market.Money, error) {
	if !currencyName.MatchString(currency) {
		return 0, fmt.Errorf("%w: its fee has no currency", venue.ErrMalformed)
	}
	amount, err := rest.Signed("its fee", string(t.Fee))
	if err != nil {
		return 0, err
	}
	fee, err := market.MoneyOf(amount)
	if err != nil {
		return 0, fmt.Errorf("%w: its fee cannot be counted", venue.ErrMalformed)
	}
	return fee, nil
}

// moment of a trade.
func (t *trade) moment() (time.Time, error) { return momentOf(t.At) }

// lastMillisecond is the end of the year 9999.
const lastMillisecond = 253_402_300_799_999

func momentOf(milliseconds text) (time.Time, error) {
	value, err := json.Number(milliseconds).Int64()
	if err != nil || value <= 0 || value > lastMillisecond {
		return time.Time{}, fmt.Errorf("%w: a time is not one", venue.ErrMalformed)
	}
	return time.UnixMilli(value).UTC(), nil
}

func sideWord(side order.Side) string {
	if side == order.Buy {
		return "buy"
	}
	return "sell"
}

func sideOf(word string) (order.Side, error) {
	switch strings.ToLower(word) {
	case "buy":
		return order.Buy, nil
	case "sell":
		return order.Sell, nil
	}
	return 0, fmt.Errorf("%w: it is neither buy nor sell", venue.ErrMalformed)
}
