// Package ledger is the desk's book of record: epochs that fence old writers,
// decisions, intents committed before they are sent, orders, fills and
// double-entry postings. It is kept in PostgreSQL; a memory ledger that obeys
// the same rules serves backtests.
package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Errors that a caller must tell apart.
var (
	// ErrFenced means that a newer epoch owns the agent: this process must stop
	// trading and end.
	ErrFenced = errors.New("a newer process of this agent has taken over its epoch")
	// ErrPairClaimed means that another agent trades the pair on this account.
	ErrPairClaimed = errors.New("the pair is traded by another agent on this account")
	// ErrDecided means that the agent has already decided on this pair and bar.
	ErrDecided = errors.New("already decided on this pair and bar")
	// ErrOutcomeUnknown means that the reply to a commit was lost and that the
	// database could not be asked again: the caller asks with the same key
	// before it does anything else. It is ErrUnavailable too, so test for this
	// one first.
	ErrOutcomeUnknown = database.ErrOutcomeUnknown
	// ErrUnavailable means that the database cannot be reached or does not
	// answer in time. Unless it is ErrOutcomeUnknown, nothing has changed.
	ErrUnavailable = database.ErrUnavailable
	// ErrPairHeld means that a pair cannot be given up or redefined, because
	// the agent holds a position or has open orders in it.
	ErrPairHeld = errors.New("the pair is not flat")
	// ErrConflict means that a key is taken by something of other content.
	ErrConflict = errors.New("the key is taken by something else")
	// ErrForgot means that the database has lost something that it had said to be
	// committed, or may have: after a restore of an older copy or a fail-over. The
	// agent loads what it has left, opens nothing until every open order is proven
	// at the venue, and says so with Proven.
	ErrForgot = errors.New("the database has forgotten what it was told")
	// ErrNotDurable means that the database's settings let a crash forget what it
	// has committed. No process works with such a one.
	ErrNotDurable = errors.New("the database could forget what it has committed")
	// ErrNoIntent means that an order is news to the ledger: it never committed
	// an intent with that id for this agent.
	ErrNoIntent = errors.New("the ledger has no intent with this id for this agent")
)

// Agent is who writes.
type Agent struct {
	// UID of the TradingAgent object; Namespace and Name are for people.
	UID, Namespace, Name string
	// Account is the UID of the TradingAccount object.
	Account string
	// Venue of the account, such as Paper.
	Venue string
	// Currency that the agent's book is kept in, and the balance that it is
	// given once, at its first epoch.
	Currency string
	Balance  market.Money
	// Instruments of the pairs that the agent trades and claims.
	Instruments []market.Instrument
	// Holder identifies the process: the pod's UID.
	Holder string
}

// Lease is the right of one process to write for an agent, until a newer epoch
// exists.
type Lease struct {
	Agent Agent
	// Epoch of this process; it only grows.
	Epoch int64
}

// Decision is one ruling on one pair and bar.
type Decision struct {
	// Sequence counts the agent's decisions from 1 and never restarts. After the
	// database has forgotten it goes on from Snapshot.LastSequence.
	Sequence int64
	Pair     string
	// BarEnd is the end of the bar that was decided on, in market time.
	BarEnd time.Time
	// Action is Buy, Sell or Hold.
	Action string
	// ConfidenceMicros is the confidence in millionths.
	ConfidenceMicros int64
	// Outcome is Ordered, or the reason why there was no order.
	Outcome string
	// Reasoning is what bull, bear and judge said, as JSON.
	Reasoning []byte
}

// OrderUpdate is news of an order.
type OrderUpdate struct {
	ID    uuid.UUID
	State order.State
	// VenueOrderID given by the venue, once known.
	VenueOrderID string
	// Reason for a rejection, cancellation or unknown outcome.
	Reason     string
	MarketTime time.Time
	// At is when the process learnt it, in real time by its own clock, which is
	// the one that requests are signed by; zero takes the ledger's clock.
	At time.Time
}

