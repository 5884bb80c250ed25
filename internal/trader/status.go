package trader

import (
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// Status is a snapshot of what the agent does and why. It shares nothing with
// the core.
type Status struct {
	// Epoch of this process, and the last one for which ledger and venue were
	// found to agree. The agent trades only when they are equal.
	Epoch, ReconciledEpoch int64
	Generation             int64
	State                  risk.TradingState
	Reason, Message        string
	Loop                   Loop
	Currency               string
	// Equity is known when EquityKnown; PNL is equity less the balance that the
	// agent was given.
	EquityKnown       bool
	Equity, PNL, Peak market.Money
	DayStartEquity    market.Money
	TradesToday       int32
	Decisions, Fills  int64
	// OpenOrders, of which Unknown have an outcome that is not known.
	OpenOrders, Unknown int32
	Positions           []PositionStatus
	LastDecision        *ledger.Decision
	// Data describes the feed.
	Data        string
	LastBarTime time.Time
	// Known says that the figures and positions are: ledger and venue have agreed
	// once in this process.
	Known bool
	// Headroom is how much of each limit is used, of limits of a pair the most.
	Headroom []risk.Room
	// Refused counts the orders that were not let out although they had been
	// committed: what was to leave was not what had been approved.
	Refused []venue.Refusal
	// Halts in force, and how far each has been obeyed.
	Halts []Obeyed
	// Finished says that an agent that is being deleted has nothing left to do.
	Finished bool
}

// PositionStatus is one position that is not flat.
type PositionStatus struct {
	Instrument market.Instrument
	ledger.Position
	// LastPrice is zero if it is not known.
	LastPrice market.Price
}

// Ready reports whether the agent has reconciled with its venue for its epoch.
func (s *Status) Ready() bool { return s.Epoch > 0 && s.Epoch == s.ReconciledEpoch }

// Status is the core's part of the snapshot.
func (c *Core) Status() Status {
	status := Status{
		Epoch: c.epoch, Generation: c.settings.Generation, Loop: c.loop,
		Currency: c.config.Agent.Currency, Peak: c.peak, DayStartEquity: c.dayEquity, TradesToday: c.tradesToday,
		Decisions: c.decisions, Fills: c.fills, OpenOrders: int32(len(c.open)), //nolint:gosec // a handful
		LastDecision: c.lastDecision, LastBarTime: c.lastBar, Finished: c.Finished(), Known: c.epoch > 0,
	}
	if c.recovered || c.impairment.Reason == ReasonLedgerUnavailable {
		status.ReconciledEpoch = c.reconciledEpoch
	}
	status.State, status.Reason, status.Message = c.tradingState()
	status.Headroom = c.headroom()
	status.Halts = c.obeyed()
	if equity, known := c.equity(); known {
		status.EquityKnown, status.Equity, status.PNL = true, equity, equity-c.config.Agent.Balance
	}
	for i := range c.open {
		if c.open[i].state.Unsettled() {
			status.Unknown++
		}
	}
	for i := range c.pairs {
		pair := &c.pairs[i]
		if pair.position.Quantity != 0 {
			status.Positions = append(status.Positions, PositionStatus{Instrument: pair.instrument, Position: pair.position, LastPrice: pair.price})
		}
	}
	return status
}
