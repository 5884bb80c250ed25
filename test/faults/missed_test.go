//go:build faults

package faults

import (
	"fmt"
	"testing"
	"time"
)

// Bounds of the time for which an operator sees nothing.
const (
	minBlind = 100 * time.Millisecond
	maxBlind = 1200 * time.Millisecond
)

// TestMissedEvents cuts the operator's watches while a scenario goes on, and has
// them told then that what was between is not known any more. What the operator
// has not seen happen must not matter.
func TestMissedEvents(t *testing.T) {
	for i, s := range scenarios() {
		if s.sampled || s.options.elect {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			wanted, writes := s.undisturbed(t)
			chance := chances(i)
			drawn := 1 + chance.IntN(max(writes, 1))
			for k := range writes + 1 {
				if k != 0 && k != drawn && !long {
					continue
				}
				blind := minBlind + time.Duration(chance.Int64N(int64(maxBlind-minBlind)))
				t.Run(fmt.Sprintf("blind after %d writes", k), func(t *testing.T) {
					t.Parallel()
					d := newDesk(t)
					d.options = operatorOptions{release: newest, view: newView()}
					s.blind(d, k, blind)
					d.become(wanted)
					s.judge(d)
				})
			}
		})
	}
}

// blind plays a scenario whose operator sees nothing for a while from a write on,
// or from its beginning.
func (s scenario) blind(d *desk, from int, blind time.Duration) {
	d.t.Helper()
	view := d.options.view
	o := d.start()
	if s.before != nil {
		s.before(d)
		d.quiet()
	}
	windowed := func() {
		view.blind()
		time.AfterFunc(blind, view.see)
	}
	o.transport.mu.Lock()
	o.transport.onWrite = func(n int) {
		if n == from {
			windowed()
		}
	}
	o.transport.mu.Unlock()
	o.transport.arm(0, false)
	if from == 0 {
		windowed()
	}
	s.act(d)
	d.quiet()
}
