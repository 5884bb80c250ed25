package sim

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// Name is the simulated venue's name in the ledger.
const Name = "Sim"

// fee of every fill, a share of its value.
const fee = order.Fraction(600_000)

// placed is an order in the exchange's book, which is the judge of everything.
type placed struct {
	id         uuid.UUID
	number     string
	pair       string
	side       order.Side
	quantity   market.Quantity
	filled     market.Quantity
	limit      market.Price
	reduceOnly bool
	state      order.State
	// visible is when the exchange's answers begin to show the order.
	visible time.Time
	// filling says that the next part is on its way.
	filling bool
	by      *process
}

// rest is what is not filled.
func (o *placed) rest() market.Quantity { return o.quantity - o.filled }

// exchange is a venue of one class with its own book.
type exchange struct {
	w           *world
	traits      venue.Traits
	instruments map[string]market.Instrument
	pairs       []string
	bars        map[string][]market.PairBar
	price       map[string]market.Price
	orders      []*placed
	// shown are fills in the order in which they come to light; executed are all.
	shown    []shownFill
	executed []order.Fill
	cash     market.Money
	// held of each pair's base currency, in units of it.
	held map[string]decimal.Decimal
}

type shownFill struct {
	fill order.Fill
	at   time.Time
}

// errors of the exchange's answers.
var errLine = errors.New("no answer")

// market opens the exchange: bars of the past, and those that are to come.
func (w *world) openExchange() {
	x := &exchange{
		w: w, instruments: map[string]market.Instrument{}, bars: map[string][]market.PairBar{}, price: map[string]market.Price{},
		held: map[string]decimal.Decimal{}, cash: w.plan.funds,
	}
	x.traits = venue.Traits{Class: w.plan.class, RequestExpiry: w.plan.expiry, Settle: w.plan.settle, Spot: w.plan.spot}
	w.exchange = x
	for _, instrument := range w.plan.instruments {
		pair := instrument.Pair
		x.instruments[pair] = instrument
		x.pairs = append(x.pairs, pair)
		price := market.Price(10_000)
		at := beginning.Add(-warmUp * barLength)
		for range warmUp + w.plan.bars {
			open := price
			price = max(open+market.Price(w.random.IntN(121)-60), 5000)
			x.bars[pair] = append(x.bars[pair], market.PairBar{Pair: pair, Bar: market.Bar{
				Start: at, End: at.Add(barLength), Open: open, Close: price,
				High: max(open, price) + market.Price(w.random.IntN(30)), Low: min(open, price) - market.Price(w.random.IntN(30)),
			}})
			at = at.Add(barLength)
		}
		x.price[pair] = x.bars[pair][warmUp-1].Close
		for _, bar := range x.bars[pair][warmUp:] {
			w.at(bar.End, func() { x.move(bar) })
		}
	}
}

// move takes a new price and fills what it reaches.
func (x *exchange) move(bar market.PairBar) {
	x.price[bar.Pair] = bar.Close
	x.w.judge.limits.move(bar)
	for _, o := range x.orders {
		if o.pair == bar.Pair {
			x.fillSoon(o)
		}
	}
}

// accept is what the exchange makes of a placement that has arrived.
func (x *exchange) accept(request *venue.Request, signed time.Time, by *process) (venue.Order, error) {
	w, intent := x.w, &request.Intent
	if x.traits.RequestExpiry > 0 && w.now.After(signed.Add(x.traits.RequestExpiry)) {
		w.counts.Expired++
		return venue.Order{}, &venue.RejectedError{Code: "Expired", Message: "the request is too old"}
	}
	for _, known := range x.orders {
		if known.id != intent.ID {
			continue
		}
		switch {
		case x.traits.Class == venue.ClassReturns:
			return known.tell(), nil
		case x.traits.Class == venue.ClassRefuses, x.traits.Class == venue.ClassRefusesOpen && !known.state.Final():
			return venue.Order{}, &venue.RejectedError{Code: "DuplicateID", Message: "the id is taken"}
		}
	}
	if x.traits.Spot && intent.Side == order.Sell && intent.Quantity > x.sellable(intent.Pair) {
		return venue.Order{}, &venue.RejectedError{Code: "InsufficientFunds", Message: "not so much is held"}
	}
	o := &placed{
		id: intent.ID, number: "x" + strconv.Itoa(len(x.orders)+1), pair: intent.Pair, side: intent.Side, quantity: intent.Quantity,
		limit: intent.Limit, reduceOnly: intent.ReduceOnly, state: order.Acked, visible: w.now.Add(w.between(0, x.traits.Settle)), by: by,
	}
	x.orders = append(x.orders, o)
	w.counts.Orders++
	w.note("accepted", o.number, o.id.String(), by.name)
	w.judge.accepted(o)
	x.fillSoon(o)
	return o.tell(), nil
}

