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
					d, view := newDesk(t), newView()
					d.options = operatorOptions{release: newest, view: view}
					s.play(d, fault{onWrite: func(n int) {
						if n == k {
							view.blind()
							time.AfterFunc(blind, view.see)
						}
					}})
					d.become(wanted)
					s.judge(d)
				})
			}
		})
	}
}