// Order is an intent and what became of it.
type Order struct {
	order.Intent
	State        order.State
	VenueOrderID string
	Filled       market.Quantity
	// Late is how much of Filled was booked after the order had ended. That is
	// usual for what crossed a cancellation; a fill of a rejected order is not.
	Late market.Quantity
	// SentAt is when the send was begun, in real time by the clock of the process
	// that began it; zero if it never was. SentEpoch is that process's epoch.
	SentAt    time.Time
	SentEpoch int64
}

// Position is what an agent holds of one pair.
type Position struct {
	// Quantity is signed; negative is short.
	Quantity market.Quantity
	// Cost is what was paid for it, in the quote currency and with the sign of
	// Quantity; fees are not in it.
	Cost market.Money
	// Change is what the agent's fees in the base currency have left of the lots that
	// they took, in that currency: what it owns is Quantity lots and this. It stays
	// when the position is closed, and pays the next such fee. Below zero it is fees
	// that no position could pay.
	Change market.Money
}

// Mark is the value of an agent at the end of a bar.
type Mark struct {
	Pair string
	// MarketTime is the end of the bar, and Price its close.
	MarketTime time.Time
	Price      market.Price
	Equity     market.Money
	// PeakEquity is the highest Equity ever.
	PeakEquity market.Money
	// DayStart is the beginning of the trading day and DayStartEquity the
	// equity then.
	DayStart       time.Time
	DayStartEquity market.Money
}

// Snapshot is all that a starting process must know.
type Snapshot struct {
	// LastSequence of the agent's decisions and intents; 0 if there are none. Once the
	// database was found to have forgotten, it is above all that can have been lost:
	// at least that time, and that of the proof, in microseconds of the Unix time.
	LastSequence int64
	Decisions    int64
	Fills        int64
	// Cash in the agent's currency.
	Cash market.Money
	// Positions by pair; those are absent that are flat and have left no change.
	Positions map[string]Position
	// OpenOrders are those in a state that is not final, oldest first.
	OpenOrders []Order
	// LastMark by pair: where the feed goes on.
	LastMark map[string]Mark
	// Newest is the newest mark of all, the one recorded last among those of one
	// market time; zero if there is none. Its Price is zero if its pair is no
	// longer traded.
	Newest Mark
	// Openings counts the opening intents by UTC day, from the day of Newest on: an
	// order may be decided on in the day after the last bar. Days without are absent.
	Openings map[time.Time]int32
	// LastDecision is nil if there is none.
	LastDecision *Decision
	// LastDecided is the end of the bar last decided on, by pair.
	LastDecided map[string]time.Time
	// ClaimedAt is when the agent claimed each of its pairs, in real time; zero
	// where that is not kept. Trades before it are not the agent's business.
	ClaimedAt map[string]time.Time
	// OpenedAt is the market time at which the current position was opened, by pair.
	OpenedAt map[string]time.Time
	// Arming is whether the agent may open positions by its own record.
	Arming
	// LastStop is the market time of the newest stop, by pair.
	LastStop map[string]time.Time
	// Realised is what the trade under way has come to so far, after fees, by
	// pair; absent where that is nothing.
	Realised map[string]market.Money
	// Shares are what the agent may be worth of totals that bind several agents,
	// by scope.
	Shares map[string]market.Money
	// RecentOpenings are the opening orders of the hour before the newest of them
	// that were not rejected, the oldest first, at most 256.
	RecentOpenings []order.Intent
	// Forgot says how it is known that the database has lost something that it had
	// said to be committed, or may have; empty if nothing speaks for it. Until every
	// open order is proven at the venue the agent opens no position.
	Forgot string
	// ForgotFor is for how long that has been written down, by the ledger's clock.
	ForgotFor time.Duration
	// Adopted lists the positions of its pairs that the agent has ever taken
	// over from agents that are gone, the oldest first: with its own fills they
	// explain its positions.
	Adopted []Adoption
}

// Adoption is a position that a deleted agent left behind and the next agent
// that claimed its pair took over, at its cost.
type Adoption struct {
	Pair string
	// From is namespace/name of the agent that is gone.
	From string
	// Position without change: that stays in the books of who has paid the fees.
	Position
}

