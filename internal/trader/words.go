package trader

import (
	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// Loop is where the agent is in its loop.
type Loop string

// The states of the loop.
const (
	Recovering Loop = "RECOVERING"
	Perception Loop = "PERCEPTION"
	Reasoning  Loop = "REASONING"
	RiskCheck  Loop = "RISK_CHECK"
	Execution  Loop = "EXECUTION"
	Learning   Loop = "LEARNING"
	Idle       Loop = "IDLE"
)

// Reasons of the trading state, which the API explains; a limit of the gate gives
// its own.
const (
	ReasonTrading           = v1alpha1.ReasonTrading
	ReasonReduceOnly        = v1alpha1.ReasonReduceOnly
	ReasonHalted            = v1alpha1.ReasonHalted
	ReasonRecovering        = v1alpha1.ReasonRecovering
	ReasonFenced            = v1alpha1.ReasonFenced
	ReasonLedgerUnavailable = v1alpha1.ReasonLedgerUnavailable
	ReasonVenueUnreachable  = v1alpha1.ReasonVenueUnreachable
	ReasonPositionMismatch  = v1alpha1.ReasonPositionMismatch
	ReasonReplayFinished    = v1alpha1.ReasonReplayFinished
	ReasonDataUnavailable   = v1alpha1.ReasonDataUnavailable
	ReasonFlattening        = v1alpha1.ReasonFlattening
	ReasonFlat              = v1alpha1.ReasonFlat
	ReasonStopped           = v1alpha1.ReasonStopped
	ReasonTradingHalt       = v1alpha1.ReasonTradingHalt
)

// Why a wish to close a position led to no order, apart from the limits of the
// gate and the reasons of the trading state.
const (
	ReasonNothingHeld = "NothingHeld"
	ReasonOrderOpen   = "OrderOpen"
	// ReasonUnacceptable is an order that the venue could never accept.
	ReasonUnacceptable = "Unacceptable"
)

// Outcomes of decisions that made no order, apart from the limits of the gate.
const (
	OutcomeOrdered       = "Ordered"
	OutcomeHold          = "Hold"
	OutcomeLowConfidence = "LowConfidence"
	OutcomeAlreadyHeld   = "AlreadyHeld"
	OutcomeLongOnly      = "LongOnly"
	OutcomeTooSmall      = "TooSmall"
	OutcomeModelFailed   = "ModelFailed"
)

// Reasons of orders.
const (
	OrderDecision = "Decision"
	OrderStop     = order.ReasonStop
	OrderTarget   = "Target"
	OrderFlatten  = "Flatten"
	OrderClose    = "Close"
)

// Reasons of orders that have ended without being filled.
const (
	// EndNeverSent is an intent that was committed but of which no byte left.
	EndNeverSent = "NeverSent"
	// EndNeverArrived is an order that the venue was proven not to have.
	EndNeverArrived = "NeverArrived"
	// EndExpired was cancelled because the market had moved away from it.
	EndExpired = "Expired"
	// EndOvertaken was cancelled, or not even sent, because of a wish to close.
	EndOvertaken = "Overtaken"
)

// Outcomes explains what can become of a decision besides an order and what the
// gate says, and how an order can end without being filled.
func Outcomes() []v1alpha1.Reason {
	return []v1alpha1.Reason{
		{Word: OutcomeOrdered, Meaning: "The ruling became an order."},
		{Word: OutcomeHold, Meaning: "The judge ruled that nothing is to be done."},
		{Word: OutcomeLowConfidence, Meaning: "The ruling's confidence is below decision.minConfidenceFraction."},
		{Word: OutcomeAlreadyHeld, Meaning: "The agent holds the position already that the ruling asks for."},
		{Word: OutcomeLongOnly, Meaning: "The ruling is to sell what the agent does not hold.", Cure: "Nothing, or set decision.direction to LongShort."},
		{Word: OutcomeTooSmall, Meaning: "The limits and the sizing leave less than one lot, or less than the pair's smallest notional.", Cure: "Raise sizing.riskFraction or the limits, or nothing."},
		{Word: OutcomeModelFailed, Meaning: "A model of the debate failed or was too slow; that counts as Hold.", Cure: "Look at the agent's log."},
		{Word: EndNeverSent, Meaning: "The order was committed, but the process ended before a byte of it left; it will not be sent."},
		{Word: EndNeverArrived, Meaning: "The venue was proven not to have the order."},
		{Word: venue.ChangedAfterApproval, Meaning: "What was to leave was not what the gate had let pass, so not a byte of it left.", Cure: "Halt the agent and report it: this must never happen."},
		{Word: venue.ApprovalExpired, Meaning: "The order would have left later than it may, so not a byte of it left.", Cure: "Nothing; report it if it repeats."},
		{Word: EndExpired, Meaning: "The order was cancelled because the market had moved away from it."},
		{Word: EndOvertaken, Meaning: "Somebody asked to close the position, so the order was cancelled, or not even sent."},
		{Word: ReasonNothingHeld, Meaning: "A position was to be closed that the agent does not hold."},
		{Word: ReasonOrderOpen, Meaning: "A position was to be closed, but an order that may enlarge it is still open: the venue has not confirmed its cancellation.", Cure: "Ask again in a few seconds."},
		{Word: ReasonUnacceptable, Meaning: "A position was to be closed, but the venue could never accept the order, so it was not even committed.", Cure: "Look at the agent's log; the pair's tick or lot size may differ from the venue's."},
		{Word: venue.HaltedMeanwhile, Meaning: "The owner forbade the order before it left, so not a byte of it left."},
	}
}
