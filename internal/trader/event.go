package trader

import (
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Event is something that the core is told.
type Event interface{ event() }

// The events. Those of every bar are handed over by pointer, so that telling them
// allocates nothing.
type (
	// Observed is a bar of the past: enough to learn from, nothing to trade on.
	Observed struct{ Bar market.PairBar }
	// Recovered is what the ledger holds once it agrees with the venue.
	Recovered struct {
		Epoch    int64
		Snapshot ledger.Snapshot
	}
	// Arrived is the next bar.
	Arrived struct{ Bar market.PairBar }
	// Ticked is the time of a market that moves without bars.
	Ticked struct{ Now time.Time }
	// Passed is the time of a market whose time is the wall clock's.
	Passed struct{ Now time.Time }
	// Polled says that it is time to ask the venue for open orders.
	Polled struct{}
	// Updated are new limits or another state of trading.
	Updated struct{ Settings Settings }
	// Deleting is the wish of the owner to end the agent.
	Deleting struct{ Flatten bool }
	// Urged is the time to try again what a halt asks for.
	Urged struct{}
	// Closing is a person's wish that a position be closed.
	Closing struct{ Request ledger.Request }
	// Recalled is what a wish has led to before; Err is ledger.ErrConflict if its
	// key stands for another one.
	Recalled struct {
		Request ledger.Request
		Orders  []uuid.UUID
		Err     error
	}
	// Ruled is the outcome of a debate; Err says why there is none.
	Ruled struct {
		Pair   string
		BarEnd time.Time
		Ruling decision.Ruling
		Err    error
	}
	// Committed says that the decision in hand is in the ledger, and its intents as
	// they were frozen; nil if they are as they were proposed. The ledger knows with
	// it that the first of them is being sent.
	Committed struct{ Intents []order.Intent }
	// Refused says that the ledger will never take the decision in hand.
	Refused struct{ Err error }
	// SendBegun says that the ledger knows that the order is being sent.
	SendBegun struct{ ID uuid.UUID }
	// News is what the venue says of an order, fills apart.
	News struct {
		ID           uuid.UUID
		Event        order.Event
		VenueOrderID string
		Reason       string
		// Filled is how much is filled as far as the venue says; an order does not
		// end before so much of it is booked.
		Filled market.Quantity
	}
	// FillSeen is a fill that the venue reports.
	FillSeen struct{ Fill order.Fill }
	// FillBooked is a fill that the ledger has; New is false if it had it before.
	FillBooked struct {
		Fill order.Fill
		New  bool
	}
	// Armed is what the ledger says of whether a person has allowed more.
	Armed struct{ ledger.Arming }
	// Funded are the agent's shares of totals that bind several agents.
	Funded struct{ Shares map[string]market.Money }
	// Impaired says that the ledger or the venue cannot be relied on until the
	// next Recovered.
	Impaired struct{ Reason, Message string }
	// DataLost says that the feed fails; the next bar ends it.
	DataLost struct{ Message string }
	// DataEnded says that no bar will come any more.
	DataEnded struct{}
)

func (Observed) event()   {}
func (Recovered) event()  {}
func (*Arrived) event()   {}
func (Ticked) event()     {}
func (Passed) event()     {}
func (Polled) event()     {}
func (Updated) event()    {}
func (Deleting) event()   {}
func (Urged) event()      {}
func (Closing) event()    {}
func (Recalled) event()   {}
func (*Ruled) event()     {}
func (*Committed) event() {}
func (Refused) event()    {}
func (SendBegun) event()  {}
func (News) event()       {}
func (FillSeen) event()   {}
func (FillBooked) event() {}
func (Armed) event()      {}
func (Funded) event()     {}
func (Impaired) event()   {}
func (DataLost) event()   {}
func (DataEnded) event()  {}

// Command is something that the core wants done. Commands are carried out one
// after another; what comes of each is told to the core as an event.
type Command interface{ command() }

// The commands.
type (
	// Deliberate holds the debate; answered by Ruled.
	Deliberate struct {
		View   decision.View
		BarEnd time.Time
	}
	// Commit puts a decision and its intents into the ledger, or a wish and those
	// that it leads to; answered by Committed or Refused.
	Commit struct {
		Decision ledger.Decision
		Intents  []order.Intent
		// Request is nil for a decision.
		Request *ledger.Request
	}
	// Recall asks the ledger what a wish has led to before; answered by Recalled.
	Recall struct{ Request ledger.Request }
	// Answer tells those who wait what becomes of a wish.
	Answer struct {
		Request ledger.Request
		Closed  Closed
	}
	// BeginSend records that an order is about to be sent, unless that was recorded
	// with its commit; answered by SendBegun.
	BeginSend struct {
		ID       uuid.UUID
		Recorded bool
	}
	// Send places an order, once and never again; answered by News, or by
	// SendBegun if the owner had something to say first.
	Send struct{ Intent order.Intent }
	// Cancel cancels an open order; answered by News if the order has ended.
	Cancel struct{ ID uuid.UUID }
	// Lookup asks the venue what became of an order; answered by News.
	Lookup struct{ ID uuid.UUID }
	// Record writes news of an order to the ledger.
	Record struct{ Update ledger.OrderUpdate }
	// Book books a fill; answered by FillBooked.
	Book struct{ Fill order.Fill }
	// SaveMark writes the agent's value to the ledger.
	SaveMark struct{ Mark ledger.Mark }
	// Fund asks for shares of totals that bind several agents, or gives them back;
	// answered by Funded.
	Fund struct{ Claims []ledger.Claim }
	// Disarm records that the agent only reduces until a person allows more.
	Disarm struct{ MarketTime time.Time }
	// AskArmed asks whether a person has; answered by Armed.
	AskArmed struct{}
)

func (Deliberate) command() {}
func (Commit) command()     {}
func (Recall) command()     {}
func (Answer) command()     {}
func (BeginSend) command()  {}
func (Send) command()       {}
func (Cancel) command()     {}
func (Lookup) command()     {}
func (Record) command()     {}
func (Book) command()       {}
func (SaveMark) command()   {}
func (Fund) command()       {}
func (Disarm) command()     {}
func (AskArmed) command()   {}
