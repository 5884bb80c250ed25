// Package sim runs agents, their ledger, their venue and the network between them
// in one goroutine and in simulated time, from one seed. The agents are the real
// ones: trader.Shell with its core and its gate. What the others do to them, at
// which moment and in which order, follows from the seed alone, so that every
// failure can be had again.
package sim

import (
	"hash"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strconv"
	"time"
)

// beginning is when every simulation begins.
var beginning = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// appointment is something that happens at a time.
type appointment struct {
	at time.Time
	// serial orders what happens at the same time.
	serial int64
	do     func()
}

// agenda is a heap of appointments, the next one first.
type agenda []appointment

// before orders appointments.
func (a *appointment) before(b *appointment) bool {
	if a.at.Equal(b.at) {
		return a.serial < b.serial
	}
	return a.at.Before(b.at)
}

// push adds an appointment.
func (a *agenda) push(next appointment) {
	heap := append(*a, next)
	for at := len(heap) - 1; at > 0; {
		parent := (at - 1) / 2
		if !heap[at].before(&heap[parent]) {
			break
		}
		heap[at], heap[parent] = heap[parent], heap[at]
		at = parent
	}
	*a = heap
}

// pop takes the next appointment.
func (a *agenda) pop() appointment {
	heap := *a
	first, last := heap[0], len(heap)-1
	heap[0], heap[last] = heap[last], appointment{}
	heap = heap[:last]
	for at := 0; ; {
		child := 2*at + 1
		if child >= last {
			break
		}
		if child+1 < last && heap[child+1].before(&heap[child]) {
			child++
		}
		if !heap[child].before(&heap[at]) {
			break
		}
		heap[at], heap[child] = heap[child], heap[at]
		at = child
	}
	*a = heap
	return first
}

// world is everything of one simulation.
type world struct {
	plan     plan
	random   *rand.Rand
	now      time.Time
	agenda   agenda
	serial   int64
	trace    *trace
	exchange *exchange
	books    *books
	agents   []*agent
	// running is the process whose turn it is; nil while the world itself moves.
	running *process
	judge   *judge
	counts  Counts
}

// at lets something happen at a time; in the past is now.
func (w *world) at(at time.Time, do func()) {
	if at.Before(w.now) {
		at = w.now
	}
	w.serial++
	w.agenda.push(appointment{at, w.serial, do})
}

func (w *world) in(span time.Duration, do func()) { w.at(w.now.Add(span), do) }

// run lets time pass until the given one.
func (w *world) run(until time.Time) {
	for len(w.agenda) > 0 && !w.agenda[0].at.After(until) {
		next := w.agenda.pop()
		w.now = next.at
		next.do()
	}
	w.now = until
}

// chance is true in so many of a thousand cases.
func (w *world) chance(permille int) bool { return w.random.IntN(1000) < permille }

// between is a span of time between two others.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)+1))
}

// stormy reports whether faults strike now.
func (w *world) stormy() bool { return w.now.Before(w.plan.calm) }

// trace is what has happened, as a hash and, if wanted, as text.
type trace struct {
	sum  hash.Hash64
	line []byte
	text io.Writer
}

func newTrace(text io.Writer) *trace { return &trace{sum: fnv.New64a(), text: text} }

// note adds a line of words to the trace.
func (w *world) note(words ...string) {
	t := w.trace
	t.line = strconv.AppendInt(t.line[:0], w.now.Sub(beginning).Microseconds(), 10)
	for _, word := range words {
		t.line = append(append(t.line, ' '), word...)
	}
	t.line = append(t.line, '\n')
	_, _ = t.sum.Write(t.line)
	if t.text != nil {
		_, _ = t.text.Write(t.line)
	}
}
