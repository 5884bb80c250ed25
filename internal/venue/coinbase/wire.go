package coinbase

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

const (
	// pageSize of lists, and how many pages are read before one that does not end
	// counts as broken.
	pageSize = 100
	maxPages = 2_000
	// idsPerQuestion bounds how many orders are asked for by id at once.
	idsPerQuestion = 50
	// mostRemembered bounds how many orders are known by Coinbase's id.
	mostRemembered = 20_000
)

// Ids are put into paths and lists, and must stay what they are there.
var (
	orderID = regexp.MustCompile(`^[-0-9A-Za-z_]{1,64}$`)
	tradeID = regexp.MustCompile(`^[-0-9A-Za-z_]{1,128}$`)
)

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

var sides = map[string]order.Side{"BUY": order.Buy, "SELL": order.Sell}

// orderTold is an order as Coinbase tells of it.
type orderTold struct {
	OrderID       string `json:"order_id"`
	ClientOrderID string `json:"client_order_id"`
	ProductID     string `json:"product_id"`
	Side          string `json:"side"`
	Status        string `json:"status"`
	FilledSize    string `json:"filled_size"`
}

// read tells of an order in its pair's lots.
func (v *Venue) read(told *orderTold) (*venue.Order, error) {
	pair, ours := v.spellings.Pairs[told.ProductID]
	if !ours || !orderID.MatchString(told.OrderID) {
		return nil, fmt.Errorf("%w: an order has no id, or is in a pair that was not asked for", venue.ErrMalformed)
	}
	size, err := rest.Number("filled_size of order "+told.OrderID, told.FilledSize)
	if err != nil {
		return nil, err
	}
	side, known := sides[told.Side]
	if !known {
		return nil, fmt.Errorf("%w: order %s is neither a purchase nor a sale", venue.ErrMalformed, told.OrderID)
	}
	filled, err := tally.Filled(v.spellings.Instruments[pair], side, size)
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", told.OrderID, err)
	}
	state, err := stateOf(told.Status)
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", told.OrderID, err)
	}
	client := rest.OwnID(told.ClientOrderID)
	v.learn(told.OrderID, client)
	return &venue.Order{ID: client, VenueOrderID: told.OrderID, Pair: pair, State: state, Filled: filled}, nil
}

// stateOf reads a status. An order that was taken back after it was accepted has
// failed: no more of it will be filled, as if it had been cancelled.
func stateOf(status string) (order.State, error) {
	switch status {
	case "PENDING", "OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED":
		return order.Acked, nil
	case "FILLED":
		return order.Filled, nil
	case "CANCELLED", "EXPIRED", "FAILED":
		return order.Cancelled, nil
	}
	return "", fmt.Errorf("%w: its status is none that Coinbase has", venue.ErrMalformed)
}

// eachOrder goes through a list of orders, newest first, until it ends or do says
// so.
func (v *Venue) eachOrder(ctx context.Context, query url.Values, do func(*venue.Order) bool) error {
	return v.pages(ctx, "/orders/historical/batch", query, func(told *pageTold) (more, goOn bool, err error) {
		if told.Orders == nil || told.HasNext == nil {
			return false, false, fmt.Errorf("%w: it is no page of orders", venue.ErrMalformed)
		}
		for i := range *told.Orders {
			o, err := v.read(&(*told.Orders)[i])
			if err != nil {
				return false, false, err
			}
			if !do(o) {
				return false, false, nil
			}
		}
		return *told.HasNext, true, nil
	})
}

// pageTold is a page of any of Coinbase's lists.
type pageTold struct {
	Orders   *[]orderTold   `json:"orders"`
	Fills    *[]fillTold    `json:"fills"`
	Accounts *[]accountTold `json:"accounts"`
	HasNext  *bool          `json:"has_next"`
	Cursor   string         `json:"cursor"`
}

// pages reads a list page by page. Each says whether there are more, and whether
// they are wanted.
func (v *Venue) pages(ctx context.Context, path string, query url.Values, each func(*pageTold) (more, goOn bool, err error)) error {
	query = maps.Clone(query)
	query.Set("limit", strconv.Itoa(pageSize))
	seen := map[string]bool{}
	for range maxPages {
		var told pageTold
		if err := v.session.ask(ctx, path, query, &told); err != nil {
			return err
		}
		more, goOn, err := each(&told)
		if err != nil || !more || !goOn {
			return err
		}
		if told.Cursor == "" || seen[told.Cursor] {
			return fmt.Errorf("%w: it has more pages and does not say where", venue.ErrMalformed)
		}
		seen[told.Cursor] = true
		query.Set("cursor", told.Cursor)
	}
	return fmt.Errorf("%w: it has more than %d pages", venue.ErrMalformed, maxPages)
}