// Ledger is what a trader needs of its book of record. Every method but Acquire
// fails with ErrFenced once a newer epoch exists, and has then changed nothing.
// After ErrForgot, too, nothing has changed, and every method but Acquire and Load
// repeats it until Load was called.
type Ledger interface {
	// Acquire advances the agent's epoch, claims its pairs on its account and
	// gives it its balance if it has none. It fails with ErrPairClaimed.
	Acquire(ctx context.Context, agent Agent) (Lease, error)
	// Load reads what the agent left behind.
	Load(ctx context.Context, lease Lease) (Snapshot, error)
	// Decide commits a decision and the intents that follow from it in one
	// transaction. Unless sentAt is zero, it records that the send of the first
	// intent begins then, in real time: its order may leave as soon as Decide has
	// succeeded, as after UpdateOrder. Doing the same again with the same content
	// changes nothing and succeeds; another decision on the same pair and bar is
	// ErrDecided.
	Decide(ctx context.Context, lease Lease, decision Decision, intents []order.Intent, sentAt time.Time) error
	// Request commits intents that a person asked for, together with the request,
	// in one transaction: the same key never leads to other orders. sentAt is as in
	// Decide. Doing the same again changes nothing and succeeds; a key that stands
	// for something else is ErrConflict.
	Request(ctx context.Context, lease Lease, request Request, intents []order.Intent, sentAt time.Time) error
	// Recall is which orders a request has led to; none if it has led to none. It
	// fails with ErrConflict if the key stands for another request.
	Recall(ctx context.Context, lease Lease, request Request) ([]uuid.UUID, error)
	// UpdateOrder records news of an order. A final state never changes, and an
	// update that would go backwards (Acked to Sent) is ignored.
	UpdateOrder(ctx context.Context, lease Lease, update OrderUpdate) error
	// BookFill books a fill once: postings, the order's filled quantity and
	// state, and the outbox, in one transaction. It reports whether the fill
	// was new. A fill of an order that has ended is booked like any other; the
	// order keeps its state and counts it as late.
	BookFill(ctx context.Context, lease Lease, fill order.Fill) (bool, error)
	// Disarm records that the agent opens nothing until a person allows it, and
	// the word of the limit that it has reached. Repeating it changes nothing.
	Disarm(ctx context.Context, lease Lease, reason string, at time.Time) error
	// Arming is whether the agent may open positions by its own record.
	Arming(ctx context.Context, lease Lease) (Arming, error)
	// Fund makes the agent's share of each total what it wants: more only as far as
	// all shares together stay within the total, less always. It returns the
	// shares by scope; shares of what is not listed are given back.
	Fund(ctx context.Context, lease Lease, claims []Claim) (map[string]market.Money, error)
	// Holdings are what the books of all agents on the lease's account come to by
	// currency: what the venue's balances of that account are compared with. What
	// comes to nothing is absent.
	Holdings(ctx context.Context, lease Lease) (map[string]Holding, error)
	// Proven ends what Snapshot.Forgot tells of, once the venue has answered for
	// every open order; what says it in a few words. Repeating it changes nothing.
	Proven(ctx context.Context, lease Lease, what string) error
	// SaveMark records the agent's value at the end of a bar.
	SaveMark(ctx context.Context, lease Lease, mark Mark) error
}

// Holding is what the books of an account's agents come to in one currency.
type Holding struct {
	// Booked is positions and cash together.
	Booked decimal.Decimal
	// Pending is the most of it that the open orders of other agents can have spent
	// already without it being booked: their agent may be down. The lease's own
	// orders are not among them.
	Pending decimal.Decimal
}

// feeMargin is what an order may cost beside its value at its limit, as a share of
// that. No venue here takes as much.
var feeMargin = decimal.New(2, -2)

// spends is the currency that an order gives, and the most of it for so many lots.
func spends(instrument *market.Instrument, intent *order.Intent, lots market.Quantity) (string, decimal.Decimal) {
	if intent.Side == order.Sell {
		return instrument.Base, instrument.QuantityDecimal(lots)
	}
	value := instrument.Notional(intent.Limit, lots).Decimal()
	return instrument.Quote, value.Add(value.Mul(feeMargin))
}
