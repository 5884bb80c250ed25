package exchange

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// Reason of a refusal. A front says it in the venue's own words.
type Reason string

// The reasons for which an order, or a cancellation, is refused.
const (
	ReasonUnknownProduct Reason = "unknown product"
	ReasonNotTraded      Reason = "not traded"
	ReasonPrice          Reason = "price is not a whole tick"
	ReasonQuantity       Reason = "quantity is not a whole lot"
	ReasonTooSmall       Reason = "too small"
	ReasonFunds          Reason = "insufficient funds"
	ReasonRepeat         Reason = "client id used before"
	ReasonExpired        Reason = "the request has expired"
	ReasonMaintenance    Reason = "maintenance"
	ReasonUnknownOrder   Reason = "unknown order"
	ReasonFinal          Reason = "the order is final"
)

// Refusal is the exchange's definitive no.
type Refusal struct{ Reason Reason } //nolint:errname // a refusal is what an exchange calls it

// Error is the reason.
func (r *Refusal) Error() string { return string(r.Reason) }

// Placement is what an order is made of.
type Placement struct {
	Account   string          `json:"account"`
	ClientID  string          `json:"clientId"`
	Symbol    string          `json:"symbol"`
	Side      Side            `json:"side"`
	Quantity  decimal.Decimal `json:"quantity"`
	Limit     decimal.Decimal `json:"limit"`
	Immediate bool            `json:"immediate"`
	Expires   time.Time       `json:"expires,omitzero"`
	// NotAfter is the request's own end: later it is refused, however long it was
	// held up. Zero is none.
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// Place takes an order into the book, or refuses it with a *Refusal. Where the
// exchange returns the original for a repeat, it says so. The request's faults
// are in the context; one that holds it up does so here.
func (e *Exchange) Place(ctx context.Context, placement Placement) (placed Order, repeated bool, err error) {
	t := ticketOf(ctx)
	e.wait(t.delay(DelayAcceptance), nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	known := e.byClient[clientKey{placement.Account, placement.ClientID}]
	if known != nil && placement.ClientID != "" {
		known.Repeats++
		switch {
		case e.options.Repeat == RepeatReturns:
			return *known, true, nil
		case e.options.Repeat == RepeatRefused, e.options.Repeat == RepeatRefusedWhileOpen && known.Status == Open:
			return Order{}, false, &Refusal{ReasonRepeat}
		}
	}
	if reason := e.objection(&placement); reason != "" {
		return Order{}, false, &Refusal{reason}
	}
	return *e.accept(placement, t), false, nil
}

// objection is why an order is not taken; empty if it is.
func (e *Exchange) objection(p *Placement) Reason {
	product, listed := e.products[p.Symbol]
	switch {
	case !p.NotAfter.IsZero() && e.clock().After(p.NotAfter):
		return ReasonExpired
	case e.behaviour.Maintenance:
		return ReasonMaintenance
	case !listed:
		return ReasonUnknownProduct
	case product.State != "":
		return ReasonNotTraded
	case !p.Limit.IsPositive() || !p.Limit.Mod(product.Tick).IsZero():
		return ReasonPrice
	case !p.Quantity.IsPositive() || !p.Quantity.Mod(product.Lot).IsZero():
		return ReasonQuantity
	case p.Quantity.LessThan(product.MinQuantity) || p.Quantity.Mul(p.Limit).LessThan(product.MinNotional):
		return ReasonTooSmall
	}
	currency, amount := e.hold(&Order{Symbol: p.Symbol, Side: p.Side, Quantity: p.Quantity, Limit: p.Limit})
	balance := e.balances(p.Account)[currency]
	if balance.Total.Sub(balance.Held).LessThan(amount) {
		return ReasonFunds
	}
	return ""
}

func (e *Exchange) accept(p Placement, t *ticket) *Order {
	now := e.clock()
	o := &Order{
		Sequence: int64(len(e.orders)) + 1, ClientID: p.ClientID, Account: p.Account, Symbol: p.Symbol, Side: p.Side,
		Quantity: p.Quantity, Limit: p.Limit, Immediate: p.Immediate, Expires: p.Expires, Status: Open,
		ArrivedAt: now, AcceptedAt: now, Body: string(t.body),
	}
	if !t.arrivedAt.IsZero() {
		o.ArrivedAt = t.arrivedAt
	}
	o.ID = idOf('o', o.Sequence)
	e.orders, e.byID[o.ID], e.open = append(e.orders, o), o, append(e.open, o)
	if p.ClientID != "" {
		e.byClient[clientKey{p.Account, p.ClientID}] = o
	}
	if price, known := e.prices[o.Symbol]; known && e.matches(o, price) {
		e.execute(o, e.share(o, e.behaviour.PartialFill), price, false)
	}
	switch {
	case o.Status != Open:
	case e.behaviour.FailAccepted:
		e.end(o, Failed)
	case o.Immediate:
		e.end(o, Cancelled)
	}
	return o
}

// share is a part of what is left of an order in whole lots, and at least one;
// all of it if the part is zero.
func (e *Exchange) share(o *Order, part decimal.Decimal) decimal.Decimal {
	if !part.IsPositive() {
		return o.Remaining()
	}
	lot := e.products[o.Symbol].Lot
	lots, _ := o.Remaining().Mul(part).QuoRem(lot, 0)
	return decimal.Min(decimal.Max(lots, decimal.NewFromInt(1)).Mul(lot), o.Remaining())
}

// matches reports whether there is somebody to trade with.
func (e *Exchange) matches(o *Order, price decimal.Decimal) bool {
	return !e.behaviour.Illiquid && marketable(o, price)
}

func marketable(o *Order, price decimal.Decimal) bool {
	if o.Side == Buy {
		return price.LessThanOrEqual(o.Limit)
	}
	return price.GreaterThanOrEqual(o.Limit)
}

// hold is what an order keeps of its account as long as it is open.
func (e *Exchange) hold(o *Order) (currency string, amount decimal.Decimal) {
	product := e.products[o.Symbol]
	if o.Side == Sell {
		return product.Base, o.Remaining()
	}
	value := o.Remaining().Mul(o.Limit)
	if e.options.FeeOnReceived {
		return product.Quote, value
	}
	return product.Quote, value.Add(value.Mul(decimal.Max(e.options.TakerFee, e.options.MakerFee)))
}

// execute trades a part of an order.
func (e *Exchange) execute(o *Order, quantity, price decimal.Decimal, maker bool) {
	product, value := e.products[o.Symbol], quantity.Mul(price)
	trade := Trade{
		Sequence: int64(len(e.trades)) + 1, OrderID: o.ID, ClientID: o.ClientID, Account: o.Account, Symbol: o.Symbol,
		Side: o.Side, Quantity: quantity, Price: price, FeeCurrency: product.Quote, Maker: maker, At: e.clock(),
	}
	trade.ID = idOf('t', trade.Sequence)
	rate, received := e.options.TakerFee, value
	if maker {
		rate = e.options.MakerFee
	}
	if e.options.FeeOnReceived && o.Side == Buy {
		trade.FeeCurrency, received = product.Base, quantity
	}
	trade.Fee = received.Mul(rate)
	holdings := e.accounts[o.Account]
	if holdings == nil {
		holdings = map[string]decimal.Decimal{}
		e.accounts[o.Account] = holdings
	}
	if o.Side == Buy {
		holdings[product.Base] = holdings[product.Base].Add(quantity)
		holdings[product.Quote] = holdings[product.Quote].Sub(value)
	} else {
		holdings[product.Base] = holdings[product.Base].Sub(quantity)
		holdings[product.Quote] = holdings[product.Quote].Add(value)
	}
	holdings[trade.FeeCurrency] = holdings[trade.FeeCurrency].Sub(trade.Fee)
	e.trades = append(e.trades, trade)
	o.Filled, o.Cost, o.Fees, o.FeeCurrency = o.Filled.Add(quantity), o.Cost.Add(value), o.Fees.Add(trade.Fee), trade.FeeCurrency
	if o.Remaining().IsZero() {
		e.end(o, Filled)
	}
}

func (e *Exchange) end(o *Order, status Status) {
	o.Status, o.EndedAt = status, e.clock()
	e.open = slices.DeleteFunc(e.open, func(known *Order) bool { return known == o })
}

// expire ends the orders whose time is over, and those of accounts that a
// dead-man switch was set for.
func (e *Exchange) expire() {
	now := e.clock()
	for _, o := range slices.Clone(e.open) {
		at, armed := e.cancelAll[o.Account]
		switch {
		case !o.Expires.IsZero() && !now.Before(o.Expires):
			e.end(o, Expired)
		case armed && !now.Before(at):
			e.end(o, Cancelled)
		}
	}
}

// Cancel ends an open order. What is final, or not there, is refused with a
// *Refusal. The exchange may trade a part of it before.
func (e *Exchange) Cancel(ctx context.Context, account, id string) (Order, error) {
	e.wait(ticketOf(ctx).delay(DelayAcceptance), nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	o := e.byID[id]
	switch {
	case o == nil || o.Account != account || !e.shown(o.AcceptedAt, e.behaviour.OrderLag):
		return Order{}, &Refusal{ReasonUnknownOrder}
	case o.Status != Open:
		return *o, &Refusal{ReasonFinal}
	}
	if part := e.behaviour.FillOnCancel; part.IsPositive() {
		e.execute(o, e.share(o, part), o.Limit, true)
		if o.Status != Open {
			return *o, &Refusal{ReasonFinal}
		}
	}
	e.end(o, Cancelled)
	return *o, nil
}

// CancelAllAfter ends every order of an account that is open when the time is
// over, unless it is set again before; zero turns it off.
func (e *Exchange) CancelAllAfter(account string, after time.Duration) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	if after <= 0 {
		delete(e.cancelAll, account)
		return time.Time{}
	}
	e.cancelAll[account] = e.clock().Add(after)
	return e.cancelAll[account]
}

// SetPrice moves the market: open orders that can be filled are, at their limit.
func (e *Exchange) SetPrice(symbol string, price decimal.Decimal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	e.prices[symbol] = price
	for _, o := range slices.Clone(e.open) {
		if o.Symbol == symbol && e.matches(o, price) {
			e.execute(o, o.Remaining(), o.Limit, true)
		}
	}
}

// Price of a product; zero if none was set.
func (e *Exchange) Price(symbol string) decimal.Decimal {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.prices[symbol]
}

// Fill trades a part of an open order at a price. It fails if there is not so
// much left of it.
func (e *Exchange) Fill(id string, quantity, price decimal.Decimal) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	o := e.byID[id]
	if o == nil || o.Status != Open || o.Remaining().LessThan(quantity) {
		return fmt.Errorf("order %s does not have %s left to fill", id, quantity)
	}
	e.execute(o, quantity, price, true)
	return nil
}

// End ends an open order without anybody's asking.
func (e *Exchange) End(id string, status Status) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.byID[id]
	if o == nil || o.Status != Open {
		return fmt.Errorf("order %s is not open", id)
	}
	e.end(o, status)
	return nil
}
