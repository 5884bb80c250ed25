package trader

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

// Reasons of the trading state. The API explains them under the same words; a
// limit of the gate gives its own.
const (
	ReasonTrading           = "Trading"
	ReasonReduceOnly        = "ReduceOnlyRequested"
	ReasonHalted            = "HaltRequested"
	ReasonRecovering        = "Recovering"
	ReasonFenced            = "Fenced"
	ReasonLedgerUnavailable = "LedgerUnavailable"
	ReasonVenueUnreachable  = "VenueUnreachable"
	ReasonPositionMismatch  = "PositionMismatch"
	ReasonReplayFinished    = "ReplayFinished"
	ReasonDataUnavailable   = "DataUnavailable"
	ReasonFlattening        = "Flattening"
	ReasonFlat              = "Flat"
	ReasonStopped           = "Stopped"
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
	OrderStop     = "Stop"
	OrderFlatten  = "Flatten"
)

// Reasons of orders that have ended without being filled.
const (
	// EndNeverSent is an intent that was committed but of which no byte left.
	EndNeverSent = "NeverSent"
	// EndNeverArrived is an order that the venue was proven not to have.
	EndNeverArrived = "NeverArrived"
	// EndExpired was cancelled because the market had moved away from it.
	EndExpired = "Expired"
)
