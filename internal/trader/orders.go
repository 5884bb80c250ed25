package trader

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// restingBars is how many bars an order may rest before it is cancelled: the
// decision behind it is old by then, and a stop must be able to try again. Where
// bars may fail to come while time passes, it is their length that counts.
const restingBars = 3

// permitted is how far orders may go now, before any limit of the gate.
func (c *Core) permitted() risk.TradingState {
	switch {
	case c.settings.Trading == risk.Halted, c.deleting != nil && !c.deleting.Flatten:
		return risk.Halted
	case !c.recovered, c.ended, c.dataLoss != "", c.deleting != nil:
		return risk.Reducing
	}
	return c.settings.Trading
}

// sendBegun sends an order that the ledger knows to be on its way, unless
// something has happened since it was decided: the gate is asked again with what
// is known now, so that no order leaves after a halt. It is told again when the
// owner has been heard in between.
func (c *Core) sendBegun(id uuid.UUID) {
	o := c.order(id)
	if o == nil || !c.recovered || (o.state != order.Intended && o.state != order.Sent) {
		return
	}
	c.loop = Execution
	state := c.riskState(c.pair(o.Pair), o)
	if verdict := risk.Check(&c.settings.Limits, &state, &o.Intent); !verdict.Allowed() {
		c.conclude(o, order.Absent, "", string(verdict.Leading()))
		return
	}
	if o.cancelling {
		c.conclude(o, order.Absent, "", EndOvertaken)
		return
	}
	if o.state == order.Intended {
		o.state, o.begunAt = order.Sent, c.now
		c.pair(o.Pair).remember(&o.Intent, c.now)
		c.sentAt = append(slices.DeleteFunc(c.sentAt, func(t time.Time) bool { return !within(t, c.now, time.Second) }), c.now)
	}
	c.emit(Send{o.Intent})
}

// news takes what the venue says of an order.
func (c *Core) news(e News) {
	o := c.order(e.ID)
	if o == nil || !c.recovered {
		return
	}
	c.loop = Idle
	event, unsettled := e.Event, o.state.Unsettled()
	if event == order.Cancel && e.Filled > o.filled {
		// It has ended, but fills are to come: it stays open until they are booked.
		event = order.Ack
	}
	c.conclude(o, event, e.VenueOrderID, e.Reason)
	if o = c.order(e.ID); o != nil && unsettled && o.state == order.Acked && o.cancelling {
		// It has come to light after it was to be cancelled.
		c.emit(Cancel{o.ID})
	}
	c.obeyOrder(e.ID)
	c.flatten()
}

// conclude moves an order, records it and forgets it when it is final. That an
// order is filled whole is never recorded by news: booking its fills does it.
func (c *Core) conclude(o *openOrder, event order.Event, venueOrderID, reason string) {
	next, err := order.Next(o.state, event)
	if err != nil || next == order.Filled {
		return
	}
	if next == o.state && (venueOrderID == "" || venueOrderID == o.venueOrderID) {
		return
	}
	o.state = next
	if venueOrderID != "" {
		o.venueOrderID = venueOrderID
	}
	c.emit(Record{ledger.OrderUpdate{ID: o.ID, State: next, VenueOrderID: venueOrderID, Reason: reason, MarketTime: c.now}})
	if next.Final() {
		c.forget(o.ID)
	}
}

func (c *Core) forget(id uuid.UUID) {
	c.open = slices.DeleteFunc(c.open, func(o openOrder) bool { return o.ID == id })
}

// booked applies a fill that the ledger has booked. The ledger has checked it,
// so the position follows by the ledger's own rule.
func (c *Core) booked(e FillBooked) {
	if !c.recovered || !e.New {
		return
	}
	fill := e.Fill
	pair := c.pair(fill.Pair)
	if pair == nil {
		return
	}
	after, err := pair.position.After(pair.instrument, fill)
	if err != nil {
		c.impair(Impaired{Reason: ReasonPositionMismatch, Message: err.Error()})
		return
	}
	c.loop = Learning
	value := pair.instrument.Notional(fill.Price, fill.Quantity)
	realised := after.Cost - pair.position.Cost - value*market.Money(fill.Side)
	if fill.FeeCurrency == "" || fill.FeeCurrency == pair.instrument.Quote {
		realised -= fill.Fee
	}
	c.tally(pair, pair.position.Quantity, after.Quantity, realised)
	pair.position = after
	if fill.Side == order.Buy {
		c.cash -= value
	} else {
		c.cash += value
	}
	if fill.FeeCurrency == "" || fill.FeeCurrency == pair.instrument.Quote {
		c.cash -= fill.Fee
	}
	c.fills++
	o := c.order(fill.OrderID)
	if o == nil {
		// Positions are the truth; that they were not what they seemed must show
		// until ledger and venue have been compared.
		c.impair(Impaired{ReasonPositionMismatch, fmt.Sprintf(
			"%s: fill %s came after its order %s had ended; ledger and venue are compared", fill.Pair, fill.TradeID, fill.OrderID)})
		return
	}
	o.filled += fill.Quantity
	if o.state != order.Acked && o.cancelling {
		c.emit(Cancel{o.ID})
	}
	o.state = order.Acked
	if o.filled >= o.Quantity {
		c.forget(o.ID)
	}
	c.flatten()
}

