package reconcile

import (
	"time"
	"unicode/utf8"

	ctrl "sigs.k8s.io/controller-runtime"
)

// maxMessage keeps a message readable in kubectl and within what an Event's
// note may hold (1024 bytes).
const maxMessage = 1000

type verdict int

const (
	verdictDone verdict = iota
	verdictWait
	verdictStall
)

// Outcome is how one pass over an object ended. A plain error beside it means
// that the pass is tried again with back-off.
type Outcome struct {
	verdict verdict
	reason  string
	message string
	after   time.Duration
}

// Done says that the object is what its spec asks for.
func Done(reason, message string) Outcome {
	return Outcome{verdict: verdictDone, reason: reason, message: clip(message)}
}

// Wait says that something is under way that needs nobody's help. The object is
// looked at again after the given time; zero means that a watch will tell.
func Wait(reason, message string, after time.Duration) Outcome {
	return Outcome{verdict: verdictWait, reason: reason, message: clip(message), after: after}
}

// Stall says that nothing moves until the user has acted.
func Stall(reason, message string) Outcome {
	return Outcome{verdict: verdictStall, reason: reason, message: clip(message)}
}

// Again has the object looked at once more after the given time, for what no
// watch can tell.
func (o Outcome) Again(after time.Duration) Outcome {
	o.after = after
	return o
}

// Within has the object looked at again after the given time at the latest.
func (o Outcome) Within(limit time.Duration) Outcome {
	if o.after == 0 || o.after > limit {
		o.after = limit
	}
	return o
}

// IsDone reports whether the object is what its spec asks for.
func (o Outcome) IsDone() bool { return o.verdict == verdictDone }

// Reason of the outcome, as it stands in the Ready condition.
func (o Outcome) Reason() string { return o.reason }

// Message of the outcome, as it stands in the Ready condition.
func (o Outcome) Message() string { return o.message }

// After is when the object is looked at again; zero if a watch will tell.
func (o Outcome) After() time.Duration { return o.after }

// Stalled reports whether the user must act.
func (o Outcome) Stalled() bool { return o.verdict == verdictStall }

func (o Outcome) result() ctrl.Result { return ctrl.Result{RequeueAfter: o.after} }

// WaitOrStall waits for what is expected to appear by itself, because GitOps
// applies in any order, and stalls once the grace has passed since it was first
// missed.
func WaitOrStall(reason, message string, since, now time.Time, grace time.Duration) Outcome {
	if left := since.Add(grace).Sub(now); left > 0 {
		return Wait(reason, message, left)
	}
	return Stall(reason, message)
}

// clip shortens a message at a rune's boundary.
func clip(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	end := maxMessage - len("…")
	for !utf8.RuneStart(message[end]) {
		end--
	}
	return message[:end] + "…"
}
