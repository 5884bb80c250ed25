package trader

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// consider does what a new bar of a pair asks for: leave at the stop or at the
// target, go on flattening, or hold a debate.
func (c *Core) consider(pair *pairState) {
	c.loop = Idle
	if c.busy() {
		return
	}
	if c.deleting != nil || c.haltFlattens(pair) {
		c.flatten()
		return
	}
	if c.permittedIn(pair, "") == risk.Halted {
		return
	}
	if c.hasOpen(pair.instrument.Pair) || !pair.priceAt.After(pair.lastDecided) {
		return
	}
	if c.stopped(pair) {
		c.exit(pair, OrderStop, "The price has moved against the position by more than the stop.")
		return
	}
	if c.arrived(pair) {
		c.exit(pair, OrderTarget, "The price has moved in favour of the position by as much as the target.")
		return
	}
	if !pair.fresh || !pair.frames.Ready() || pair.priceAt.Sub(pair.lastDecided) < c.config.Interval {
		return
	}
	pair.fresh = false
	view := pair.frames.View(pair.instrument.Pair)
	if quantity := pair.position.Quantity; quantity != 0 {
		view.Position = int(sign(quantity))
		value := pair.instrument.Notional(pair.price, quantity)
		view.Gain = int64(order.Scale(value-pair.position.Cost, 1_000_000, max(int64(magnitude(pair.position.Cost)), 1)))
	}
	c.loop, c.deliberating = Reasoning, true
	c.question = Deliberate{View: view, BarEnd: pair.priceAt}
	c.emit(&c.question)
}

// busy says that something must be answered before more is done.
func (c *Core) busy() bool { return !c.recovered || c.deliberating || c.inHand != nil }

// stopped reports whether the price has moved against the position by more than
// the stop, measured from what was paid for it.
func (c *Core) stopped(pair *pairState) bool {
	gain, known := gainOf(pair)
	return known && order.ExceedsShare(-gain, c.config.Stop, magnitude(pair.position.Cost))
}

// arrived reports whether the price has moved in favour of the position by the
// target, measured as the stop is.
func (c *Core) arrived(pair *pairState) bool {
	gain, known := gainOf(pair)
	return known && c.config.Target > 0 && order.ReachesShare(gain, c.config.Target, magnitude(pair.position.Cost))
}

// gainOf is what the position is worth more than was paid for it; unknown if
// there is no position or no price.
func gainOf(pair *pairState) (gain market.Money, known bool) {
	if pair.position.Quantity == 0 || pair.price <= 0 {
		return 0, false
	}
	return pair.instrument.Notional(pair.price, pair.position.Quantity) - pair.position.Cost, true
}

// ruled makes an order of a ruling, or the reason why there is none, and commits
// either.
func (c *Core) ruled(e Ruled) {
	if !c.recovered || !c.deliberating {
		return
	}
	c.deliberating, c.loop = false, RiskCheck
	pair := c.pair(e.Pair)
	if e.Err != nil {
		c.commit(pair, decision.Hold, 0, OutcomeModelFailed, c.reasoning(e.Ruling, e.Err.Error()), nil)
		return
	}
	proposed, outcome := c.propose(pair, e.Ruling)
	confidence := confidenceOf(e.Ruling.ConfidenceMicros)
	if c.fund(pair, e, proposed, confidence) {
		return
	}
	intents, denied := c.pass(pair, proposed, confidence)
	if len(denied) > 0 {
		outcome = string(denied[0])
	}
	c.commit(pair, e.Ruling.Action, e.Ruling.ConfidenceMicros, outcome, c.reasoning(e.Ruling, "", denied...), intents)
}

// pass holds the legs of a proposal against the gate, each with those before it
// open. It returns the legs that pass, or why the first one does not.
func (c *Core) pass(pair *pairState, proposed []order.Intent, confidence order.Fraction) ([]order.Intent, []risk.Reason) {
	if len(proposed) == 0 {
		return nil, nil
	}
	state := c.riskState(pair, nil)
	state.Confidence = confidence
	state.Trading = c.permittedIn(pair, proposed[0].Reason)
	for i := range proposed {
		leg := &proposed[i]
		verdict := risk.Check(&c.settings.Limits, &state, leg)
		switch {
		case !verdict.Allowed() && i == 0:
			return nil, verdict.Reasons()
		case !verdict.Allowed():
			return proposed[:i], nil
		case leg.Side == order.Buy:
			state.OpenBuys += leg.Quantity
		default:
			state.OpenSells += leg.Quantity
		}
		state.SentLastSecond++
	}
	return proposed, nil
}