// pollsPerLook is how many times fills are asked for until the venue is asked for
// the state of an order that it has: fills tell nearly all, and venues count
// requests.
const pollsPerLook = 5

// tend looks after the open orders of a pair: what is unknown is asked for, what
// has rested too long is cancelled. A venue that is polled is asked for what is
// unknown by polls alone: bars may come faster than it lets itself be asked.
func (c *Core) tend(pair *pairState, polled bool) {
	for i := range c.open {
		o := &c.open[i]
		if o.Pair != pair.instrument.Pair {
			continue
		}
		switch {
		case o.state == order.Intended:
		case c.live && !polled && o.state.Unsettled():
		case o.cancelling || c.rested(pair, o):
			// Cancelling asks what became of it too.
			o.cancelling = true
			c.emit(Cancel{o.ID})
		case o.state.Unsettled(), c.live && c.polls%pollsPerLook == 0:
			c.emit(Lookup{o.ID})
		}
	}
}

// rested reports whether an order has been open for so long that it is cancelled.
func (c *Core) rested(pair *pairState, o *openOrder) bool {
	length := pair.last.End.Sub(pair.last.Start)
	if c.current && length > 0 && c.now.Sub(o.MarketTime) >= restingBars*length {
		return true
	}
	return pair.bars-o.placedAt >= restingBars
}

// unresolved reports whether only the venue can say what became of an order.
func (c *Core) unresolved() bool {
	return slices.ContainsFunc(c.open, func(o openOrder) bool { return o.state.Unsettled() })
}

// obey makes the open orders follow a change of what is permitted.
func (c *Core) obey() {
	for i := range c.open {
		c.obeyOrder(c.open[i].ID)
	}
	c.flatten()
}

// obeyOrder cancels an order that may not stay: any under a halt, an opening one
// when only reducing is allowed. One that was not sent yet meets the gate first.
func (c *Core) obeyOrder(id uuid.UUID) {
	o := c.order(id)
	if o == nil || o.cancelling || o.state == order.Intended {
		return
	}
	if c.mustGo(o) {
		o.cancelling = true
		c.emit(Cancel{o.ID})
	}
}

// flattenPace is how soon after an attempt to close a position there is another: a
// venue that refuses the order must not be asked without end.
const flattenPace = 5 * time.Second

// flatten closes the positions of an agent that is being deleted, or that a halt
// wants closed, one decision at a time.
func (c *Core) flatten() {
	if c.busy() {
		return
	}
	for i := range c.pairs {
		pair := &c.pairs[i]
		sentence := "The agent is being deleted and closes its positions."
		switch {
		case c.deleting != nil && c.permittedIn(pair, "") == risk.Reducing:
		case c.haltFlattens(pair):
			sentence = "The agent is " + pair.halted.message() + " and closes its position."
		default:
			continue
		}
		if pair.position.Quantity == 0 || c.hasOpen(pair.instrument.Pair) || !c.now.After(pair.lastDecided) ||
			c.now.Sub(pair.flattened) < flattenPace {
			continue
		}
		c.exit(pair, OrderFlatten, sentence)
		if c.inHand != nil {
			pair.flattened = c.now
			return
		}
	}
}

// unsettled reports whether something is to be closed that only a market that
// moves can close.
func (c *Core) unsettled() bool {
	if c.deleting != nil && !c.Finished() || c.urgent() {
		return true
	}
	return slices.ContainsFunc(c.open, func(o openOrder) bool { return o.wished })
}

// Finished reports whether an agent that is being deleted has done what its
// owner wants: no open orders, and no positions if they were to be closed.
func (c *Core) Finished() bool {
	if c.deleting == nil || !c.recovered || c.inHand != nil || len(c.open) > 0 {
		return false
	}
	if !c.deleting.Flatten {
		return true
	}
	return !slices.ContainsFunc(c.pairs, func(p pairState) bool { return p.position.Quantity != 0 })
}
