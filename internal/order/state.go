package order

import (
	"errors"
	"fmt"
)

// Event is what happens to an order.
type Event string

// The events of an order.
const (
	// Send is the moment before the first byte leaves.
	Send Event = "Send"
	// Ack is the venue's word that it has the order.
	Ack Event = "Ack"
	// Reject is the venue's definitive refusal.
	Reject Event = "Reject"
	// Lose is a placement without an answer.
	Lose Event = "Lose"
	// FillPart is a fill that leaves something open, FillWhole the last one.
	FillPart  Event = "FillPart"
	FillWhole Event = "FillWhole"
	// Cancel is the venue's word that the rest will not be filled.
	Cancel Event = "Cancel"
	// Absent is the proof that the venue never had the order.
	Absent Event = "Absent"
)

// Events lists every event.
func Events() []Event {
	return []Event{Send, Ack, Reject, Lose, FillPart, FillWhole, Cancel, Absent}
}

// States lists every state.
func States() []State {
	return []State{Intended, Sent, Acked, Unknown, Filled, Cancelled, Rejected}
}

var (
	// ErrFinal means that the order had ended already; its state stays.
	ErrFinal = errors.New("the order is final")
	// ErrImpossible means that the event contradicts what is known of the order.
	ErrImpossible = errors.New("the event cannot happen to an order in this state")
)

// transitions holds what may happen. A committed intent may be found in any
// state at the venue, because the process that sent it may be gone; an order is
// never sent twice; what the venue has acknowledged can be neither refused nor
// absent.
var transitions = map[State]map[Event]State{
	Intended: {Send: Sent, Ack: Acked, Reject: Rejected, Lose: Unknown, FillPart: Acked, FillWhole: Filled, Cancel: Cancelled, Absent: Rejected},
	Sent:     {Ack: Acked, Reject: Rejected, Lose: Unknown, FillPart: Acked, FillWhole: Filled, Cancel: Cancelled, Absent: Rejected},
	Unknown:  {Ack: Acked, Reject: Rejected, Lose: Unknown, FillPart: Acked, FillWhole: Filled, Cancel: Cancelled, Absent: Rejected},
	Acked:    {Ack: Acked, Lose: Acked, FillPart: Acked, FillWhole: Filled, Cancel: Cancelled},
}

// Next is the state after an event. A final state never changes: every event
// then returns it with ErrFinal, which a caller that hears news twice ignores.
// Anything else that cannot happen returns the old state with ErrImpossible.
func Next(state State, event Event) (State, error) {
	if state.Final() {
		return state, fmt.Errorf("%s after %s: %w", event, state, ErrFinal)
	}
	next, ok := transitions[state][event]
	if !ok {
		return state, fmt.Errorf("%s after %s: %w", event, state, ErrImpossible)
	}
	return next, nil
}

// Final reports whether nothing more can happen to the order.
func (s State) Final() bool { return s == Filled || s == Cancelled || s == Rejected }

// Unsettled reports whether the order may or may not be at the venue.
func (s State) Unsettled() bool { return s == Sent || s == Unknown }

// Opposite is the other side.
func (s Side) Opposite() Side { return -s }

// String is Buy or Sell.
func (s Side) String() string {
	switch s {
	case Buy:
		return "Buy"
	case Sell:
		return "Sell"
	}
	return fmt.Sprintf("Side(%d)", int8(s))
}
