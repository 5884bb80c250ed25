package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/three-rivers-tech/trading-operator/test/crash/judge"
)

// fenceTally counts over all runs.
type fenceTally struct {
	mu                            sync.Mutex
	runs, misses, orders          int
	late, refusals                int
	duplicates, lost, differences int
	untilTaken, untilDetected     []time.Duration
	problems                      []string
}

func newFenceTally() *fenceTally { return &fenceTally{} }

func (t *fenceTally) locked(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
}

func (t *fenceTally) missed()            { t.locked(func() { t.misses++ }) }
func (t *fenceTally) refused()           { t.locked(func() { t.runs++; t.refusals++ }) }
func (t *fenceTally) outdated(count int) { t.locked(func() { t.late += count }) }

func (t *fenceTally) tookOver(took time.Duration) {
	t.locked(func() { t.untilTaken = append(t.untilTaken, took) })
}

func (t *fenceTally) detected(took time.Duration) {
	t.locked(func() { t.untilDetected = append(t.untilDetected, took) })
}

func (t *fenceTally) problem(what string) {
	t.locked(func() { t.problems = append(t.problems, what) })
}

func (t *fenceTally) judged(verdict *judge.Verdict) {
	t.locked(func() {
		t.runs++
		t.orders += verdict.Orders
		t.duplicates += len(verdict.Duplicates)
		t.lost += len(verdict.LostFills)
		t.differences += len(verdict.Differences)
	})
}

// print tells what was done and what came of it.
func (t *fenceTally) print(to io.Writer, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := []string{
		fmt.Sprintf("runs          %d; in %d the owner was stopped elsewhere than meant, in %d nobody adopts because orders are open",
			t.runs, t.misses, t.refusals),
		fmt.Sprintf("orders        %d accepted", t.orders),
		fmt.Sprintf("old epochs    %d orders accepted after the take-over, known %s after that", t.late, quantiles(t.untilDetected)),
		fmt.Sprintf("duplicates    %d", t.duplicates),
		fmt.Sprintf("lost fills    %d", t.lost),
		fmt.Sprintf("differences   %d", t.differences),
		"time to Ready " + quantiles(t.untilTaken),
		fmt.Sprintf("took          %s", took.Round(time.Second)),
	}
	_, _ = fmt.Fprintln(to, strings.Join(lines, "\n"))
}