// learn remembers whose an order is.
func (v *Venue) learn(venueOrderID string, client uuid.UUID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.clientIDs) >= mostRemembered {
		clear(v.clientIDs) // it can be asked for again
	}
	v.clientIDs[venueOrderID] = client
}

func (v *Venue) known(venueOrderID string) (uuid.UUID, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	client, known := v.clientIDs[venueOrderID]
	return client, known
}

// fillTold is a fill as Coinbase tells of it.
type fillTold struct {
	TradeID     string `json:"trade_id"`
	OrderID     string `json:"order_id"`
	TradeTime   string `json:"trade_time"`
	TradeType   string `json:"trade_type"`
	Price       string `json:"price"`
	Size        string `json:"size"`
	Commission  string `json:"commission"`
	ProductID   string `json:"product_id"`
	SequencedAt string `json:"sequence_timestamp"`
	SizeInQuote *bool  `json:"size_in_quote"`
	Side        string `json:"side"`
}

// listedFill is a fill before its lots are counted.
type listedFill struct {
	order.Fill

	orderID string
	// size in the base currency.
	size decimal.Decimal
	// at is when Coinbase has listed it.
	at time.Time
}

func (f *listedFill) entry() tally.Entry { return tally.Entry{ID: f.TradeID, At: f.at} }

// readFill tells of a fill, without its lots and without the client id, which
// Coinbase does not tell with fills. Fees are in the quote currency.
func (v *Venue) readFill(told *fillTold) (*listedFill, error) {
	pair, ours := v.spellings.Pairs[told.ProductID]
	if !ours || !tradeID.MatchString(told.TradeID) || !orderID.MatchString(told.OrderID) {
		return nil, fmt.Errorf("%w: a fill or its order has no id, or is in a pair that was not asked for", venue.ErrMalformed)
	}
	of := " of fill " + told.TradeID
	if told.TradeType != "FILL" {
		return nil, fmt.Errorf("%w: the type%s is not FILL; a person has to look at it", venue.ErrMalformed, of)
	}
	instrument := v.spellings.Instruments[pair]
	price, err := rest.Number("price"+of, told.Price)
	if err != nil {
		return nil, err
	}
	side, known := sides[told.Side]
	if !known {
		return nil, fmt.Errorf("%w: the side%s cannot be read", venue.ErrMalformed, of)
	}
	ticks, err := tally.Price(instrument, side, price)
	if err != nil {
		return nil, fmt.Errorf("%w: fill %s: %w", venue.ErrMalformed, told.TradeID, err)
	}
	size, err := told.size(price, of)
	if err != nil {
		return nil, err
	}
	paid, err := rest.Signed("commission"+of, told.Commission)
	if err != nil {
		return nil, err
	}
	fee, err := tally.Fee(paid)
	if err != nil {
		return nil, fmt.Errorf("%w: the commission%s cannot be counted", venue.ErrMalformed, of)
	}
	traded, errTraded := time.Parse(time.RFC3339Nano, told.TradeTime)
	listed, errListed := time.Parse(time.RFC3339Nano, told.SequencedAt)
	if errTraded != nil || errListed != nil {
		return nil, fmt.Errorf("%w: the times%s cannot be read", venue.ErrMalformed, of)
	}
	return &listedFill{orderID: told.OrderID, size: size, at: listed.UTC(), Fill: order.Fill{
		Venue: Name, TradeID: told.TradeID, Pair: pair, Side: side, Price: ticks,
		Fee: fee, FeeCurrency: instrument.Quote, MarketTime: traded.UTC(),
	}}, nil
}

// size reads how much of the base currency was traded. What a person has ordered
// by its value is told by its value.
func (told *fillTold) size(price decimal.Decimal, of string) (decimal.Decimal, error) {
	size, err := rest.Number("size"+of, told.Size)
	switch {
	case err != nil:
		return decimal.Zero, err
	case told.SizeInQuote == nil || size.IsZero():
		return decimal.Zero, fmt.Errorf("%w: the size%s is zero, or it is not said what it counts", venue.ErrMalformed, of)
	case *told.SizeInQuote:
		return size.DivRound(price, quotientPlaces), nil
	}
	return size, nil
}

// quotientPlaces are more decimal places than any currency has.
const quotientPlaces = 18