// propose is what a ruling asks for, before any limit but those that bound its
// size.
func (c *Core) propose(pair *pairState, ruling decision.Ruling) ([]order.Intent, string) {
	side, held := ruling.Action.Side(), pair.position.Quantity
	switch {
	case ruling.Action == decision.Hold:
		return nil, OutcomeHold
	case ruling.ConfidenceMicros*1000 < int64(c.config.MinConfidence):
		return nil, OutcomeLowConfidence
	case held != 0 && sign(held) == int64(side):
		return nil, OutcomeAlreadyHeld
	case held != 0:
		legs := c.exitLegs(pair, OrderDecision)
		if len(legs) == 0 {
			return nil, string(risk.MaxOrderNotional)
		}
		return legs, OutcomeOrdered
	case side == order.Sell && !c.config.LongShort:
		return nil, OutcomeLongOnly
	}
	limit := c.limitPrice(pair, side, c.collar()/2)
	quantity := pair.instrument.QuantityFor(max(limit, pair.price), c.budget(side))
	if most := pair.settings.MaxQuantity; most != 0 {
		quantity = min(quantity, most)
	}
	if quantity <= 0 {
		return nil, OutcomeTooSmall
	}
	return []order.Intent{c.intent(pair, side, quantity, limit, 0, OrderDecision)}, OutcomeOrdered
}

// budget is the value of an opening order: what may be lost at the stop decides,
// and the limits on size and the cash at hand bound it.
func (c *Core) budget(side order.Side) market.Money {
	equity, known := c.equity()
	if !known || equity <= 0 {
		return 0
	}
	limits := &c.settings.Limits
	budget := order.Scale(equity, int64(c.config.Risk), int64(c.config.Stop))
	if limits.MaxOrderNotional != risk.Unlimited {
		budget = min(budget, limits.MaxOrderNotional)
	}
	if limits.MaxPositionFraction != risk.Unlimited {
		budget = min(budget, limits.MaxPositionFraction.Of(equity))
	}
	if side == order.Buy {
		free := c.cash
		for i := range c.open {
			if !c.open[i].ReduceOnly {
				free -= c.open[i].Reserved
			}
		}
		// A hundredth is left for fees.
		budget = min(budget, order.Scale(free, 99, 100))
	}
	return budget
}

// exit leaves a position without a debate. If the gate denies it, nothing is
// committed, and the next bar tries again.
func (c *Core) exit(pair *pairState, why, sentence string) {
	legs, denied := c.pass(pair, c.exitLegs(pair, why), order.Whole)
	if len(denied) > 0 || len(legs) == 0 {
		return
	}
	c.loop = RiskCheck
	action := decision.Sell
	if legs[0].Side == order.Buy {
		action = decision.Buy
	}
	ruling := decision.Ruling{Action: action, ConfidenceMicros: 1_000_000, Judge: why, Reasons: []string{sentence}}
	c.commit(pair, action, ruling.ConfidenceMicros, OutcomeOrdered, c.reasoning(ruling, ""), legs)
}

// mostLegs is how many orders one decision may make. A position that is larger
// than so many of the largest orders is left over several decisions.
const mostLegs = 16

// exitLegs closes a position, in as many orders as the largest one asks for. They
// are of about one size: a small rest would be below what the venue takes.
func (c *Core) exitLegs(pair *pairState, why string) []order.Intent {
	side := order.Side(-sign(pair.position.Quantity)) //nolint:gosec // -1, 0 or 1
	limit := c.limitPrice(pair, side, c.collar())
	left := magnitude(pair.position.Quantity)
	largest := left
	if most := c.settings.Limits.MaxOrderNotional; most != risk.Unlimited {
		largest = min(largest, pair.instrument.QuantityFor(max(limit, pair.price), most))
	}
	if most := pair.settings.MaxQuantity; most != 0 {
		largest = min(largest, most)
	}
	if left <= 0 || largest <= 0 {
		return nil
	}
	count := min((left+largest-1)/largest, mostLegs)
	legs := make([]order.Intent, 0, count)
	for ; count > 0; count-- {
		quantity := min((left+count-1)/count, largest)
		left -= quantity
		leg := c.intent(pair, side, quantity, limit, int32(len(legs)), why) //nolint:gosec // at most mostLegs
		leg.ReduceOnly = true
		legs = append(legs, leg)
	}
	return legs
}

// defaultCollar is how far from the newest price orders are limited where no
// collar binds.
const defaultCollar = order.Whole / 50

func (c *Core) collar() order.Fraction {
	if collar := c.settings.Limits.PriceCollar; collar >= 0 {
		return collar
	}
	return defaultCollar
}

