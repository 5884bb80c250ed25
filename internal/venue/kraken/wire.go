package kraken

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

// envelope is what every answer of Kraken comes in.
type envelope struct {
	Errors []string        `json:"error"`
	Result json.RawMessage `json:"result"`
}

// open reads an answer. It fails with a *saidError where Kraken says no, and
// with venue.ErrMalformed where it says nothing that can be understood.
func open(answer []byte, into any) error {
	var got envelope
	if json.Unmarshal(answer, &got) != nil {
		return fmt.Errorf("%w: it is not the JSON that was asked for", venue.ErrMalformed)
	}
	if said := saidErrors(got.Errors); said != nil {
		return said
	}
	if len(got.Result) == 0 || string(got.Result) == "null" {
		return fmt.Errorf("%w: it has neither result nor error", venue.ErrMalformed)
	}
	if json.Unmarshal(got.Result, into) != nil {
		return fmt.Errorf("%w: its result is not what was asked for", venue.ErrMalformed)
	}
	return nil
}

// transactionID is how Kraken names orders and trades, such as OUF4EM-FRGI2-MQMWZD.
var transactionID = regexp.MustCompile(`^[A-Z0-9]{5,7}-[A-Z0-9]{5,6}-[A-Z0-9]{5,7}$`)

// orderInfo is an order as OpenOrders, ClosedOrders and QueryOrders tell of it
// (https://docs.kraken.com/api-reference/account-data/get-open-orders).
type orderInfo struct {
	// ClientID is what the order was sent with; empty or null for orders that were
	// not sent by such as us.
	ClientID    string      `json:"cl_ord_id"`
	Status      string      `json:"status"`
	Opened      json.Number `json:"opentm"`
	Volume      string      `json:"vol"`
	Executed    string      `json:"vol_exec"`
	Description struct {
		Pair string `json:"pair"`
		Type string `json:"type"`
	} `json:"descr"`
}

// read tells of the order in the pair's lots.
func (o *orderInfo) read(id string, instrument market.Instrument) (venue.Order, error) {
	if !transactionID.MatchString(id) {
		return venue.Order{}, fmt.Errorf("%w: an order has no id", venue.ErrMalformed)
	}
	read, err := o.readInto(venue.Order{ID: rest.OwnID(o.ClientID), VenueOrderID: id, Pair: instrument.Pair}, instrument)
	if err != nil {
		return venue.Order{}, fmt.Errorf("order %s: %w", id, err)
	}
	return read, nil
}

func (o *orderInfo) readInto(into venue.Order, instrument market.Instrument) (venue.Order, error) {
	side, err := sideOf(o.Description.Type)
	if err != nil {
		return venue.Order{}, err
	}
	volume, err := rest.Number("vol", o.Volume)
	if err != nil {
		return venue.Order{}, err
	}
	executed, err := rest.Number("vol_exec", o.Executed)
	if err != nil {
		return venue.Order{}, err
	}
	if into.Filled, err = tally.Filled(instrument, side, executed); err != nil {
		return venue.Order{}, fmt.Errorf("%w: %w", venue.ErrMalformed, err)
	}
	into.State, err = stateOf(o.Status, volume, executed)
	return into, err
}

// stateOf reads a status: pending and open orders may yet be filled; closed ones
// are filled, canceled and expired ones are not any further.
func stateOf(status string, volume, executed decimal.Decimal) (order.State, error) {
	switch status {
	case "pending", "open":
		return order.Acked, nil
	case "closed":
		if executed.LessThan(volume) {
			return order.Cancelled, nil
		}
		return order.Filled, nil
	case "canceled", "expired":
		return order.Cancelled, nil
	}
	return "", fmt.Errorf("%w: it is neither open nor closed", venue.ErrMalformed)
}

// tradeInfo is an execution as TradesHistory tells of it
// (https://docs.kraken.com/api-reference/account-data/get-trades-history).
type tradeInfo struct {
	OrderID string      `json:"ordertxid"`
	Pair    string      `json:"pair"`
	Time    json.Number `json:"time"`
	Type    string      `json:"type"`
	Price   string      `json:"price"`
	Fee     string      `json:"fee"`
	Volume  string      `json:"vol"`
}

// trade is an execution that was understood.
type trade struct {
	id, orderID string
	listed      *listing
	at          time.Time
	side        order.Side
	quantity    decimal.Decimal
	price       market.Price
	fee         market.Money
}

// read understands an execution in one of the agent's pairs. Its fee is in the
// quote currency, because every order asks for that.
func (t *tradeInfo) read(id string, listed *listing) (*trade, error) {
	if !transactionID.MatchString(id) || !transactionID.MatchString(t.OrderID) {
		return nil, fmt.Errorf("%w: a trade or its order has no id", venue.ErrMalformed)
	}
	read := &trade{id: id, orderID: t.OrderID, listed: listed}
	if err := t.readInto(read); err != nil {
		return nil, fmt.Errorf("trade %s: %w", id, err)
	}
	return read, nil
}

func (t *tradeInfo) readInto(into *trade) error {
	var err error
	if into.at, err = moment(t.Time); err != nil {
		return err
	}
	if into.side, err = sideOf(t.Type); err != nil {
		return err
	}
	if into.quantity, err = rest.Number("vol", t.Volume); err != nil {
		return err
	}
	paid, err := rest.Signed("fee", t.Fee)
	if err != nil {
		return err
	}
	if into.fee, err = tally.Fee(paid); err != nil {
		return fmt.Errorf("%w: %w", venue.ErrMalformed, err)
	}
	price, err := rest.Number("price", t.Price)
	if err != nil {
		return err
	}
	if into.price, err = tally.Price(into.listed.instrument, into.side, price); err != nil {
		return fmt.Errorf("%w: %w", venue.ErrMalformed, err)
	}
	return nil
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

// moment reads seconds of the Unix time with a fraction, without the loss that a
// floating-point number would bring.
func moment(seconds json.Number) (time.Time, error) {
	value, err := rest.Number("a time", seconds.String())
	if err != nil {
		return time.Time{}, err
	}
	nanoseconds := value.Shift(9).Truncate(0)
	if !nanoseconds.BigInt().IsInt64() {
		return time.Time{}, fmt.Errorf("%w: a time is beyond the calendar", venue.ErrMalformed)
	}
	return time.Unix(0, nanoseconds.IntPart()).UTC(), nil
}