func (o *placed) tell() venue.Order {
	return venue.Order{ID: o.id, VenueOrderID: o.number, Pair: o.pair, State: o.state, Filled: o.filled}
}

// sellable is what is held and not offered yet.
func (x *exchange) sellable(pair string) market.Quantity {
	left := x.lots(pair)
	for _, o := range x.orders {
		if o.pair == pair && o.side == order.Sell && !o.state.Final() {
			left -= o.rest()
		}
	}
	return left
}

// lots that are held whole.
func (x *exchange) lots(pair string) market.Quantity {
	return market.Quantity(x.held[pair].Div(x.instruments[pair].Lot).Floor().IntPart())
}

// fillSoon begins to fill an order whose limit the price has reached.
func (x *exchange) fillSoon(o *placed) {
	reached := (o.limit-x.price[o.pair])*market.Price(o.side) >= 0
	if o.filling || o.state.Final() || !reached {
		return
	}
	o.filling = true
	x.w.in(x.w.between(0, x.w.plan.slowness), func() {
		o.filling = false
		if o.state.Final() {
			return
		}
		part := o.rest()
		if part > 1 && x.w.chance(x.w.plan.partial) {
			part = 1 + market.Quantity(x.w.random.Int64N(int64(part)))
		}
		x.fill(o, part)
		x.fillSoon(o)
	})
}

// fill executes a part of an order at the better of its limit and the price.
func (x *exchange) fill(o *placed, part market.Quantity) {
	w, instrument := x.w, x.instruments[o.pair]
	price := x.price[o.pair]
	if (price-o.limit)*market.Price(o.side) > 0 {
		price = o.limit
	}
	o.filled += part
	if o.rest() == 0 {
		o.state = order.Filled
	}
	value := instrument.Notional(price, part)
	fill := order.Fill{
		Venue: Name, Account: account, TradeID: "t" + strconv.Itoa(len(x.executed)+1), OrderID: o.id, Pair: o.pair, Side: o.side, Quantity: part,
		Price: price, MarketTime: w.now,
	}
	bought := instrument.QuantityDecimal(part * market.Quantity(o.side))
	if w.plan.inKind && o.side == order.Buy {
		// What is bought pays the fee.
		amount, err := market.MoneyOf(bought)
		if err != nil {
			w.judge.fail("fill of %s: %v", o.number, err)
		}
		fill.Fee, fill.FeeCurrency = fee.Of(amount), instrument.Base
		bought = bought.Sub(fill.Fee.Decimal())
	} else {
		fill.Fee, fill.FeeCurrency = fee.Of(value), instrument.Quote
		x.cash -= fill.Fee
	}
	x.executed = append(x.executed, fill)
	x.held[o.pair] = x.held[o.pair].Add(bought)
	x.cash -= value * market.Money(o.side)
	w.counts.Fills++
	w.note("filled", o.number, fill.TradeID, strconv.FormatInt(int64(part), 10))
	w.judge.limits.filled(o, part)
	w.in(w.between(0, x.traits.Settle), func() { x.shown = append(x.shown, shownFill{fill, w.now}) })
}

