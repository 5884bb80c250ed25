package risk

import (
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Unlimited is the value of an amount, fraction or count that does not bind. The
// zero value of a greatest amount is its strictest, so that limits nobody filled
// in deny.
const Unlimited = -1

// Limits are what binds each order of one agent. What is called Max denies above
// it, equal passes, unless it says otherwise.
type Limits struct {
	// MinOrderNotional is the smallest value of an opening order at its worst
	// price; zero is none. MaxOrderNotional is the largest of any order, reducing
	// ones included.
	MinOrderNotional, MaxOrderNotional market.Money
	// PriceCollar is the furthest that a limit price may be from the reference
	// price, as a share of it.
	PriceCollar order.Fraction
	// MaxPerSecond is how many orders may be sent within one second, this one
	// included; those that were rejected count, cancellations do not.
	MaxPerSecond int32
	// DuplicateWindow is how long an opening order of the same side, quantity and
	// price counts as sent by mistake; zero is never.
	DuplicateWindow time.Duration

	// MaxGross is the value of all positions, long and short added up, MaxNet the
	// value by which one side is larger, with this and all open orders filled.
	MaxGross, MaxNet market.Money
	// MaxLeverage is how many times equity the gross value may be; it may be more
	// than order.Whole.
	MaxLeverage order.Fraction
	// MaxPositionFraction is the largest share of equity that a position may be
	// worth with this and all open orders filled.
	MaxPositionFraction order.Fraction
	// MaxPositions is how many pairs may be held or being opened, this one
	// included.
	MaxPositions int32
	// MaxCorrelatedPositions is how many of these may move together, this one
	// included: their correlation is above Correlation, or not known.
	MaxCorrelatedPositions int32
	Correlation            order.Fraction
	// MaxValueAtRisk is the largest share of equity that may be lost within a day
	// in the worst of twenty days, by what prices have done.
	MaxValueAtRisk order.Fraction
	// MaxVolatility is the volatility of a day above which a decision needs a
	// confidence of VolatileConfidence.
	MaxVolatility, VolatileConfidence order.Fraction

	// MaxTradesPerDay is how many opening orders may be made in one day, this
	// one included.
	MaxTradesPerDay int32
	// MaxDrawdown is the largest fall from the highest equity, as a share of it.
	MaxDrawdown order.Fraction
	// MaxDailyLoss is the largest loss since the day began, as a share of the
	// equity then.
	MaxDailyLoss order.Fraction
	// MaxConsecutiveLosses is how many trades in a row may lose before nothing is
	// opened any more.
	MaxConsecutiveLosses int32
	// StopCoolDown is how long nothing is opened in a pair after its stop; zero
	// is no time.
	StopCoolDown time.Duration
	// MaxAutomaticExits is how many stops within AutomaticExitWindow disarm the
	// agent: the last of them does.
	MaxAutomaticExits   int32
	AutomaticExitWindow time.Duration

	// MaxDataAge is how old the reference price may be.
	MaxDataAge time.Duration
	// MaxFrozenBars is how many bars in a row may have changed nothing, and
	// MaxMissingBars how many may be missing before the newest.
	MaxFrozenBars, MaxMissingBars int32
}

// NoLimits are limits of which none binds.
func NoLimits() Limits {
	const forever = 1<<63 - 1
	return Limits{
		MaxOrderNotional: Unlimited, PriceCollar: Unlimited, MaxPerSecond: Unlimited, MaxGross: Unlimited, MaxNet: Unlimited,
		MaxLeverage: Unlimited, MaxPositionFraction: Unlimited, MaxPositions: Unlimited, MaxCorrelatedPositions: Unlimited,
		Correlation: order.Whole, MaxValueAtRisk: Unlimited, MaxVolatility: Unlimited, MaxTradesPerDay: Unlimited,
		MaxDrawdown: Unlimited, MaxDailyLoss: Unlimited, MaxConsecutiveLosses: Unlimited, MaxAutomaticExits: Unlimited,
		MaxDataAge: forever, MaxFrozenBars: Unlimited, MaxMissingBars: Unlimited,
	}
}

// TradingState says how far an agent may trade. The zero value halts.
type TradingState int8

// The states of trading, the strictest first.
const (
	Halted TradingState = iota
	Reducing
	Enabled
)

// Unknown is the value of a statistic that too few returns stand behind.
const Unknown order.Fraction = -1

// Sent is an opening order that was sent.
type Sent struct {
	Sequence int64
	Side     order.Side
	Quantity market.Quantity
	Limit    market.Price
	At       time.Time
}

// PairState is what the gate must know of the pair of an order.
type PairState struct {
	Instrument *market.Instrument
	// MinQuantity and MaxQuantity of one order; zero is none.
	MinQuantity, MaxQuantity market.Quantity
	// Restricted says that the policy lets nothing be opened in the pair, and
	// SessionClosed that it is not traded at this time.
	Restricted, SessionClosed bool
	// Reference is the newest price of the pair and ReferenceAt its time; zero
	// is unknown.
	Reference   market.Price
	ReferenceAt time.Time
	// Crossed says that the newest bid is above the ask.
	Crossed bool
	// FrozenBars is how many of the newest bars have changed nothing, and
	// MissingBars how many are missing before the newest.
	FrozenBars, MissingBars int32
	// Position of the pair, signed.
	Position market.Quantity
	// OpenBuys and OpenSells are what open orders of the pair may yet fill,
	// those of unknown outcome included, and their values at the worse of limit
	// and reference.
	OpenBuys, OpenSells         market.Quantity
	OpenBuyValue, OpenSellValue market.Money
	// HighestBuy and LowestSell are the limits of open orders that an order of
	// the other side would meet first; zero if there is none.
	HighestBuy, LowestSell market.Price
	// Unresolved says that an order of the pair has an unknown outcome.
	Unresolved bool
	// Recent are opening orders of the pair that were sent.
	Recent []Sent
	// LastStop is when a stop of the pair was last decided on; zero is never.
	LastStop time.Time
	// TailLong and TailShort are the shares of its value that a position loses
	// within a day in the worst of twenty, and Volatility the deviation of a
	// day's returns; Unknown if too few stand behind them.
	TailLong, TailShort, Volatility order.Fraction
}

// State is what the gate must know of the agent and of the pair of the order.
type State struct {
	PairState
	Trading TradingState
	// Now in the time of the market data.
	Now time.Time
	// Confidence of the decision behind the order.
	Confidence order.Fraction
	// EquityKnown is false if a held pair has no price.
	EquityKnown                        bool
	Equity, PeakEquity, DayStartEquity market.Money
	// OtherGross is what all other pairs may be worth, open orders at their
	// worst; OtherLong is by how much they may be long altogether with every
	// purchase filled, and OtherShort by how much short with every sale.
	OtherGross, OtherLong, OtherShort market.Money
	// OtherAtRisk is the value at risk in all other pairs; negative is unknown.
	OtherAtRisk market.Money
	// OtherPositions is how many other pairs are held or being opened, and
	// CorrelatedPositions how many of these move together with this one.
	OtherPositions, CorrelatedPositions int32
	// TradesToday is how many opening orders the day has had.
	TradesToday int32
	// SentLastSecond is how many orders were sent within the last second.
	SentLastSecond int32
	// ConsecutiveLosses is how many of the newest trades have lost in a row.
	ConsecutiveLosses int32
	// Disarmed says that a named person must allow opening again.
	Disarmed bool
	// PolicyShare and AccountShare are what the agent may be worth of what the
	// agents of its policy and account may be worth together; Unlimited where
	// nothing binds them.
	PolicyShare, AccountShare market.Money
}
