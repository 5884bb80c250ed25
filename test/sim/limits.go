package sim

import (
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// limits is a second model of what agents may do, written without a look at the
// gate: it knows what has left, what the exchange has made of it, and prices. All
// values are in hundred-thousandths of a dollar, which is one lot at one tick.
type limits struct {
	w *world
	// closes are the newest prices of each pair, the newest last.
	closes map[string][]int64
	// live are orders that have left and may yet be filled.
	live map[uuid.UUID]*exposure
	// moments at which orders of an agent left, and its openings of the day.
	moments  map[*agent][]time.Time
	openings map[*agent]int32
}

// exposure is what one order may come to.
type exposure struct {
	agent *agent
	pair  string
	side  order.Side
	rest  int64
	opens bool
}

func newLimits(w *world) *limits {
	return &limits{
		w: w, closes: map[string][]int64{}, live: map[uuid.UUID]*exposure{},
		moments: map[*agent][]time.Time{}, openings: map[*agent]int32{},
	}
}

// perDollar is how many units a dollar has.
const perDollar = 100_000

// in says how many units an amount is.
func in(amount market.Money) int64 { return int64(amount) / (int64(market.MoneyUnit) / perDollar) }

// remembered is how many closes an agent may still trade by: its data may be three
// bars old, its bars are late, and so are its orders.
const remembered = 5

// held lots of a pair, by the exchange's book.
func (l *limits) held(pair string) int64 { return int64(l.w.exchange.lots(pair)) }

func (l *limits) move(bar market.PairBar) {
	l.closes[bar.Pair] = append(l.closes[bar.Pair], int64(bar.Close))
	l.closes[bar.Pair] = l.closes[bar.Pair][max(0, len(l.closes[bar.Pair])-remembered):]
}

// left holds an order that leaves against every limit.
func (l *limits) left(a *agent, intent *order.Intent) {
	fail, bound := l.w.judge.fail, &l.w.plan.limits
	if value := int64(intent.Limit) * int64(intent.Quantity); value > in(bound.MaxOrderNotional) {
		fail("order %s is worth %d units", intent.ID, value)
	}
	// Old data keeps nobody from leaving a position.
	if !intent.ReduceOnly && !l.near(intent.Pair, int64(intent.Limit)) {
		fail("order %s at %d is too far from all of %v", intent.ID, intent.Limit, l.closes[intent.Pair])
	}
	l.moments[a] = append(l.moments[a], l.w.now)
	moments := l.moments[a]
	if most := int(bound.MaxPerSecond); len(moments) > most && l.w.now.Sub(moments[len(moments)-1-most]) < time.Second {
		fail("order %s is one of more than %d within a second", intent.ID, most)
	}
	if intent.ReduceOnly {
		if against := -l.held(intent.Pair) * int64(intent.Side); int64(intent.Quantity) > against {
			fail("order %s of %d lots only reduces, and %d are held against it", intent.ID, intent.Quantity, against)
		}
	} else if l.openings[a]++; l.openings[a] > bound.MaxTradesPerDay {
		fail("order %s opens for the %dth time today", intent.ID, l.openings[a])
	}
	l.live[intent.ID] = &exposure{a, intent.Pair, intent.Side, int64(intent.Quantity), !intent.ReduceOnly}
	if intent.ReduceOnly {
		return
	}
	if pairs := l.pairs(a); pairs > int(bound.MaxPositions) {
		fail("order %s makes %d positions", intent.ID, pairs)
	}
	if gross := l.gross(a); gross > in(bound.MaxGross) {
		fail("order %s makes the positions of %s worth %d units", intent.ID, a.name, gross)
	}
	if total := l.w.plan.total; total != nil {
		var sum int64
		for _, other := range l.w.agents {
			sum += l.gross(other)
		}
		// What agents hold may rise in value without an order.
		if drift := in(total.MaxGross) / 10; sum > in(total.MaxGross)+drift {
			fail("order %s makes all positions of the account worth %d units", intent.ID, sum)
		}
	}
}

// near reports whether a limit is within the collar of a price that an agent may
// know.
func (l *limits) near(pair string, limit int64) bool {
	known := l.closes[pair]
	if len(known) < remembered {
		known = append([]int64{int64(l.w.exchange.bars[pair][warmUp-1].Close)}, known...)
	}
	for _, price := range known {
		if distance := max(limit-price, price-limit); distance*1000 <= price*int64(l.w.plan.limits.PriceCollar)/1_000_000 {
			return true
		}
	}
	return false
}

// pairs in which an agent holds something or is about to open something.
func (l *limits) pairs(a *agent) int {
	count := 0
	for _, instrument := range a.config.Agent.Instruments {
		held := l.held(instrument.Pair)
		used := held != 0
		for _, e := range l.live {
			used = used || (e.pair == instrument.Pair && e.opens)
		}
		if used {
			count++
		}
	}
	return count
}

// gross is what the positions of an agent may be worth at least, once what is open
// is filled in the worst way.
func (l *limits) gross(a *agent) int64 {
	var sum int64
	for _, instrument := range a.config.Agent.Instruments {
		var buys, sells int64
		for _, e := range l.live {
			switch {
			case e.pair != instrument.Pair:
			case e.side == order.Buy:
				buys += e.rest
			default:
				sells += e.rest
			}
		}
		held := l.held(instrument.Pair)
		lots := max(held+buys, -(held + buys), held-sells, sells-held)
		low := int64(l.w.exchange.bars[instrument.Pair][warmUp-1].Close)
		for i, price := range l.closes[instrument.Pair] {
			if i == 0 && len(l.closes[instrument.Pair]) == remembered {
				low = price
			}
			low = min(low, price)
		}
		sum += lots * low
	}
	return sum
}

func (l *limits) accepted(o *placed) {
	if l.live[o.id] == nil {
		l.w.judge.fail("order %s was accepted and never left", o.id)
	}
}

// over is told of orders that can be filled no more.
func (l *limits) over(id uuid.UUID) { delete(l.live, id) }

func (l *limits) filled(o *placed, part market.Quantity) {
	if e := l.live[o.id]; e != nil {
		e.rest -= int64(part)
	}
	if o.state.Final() {
		l.over(o.id)
	}
}