// cancel ends an order that is open. It may be filled on meanwhile.
func (x *exchange) cancel(ref venue.Ref) error {
	o := x.find(ref)
	switch {
	case o == nil:
		return venue.ErrNotFound
	case o.state.Final():
		return nil
	}
	slow := time.Duration(0)
	if x.w.stormy() && x.w.chance(200) {
		slow = x.w.between(0, 3*time.Second)
	}
	x.w.in(slow, func() {
		if !o.state.Final() {
			o.state = order.Cancelled
			x.w.judge.limits.over(o.id)
			x.w.note("cancelled", o.number)
		}
	})
	return nil
}

// find an order as the exchange's answers show it now.
func (x *exchange) find(ref venue.Ref) *placed {
	for _, o := range x.orders {
		if (o.id == ref.ID || o.number == ref.VenueOrderID) && !o.visible.After(x.w.now) {
			return o
		}
	}
	return nil
}

// open orders in some pairs.
func (x *exchange) open(pairs []string) []venue.Order {
	var open []venue.Order
	for _, o := range x.orders {
		if !o.state.Final() && !o.visible.After(x.w.now) && slices.Contains(pairs, o.pair) {
			open = append(open, o.tell())
		}
	}
	return open
}

const pageOfFills = 20

// fills in some pairs after a cursor, which is a position among those that have
// come to light. Now and then some that were told before come again.
func (x *exchange) fills(pairs []string, cursor string) ([]order.Fill, string, error) {
	from := 0
	if at, ok := venue.SinceOf(cursor); ok {
		from, _ = slices.BinarySearchFunc(x.shown, at, func(s shownFill, at time.Time) int { return cmp.Compare(s.at.UnixNano(), at.UnixNano()) })
	} else if cursor != "" {
		var err error
		if from, err = strconv.Atoi(cursor); err != nil {
			return nil, "", err
		}
	}
	until := min(from+pageOfFills, len(x.shown))
	if until == len(x.shown) && from == until {
		return nil, cursor, nil
	}
	if until > from && x.w.stormy() && x.w.chance(100) {
		from = max(0, from-1-x.w.random.IntN(3))
		x.w.counts.Repeated++
	}
	var fills []order.Fill
	for _, s := range x.shown[from:until] {
		if slices.Contains(pairs, s.fill.Pair) {
			fills = append(fills, s.fill)
		}
	}
	if len(fills) == 0 && until < len(x.shown) {
		return x.fills(pairs, strconv.Itoa(until))
	}
	return fills, strconv.Itoa(until), nil
}

// balances of the whole account.
func (x *exchange) balances() []venue.Balance {
	cash := x.cash.Decimal()
	balances := append(make([]venue.Balance, 0, 1+len(x.pairs)), venue.Balance{Currency: "USD", Total: cash, Available: cash})
	for _, pair := range x.pairs {
		held := x.held[pair]
		balances = append(balances, venue.Balance{Currency: x.instruments[pair].Base, Total: held, Available: decimal.Max(held, decimal.Zero)})
	}
	return balances
}

// feed is the exchange's market data for one process, behind what it has dealt
// with.
type feed struct {
	w       *world
	history []market.PairBar
	bars    []market.PairBar
	late    time.Duration
}

func (x *exchange) feed(instruments []market.Instrument, resume map[string]time.Time) *feed {
	f := &feed{w: x.w, late: x.w.between(0, 2*time.Second)}
	for i := range warmUp + x.w.plan.bars {
		for _, instrument := range instruments {
			bar := x.bars[instrument.Pair][i]
			if i < warmUp || !bar.End.After(resume[bar.Pair]) {
				f.history = append(f.history, bar)
			} else {
				f.bars = append(f.bars, bar)
			}
		}
	}
	return f
}

// due is when the next bar is known; never, if zero.
func (f *feed) due() time.Time {
	if len(f.bars) == 0 {
		return time.Time{}
	}
	return f.bars[0].End.Add(f.late)
}

// History implements market.Feed.
func (f *feed) History() []market.PairBar { return f.history }

// Describe implements market.Feed.
func (f *feed) Describe() string { return "simulated" }

// Next implements market.Feed.
func (f *feed) Next(context.Context) (market.PairBar, error) {
	if len(f.bars) == 0 {
		return market.PairBar{}, io.EOF
	}
	bar := f.bars[0]
	f.bars = f.bars[1:]
	return bar, nil
}
