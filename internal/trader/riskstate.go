package trader

import (
	"slices"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// riskState is what the gate must know for an order of the pair; the order of
// the given id is left out, because it is the one that is judged.
func (c *Core) riskState(pair *pairState, except *openOrder) risk.State {
	state := risk.State{
		Trading: c.permitted(), Now: c.now, PeakEquity: c.peak, DayStartEquity: c.dayEquity, TradesToday: c.tradesToday,
		ConsecutiveLosses: c.losses, Disarmed: c.disarmed, PolicyShare: c.share(c.settings.PolicyTotal), AccountShare: c.share(c.settings.AccountTotal),
	}
	state.Equity, state.EquityKnown = c.equity()
	if pair == nil {
		return state
	}
	state.PairState = c.pairRisk(pair, except)
	state.Trading = c.permittedIn(pair, "")
	if except != nil {
		state.Trading = c.permittedIn(pair, except.Reason)
		state.Confidence = except.confidence
		if !except.ReduceOnly {
			state.TradesToday--
		}
	}
	for i := range c.pairs {
		other := &c.pairs[i]
		if other == pair || (other.position.Quantity == 0 && !c.hasOpen(other.instrument.Pair)) {
			continue
		}
		risked := c.pairRisk(other, nil)
		state.Add(&risked)
		if other.position.Quantity != 0 || c.opening(other.instrument.Pair) {
			state.OtherPositions++
			if c.correlated(pair, other) {
				state.CorrelatedPositions++
			}
		}
	}
	for _, sent := range c.sentAt {
		if within(sent, c.now, time.Second) {
			state.SentLastSecond++
		}
	}
	if except != nil && !except.begunAt.IsZero() && within(except.begunAt, c.now, time.Second) {
		// It is judged again because something was heard since its send began.
		state.SentLastSecond--
	}
	return state
}

// pairRisk is what the gate must know of one pair.
func (c *Core) pairRisk(pair *pairState, except *openOrder) risk.PairState {
	state := risk.PairState{
		Instrument: &pair.instrument, MinQuantity: pair.settings.MinQuantity, MaxQuantity: pair.settings.MaxQuantity,
		Restricted: pair.settings.Restricted, SessionClosed: !pair.settings.Session.Open(c.now),
		Reference: pair.price, ReferenceAt: pair.priceAt, Position: pair.position.Quantity,
		Crossed: pair.crossed, FrozenBars: pair.frozenBars, MissingBars: pair.missingBars,
		Recent: pair.recent, LastStop: pair.lastStop, Volatility: c.statistics.Volatility(pair.index),
	}
	state.TailLong, state.TailShort = c.statistics.Tails(pair.index)
	for i := range c.open {
		o := &c.open[i]
		if o.Pair != pair.instrument.Pair || (except != nil && o.ID == except.ID) {
			continue
		}
		rest := o.Quantity - o.filled
		value := pair.instrument.Notional(max(o.Limit, pair.price), rest)
		if o.Side == order.Buy {
			state.OpenBuys += rest
			state.OpenBuyValue += value
			state.HighestBuy = max(state.HighestBuy, o.Limit)
		} else {
			state.OpenSells += rest
			state.OpenSellValue += value
			if state.LowestSell == 0 || o.Limit < state.LowestSell {
				state.LowestSell = o.Limit
			}
		}
		state.Unresolved = state.Unresolved || o.state.Unsettled()
	}
	return state
}

// correlated reports whether two pairs move together. What is not known counts
// as if they did.
func (c *Core) correlated(a, b *pairState) bool {
	correlation, known := c.statistics.Correlation(a.index, b.index)
	return !known || magnitude(correlation) > c.settings.Limits.Correlation
}

func (c *Core) opening(pair string) bool {
	return slices.ContainsFunc(c.open, func(o openOrder) bool { return o.Pair == pair && !o.ReduceOnly })
}

func (c *Core) hasOpen(pair string) bool {
	return slices.ContainsFunc(c.open, func(o openOrder) bool { return o.Pair == pair })
}

// longestWindow is the longest in which an order may count as a duplicate.
const longestWindow = time.Hour

// remember keeps an opening order that is being sent, so that another decision
// does not send it again.
func (p *pairState) remember(o *order.Intent, at time.Time) {
	if o.ReduceOnly {
		return
	}
	p.recent = slices.DeleteFunc(p.recent, func(s risk.Sent) bool { return !within(s.At, at, longestWindow) })
	p.recent = append(p.recent, risk.Sent{Sequence: o.Sequence, Side: o.Side, Quantity: o.Quantity, Limit: o.Limit, At: at})
}

// watch learns from a bar what the gate asks of prices.
func (p *pairState) watch(bar *market.Bar) {
	last := &p.last
	p.crossed = bar.Bid > 0 && bar.Ask > 0 && bar.Bid > bar.Ask
	p.missingBars = 0
	if length := bar.End.Sub(bar.Start); !last.End.IsZero() && length > 0 {
		p.missingBars = int32(min(max(bar.Start.Sub(last.End)/length, 0), manyBars))
	}
	if !last.End.IsZero() && bar.Open == last.Close && bar.High == last.Close && bar.Low == last.Close && bar.Close == last.Close &&
		bar.Bid == last.Bid && bar.Ask == last.Ask {
		p.frozenBars = min(p.frozenBars+1, manyBars)
	} else {
		p.frozenBars = 0
	}
	*last = *bar
}

// manyBars is more than any limit on bars.
const manyBars = 1_000_000

// tally counts what a fill has realised, after fees. A trade ends when its
// position is flat or has turned.
func (c *Core) tally(pair *pairState, before, after market.Quantity, realised market.Money) {
	pair.realised += realised
	if before == 0 || sign(after) == sign(before) {
		return
	}
	if pair.realised < 0 {
		c.losses++
	} else {
		c.losses = 0
	}
	pair.realised = 0
}

// exited counts a stop, and disarms the agent if it was one too many.
func (c *Core) exited(pair *pairState, at time.Time) {
	pair.lastStop = at
	if len(c.exits) == mostExits {
		c.exits = append(c.exits[:0], c.exits[1:]...)
	}
	c.exits = append(c.exits, at)
	c.disarmIfDue()
}

// mostExits is as many stops as a limit can count.
const mostExits = 64

// disarmIfDue lets the agent only reduce from now on if so many stops have come
// within the window that a person must look at them.
func (c *Core) disarmIfDue() {
	limits := &c.settings.Limits
	most := int(limits.MaxAutomaticExits)
	if c.disarmed || !c.recovered || most <= 0 || len(c.exits) < most {
		return
	}
	for i := most - 1; i < len(c.exits); i++ {
		if c.exits[i].Sub(c.exits[i-most+1]) <= limits.AutomaticExitWindow {
			c.disarmed = true
			c.emit(Disarm{MarketTime: c.now})
			return
		}
	}
}

// rearmed takes what the ledger says of whether a person has allowed more.
func (c *Core) rearmed(e Armed) {
	if !c.recovered || e.Disarmed {
		return
	}
	c.disarmed, c.losses, c.exits = e.Disarmed, e.ConsecutiveLosses, e.AutomaticExits
	c.disarmIfDue()
}

// askIfArmed asks the ledger whether a person has allowed more, as long as only
// that can help.
func (c *Core) askIfArmed() {
	state := risk.State{ConsecutiveLosses: c.losses}
	if c.disarmed || risk.LossesExceeded(&c.settings.Limits, &state) {
		c.emit(AskArmed{})
	}
}

// headroom is how much of each limit is used, of limits of a pair the most.
func (c *Core) headroom() []risk.Room {
	limits := &c.settings.Limits
	var rooms []risk.Room
	for i := range c.pairs {
		state := c.riskState(&c.pairs[i], nil)
		for _, room := range risk.Headroom(limits, &state) {
			at := slices.IndexFunc(rooms, func(known risk.Room) bool { return known.Limit == room.Limit })
			if at < 0 {
				rooms = append(rooms, room)
			} else {
				rooms[at].Used = max(rooms[at].Used, room.Used)
			}
		}
	}
	if limits.MaxAutomaticExits > 0 {
		recent := 0
		for _, exit := range c.exits {
			if c.now.Sub(exit) <= limits.AutomaticExitWindow {
				recent++
			}
		}
		rooms = append(rooms, risk.Room{Limit: risk.AutomaticExits, Used: float64(recent) / float64(limits.MaxAutomaticExits)})
	}
	return rooms
}
