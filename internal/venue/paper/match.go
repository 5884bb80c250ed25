package paper

import (
	"encoding/binary"
	"hash/fnv"
	"math/bits"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// openTolerance is how long after a bar's start an order may become fillable
// and still get its open: a bar's first trade is rarely in its first second, and
// bars cannot tell finer. A slower order gets the first price that is surely
// later, the close.
const openTolerance = time.Second

// match is the fill that a bar gives an order, if any.
//
// An order that can be filled at once takes the quote, worsened by slippage. If
// that is beyond its limit it rests, and is filled at the limit as a maker when
// the bar trades through it. A fill carries the bar's end, the moment at which
// it is known.
func (v *Venue) match(o BookOrder, bar market.Bar) (order.Fill, bool) {
	done := v.executed[o.ID]
	fillable := o.AcceptedAt.Add(v.config.Latency)
	if fillable.After(bar.End) || (done.parts > 0 && !done.last.Before(bar.End)) {
		return order.Fill{}, false
	}
	dice := newDice(v.config.Seed, o.ID, done.parts)
	atOpen := !fillable.After(bar.Start.Add(openTolerance))
	price, fee := v.taken(o.Side, bar, atOpen, &dice), v.config.TakerFee
	if beyond(o.Side, price, o.Limit) {
		if !atOpen || !through(o.Side, bar, o.Limit) {
			return order.Fill{}, false
		}
		price, fee = o.Limit, v.config.MakerFee
	}
	quantity := o.Quantity - o.Filled
	if done.parts == 0 && quantity > 1 && dice.below(uint64(order.Whole)) < uint64(v.config.PartialFill) { //nolint:gosec // a share is never negative
		// Between a fifth and four fifths fill first, the rest on a later bar.
		percent := 20 + dice.below(61)
		quantity = max(1, market.Quantity(mulDiv(uint64(quantity), percent, 100))) //nolint:gosec // not more than the order's quantity
	}
	return order.Fill{
		Venue: Name, Account: v.config.Account, TradeID: o.ID.String() + "-" + strconv.Itoa(done.parts+1),
		OrderID: o.ID, Pair: o.Pair, Side: o.Side, Quantity: quantity, Price: price,
		Fee:         fee.Of(v.instruments[o.Pair].Notional(price, quantity)),
		FeeCurrency: v.instruments[o.Pair].Quote, MarketTime: bar.End,
	}, true
}

// taken is the price of a fill that takes liquidity at the bar's open or close.
func (v *Venue) taken(side order.Side, bar market.Bar, atOpen bool, dice *dice) market.Price {
	middle, half := bar.Close, market.Price(0)
	if atOpen {
		middle = bar.Open
	}
	switch quoted := bar.Bid > 0 && bar.Ask >= bar.Bid; {
	case quoted && !atOpen && side == order.Buy:
		middle = bar.Ask
	case quoted && !atOpen:
		middle = bar.Bid
	case quoted:
		half = (bar.Ask - bar.Bid + 1) / 2
	default:
		half = (v.config.Spread.OfPrice(middle) + 1) / 2
	}
	quote := middle + market.Price(side)*half
	most := uint64(max(v.config.Slippage.OfPrice(quote), 0))
	return max(quote+market.Price(side)*market.Price(dice.below(most+1)), 1) //nolint:gosec // below a price
}

// beyond reports whether a price is worse than the limit.
func beyond(side order.Side, price, limit market.Price) bool {
	return (price-limit)*market.Price(side) > 0
}

// through reports whether the bar traded at a better price than the limit.
func through(side order.Side, bar market.Bar, limit market.Price) bool {
	if side == order.Buy {
		return bar.Low < limit
	}
	return bar.High > limit
}

// dice are numbers that depend on nothing but the seed, the order and the part,
// so that neither a restart nor the order of calls changes a fill.
type dice struct{ state uint64 }

func newDice(seed int64, id uuid.UUID, part int) dice {
	hash := fnv.New64a()
	var buffer [32]byte
	binary.BigEndian.PutUint64(buffer[0:], uint64(seed)) //nolint:gosec // the bits are what counts
	copy(buffer[8:], id[:])
	binary.BigEndian.PutUint64(buffer[24:], uint64(part)) //nolint:gosec // the bits are what counts
	_, _ = hash.Write(buffer[:])
	return dice{state: hash.Sum64()}
}

// below is the next number of SplitMix64, below the bound; 0 if the bound is 0.
func (d *dice) below(bound uint64) uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	high, _ := bits.Mul64(z^z>>31, bound)
	return high
}

// mulDiv is a × b ÷ c, rounded down; the result must fit.
func mulDiv(a, b, c uint64) uint64 {
	high, low := bits.Mul64(a, b)
	quotient, _ := bits.Div64(high, low, c)
	return quotient
}