// limitPrice is the newest price made worse by a share of it, so that the order
// is filled at once unless the market has moved.
func (c *Core) limitPrice(pair *pairState, side order.Side, share order.Fraction) market.Price {
	return max(pair.price+market.Price(side)*share.OfPrice(pair.price), 1)
}

func (c *Core) intent(pair *pairState, side order.Side, quantity market.Quantity, limit market.Price, leg int32, why string) order.Intent {
	agent := &c.config.Agent
	return order.Intent{
		ID:      order.NewID(agent.Account, agent.UID, c.sequence+1, leg, 0),
		Account: agent.Account, AgentUID: agent.UID, Sequence: c.sequence + 1, Leg: leg,
		Pair: pair.instrument.Pair, Side: side, Quantity: quantity, Limit: limit,
		Reserved:   pair.instrument.Notional(max(limit, pair.price), quantity),
		MarketTime: c.now, Reason: why,
	}
}

// commit puts a decision in hand. Nothing else is decided until it is answered.
func (c *Core) commit(pair *pairState, action decision.Action, confidence int64, outcome string, reasons []byte, intents []order.Intent) {
	barEnd := pair.priceAt
	if !barEnd.After(pair.lastDecided) {
		// No bar asks for it: a position is closed while the market stands still.
		barEnd = c.now
	}
	if len(intents) > 0 {
		c.loop = Execution
	}
	c.inHand = &Commit{Intents: intents, Decision: ledger.Decision{
		Sequence: c.sequence + 1, Pair: pair.instrument.Pair, BarEnd: barEnd, Action: string(action),
		ConfidenceMicros: confidence, Outcome: outcome, Reasoning: reasons,
	}}
	c.emit(c.inHand)
}

// committed counts the decision and begins to send its orders.
func (c *Core) committed(e Committed) {
	if c.inHand == nil {
		return
	}
	done := c.inHand
	if e.Intents != nil {
		done.Intents = e.Intents
	}
	c.inHand, c.loop = nil, Idle
	var pair *pairState
	if done.Request != nil {
		pair = c.pair(done.Request.Pair)
		c.sequence = done.Intents[0].Sequence
		c.granted(*done.Request, done.Intents)
	} else {
		pair = c.pair(done.Decision.Pair)
		c.sequence = done.Decision.Sequence
		c.decisions++
		c.lastDecision = &done.Decision
		pair.lastDecided = done.Decision.BarEnd
	}
	for i, intent := range done.Intents {
		if !intent.ReduceOnly {
			c.tradesToday++
		}
		c.open = append(c.open, openOrder{
			Intent: intent, state: order.Intended, placedAt: pair.bars, wished: done.Request != nil,
			confidence: confidenceOf(done.Decision.ConfidenceMicros),
		})
		c.emit(BeginSend{ID: intent.ID, Recorded: i == 0})
	}
	if len(done.Intents) > 0 && done.Intents[0].Reason == OrderStop {
		c.exited(pair, done.Intents[0].MarketTime)
	}
	if len(done.Intents) == 0 {
		c.flatten()
	}
}

// refused gives up what is in hand: the bar was decided on before, or the venue
// could never accept the order.
func (c *Core) refused() {
	if c.inHand == nil {
		return
	}
	if request := c.inHand.Request; request != nil {
		c.inHand, c.loop = nil, Idle
		c.deny(*request, ReasonUnacceptable)
		return
	}
	c.pair(c.inHand.Decision.Pair).lastDecided = c.inHand.Decision.BarEnd
	c.inHand, c.loop = nil, Idle
}

// reasoning is what is kept of a debate, as JSON; nothing of a terse one.
func (c *Core) reasoning(ruling decision.Ruling, failure string, denied ...risk.Reason) []byte {
	if c.config.Debate.Terse {
		return nil
	}
	text, err := json.Marshal(struct {
		decision.Ruling
		Failure string        `json:"failure,omitempty"`
		Denied  []risk.Reason `json:"denied,omitempty"`
	}{ruling, failure, denied})
	if err != nil {
		return fmt.Appendf(nil, "{%q:%q}", "failure", err.Error())
	}
	return text
}

// confidenceOf is a confidence in millionths as a share.
func confidenceOf(micros int64) order.Fraction {
	return order.Fraction(micros) * (order.Whole / 1_000_000)
}

// within reports whether b is at most a span after a.
func within(a, b time.Time, span time.Duration) bool { return b.Sub(a) < span }

func sign[T ~int64](value T) int64 {
	switch {
	case value > 0:
		return 1
	case value < 0:
		return -1
	}
	return 0
}

func magnitude[T ~int64](value T) T {
	if value < 0 {
		return -value
	}
	return value
}
