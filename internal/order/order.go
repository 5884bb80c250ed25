// Package order holds what becomes of a decision on its way to a venue: the
// intent, its deterministic id, the state machine of an order, and fills.
package order

import (
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Side of an order or fill.
type Side int8

// The two sides.
const (
	Buy  Side = 1
	Sell Side = -1
)

// State of an order, from the committed intent to its end.
type State string

// The states of an order. Intended, Sent, Acked and Unknown are open: they keep
// their exposure reserved. Filled, Cancelled and Rejected are final.
const (
	// Intended is committed to the ledger; not a byte has been sent.
	Intended State = "Intended"
	// Sent is on its way: the send was begun and its outcome is not known yet.
	Sent State = "Sent"
	// Acked is accepted by the venue, and perhaps filled in part.
	Acked State = "Acked"
	// Unknown had no answer; only the venue can say what became of it.
	Unknown State = "Unknown"
	// Filled is filled whole.
	Filled State = "Filled"
	// Cancelled ended before it was filled whole.
	Cancelled State = "Cancelled"
	// Rejected was definitively refused by the venue, or proven never to have
	// reached it.
	Rejected State = "Rejected"
)

// ReasonStop is the reason of an order that leaves a position because the price
// has moved against it.
const ReasonStop = "Stop"

// Intent is an order as it is committed before its first byte is sent. It never
// changes after that.
type Intent struct {
	// ID is the client order id: UUIDv5 of account, agent UID, decision
	// sequence, leg and replacement.
	ID uuid.UUID
	// Account and AgentUID that the order belongs to.
	Account, AgentUID string
	// Sequence of the decision, Leg within it, and Replacement of that leg.
	Sequence    int64
	Leg         int32
	Replacement int32
	// Pair in canonical spelling.
	Pair string
	Side Side
	// Quantity in lots, greater than zero.
	Quantity market.Quantity
	// Limit is the worst price that is acceptable, in ticks.
	Limit market.Price
	// ReduceOnly orders never enlarge or turn a position.
	ReduceOnly bool
	// Reserved is the exposure held for the order while its outcome is open:
	// its value at the limit.
	Reserved market.Money
	// MarketTime at which the order was decided.
	MarketTime time.Time
	// Reason is the word for why the order was made, such as Decision, Stop or
	// Flatten.
	Reason string
	// Frozen is the body of the order's request, byte for byte as it is sent; empty
	// where a venue needs none. It is UTF-8 text without NUL, so that a ledger can
	// show it, and a string, so that intents can be compared.
	Frozen string
	// NotAfter is the end of the time in which the order may leave and, at a venue
	// that takes a deadline, be accepted: in real time, UTC and whole microseconds.
	// It is set when the order is committed.
	NotAfter time.Time
}

// Fill is one execution at a venue. Venue, account and TradeID together are
// unique.
type Fill struct {
	Venue   string
	Account string
	TradeID string
	// OrderID is the client order id of the order that was filled.
	OrderID  uuid.UUID
	Pair     string
	Side     Side
	Quantity market.Quantity
	Price    market.Price
	// Fee paid, in FeeCurrency; negative is a rebate.
	Fee         market.Money
	FeeCurrency string
	// MarketTime of the execution.
	MarketTime time.Time
}
