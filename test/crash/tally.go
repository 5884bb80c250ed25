package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/three-rivers-tech/trading-operator/test/crash/judge"
)

// tally counts over all runs.
type tally struct {
	mu                              sync.Mutex
	runs                            int
	agentKills, databaseStops, cuts int
	orders, fills                   int
	duplicates, lost, differences   int
	untilReady, untilOrder          []time.Duration
	hits                            map[string]int
	misses                          map[string]int
	problems                        []string
}

func newTally() *tally { return &tally{hits: map[string]int{}, misses: map[string]int{}} }

func (t *tally) locked(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
}

func (t *tally) killed()  { t.locked(func() { t.agentKills++ }) }
func (t *tally) stopped() { t.locked(func() { t.databaseStops++ }) }
func (t *tally) cut()     { t.locked(func() { t.cuts++ }) }

func (t *tally) ready(took time.Duration) {
	t.locked(func() { t.untilReady = append(t.untilReady, took) })
}

func (t *tally) trading(took time.Duration) {
	t.locked(func() { t.untilOrder = append(t.untilOrder, took) })
}

func (t *tally) struck(s strike, reached bool) {
	t.locked(func() {
		if reached {
			t.hits[s.point.name]++
		} else {
			t.misses[s.point.name]++
		}
	})
}

func (t *tally) judged(verdict *judge.Verdict) {
	t.locked(func() {
		t.runs++
		t.orders += verdict.Orders
		t.fills += verdict.Fills
		t.duplicates += len(verdict.Duplicates)
		t.lost += len(verdict.LostFills)
		t.differences += len(verdict.Differences)
	})
}

func (t *tally) problem(what string) {
	t.locked(func() { t.problems = append(t.problems, what) })
}

// hopeless is how many runs may go wrong before it is no use to go on.
const hopeless = 5

func (t *tally) hopeless() (is bool) {
	t.locked(func() { is = len(t.problems) >= hopeless })
	return is
}

// kills are the real ones: processes that ended without being asked.
func (t *tally) kills() (count int) {
	t.locked(func() { count = t.agentKills + t.databaseStops })
	return count
}

// unreached are the points that were tried several times and never reached.
func (t *tally) unreached() []string {
	const tries = 3
	var names []string
	for _, p := range points {
		if t.misses[p.name] >= tries && t.hits[p.name] == 0 {
			names = append(names, p.name)
		}
	}
	return names
}

// print tells what was done and what came of it.
func (t *tally) print(to io.Writer, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := []string{
		fmt.Sprintf("kills         %d (%d agents by SIGKILL, %d PostgreSQL servers at once), and %d cuts of the line, in %d runs",
			t.agentKills+t.databaseStops, t.agentKills, t.databaseStops, t.cuts, t.runs),
		fmt.Sprintf("points        %d of %d struck", len(t.hits), len(points)),
		fmt.Sprintf("orders        %d accepted, %d fills", t.orders, t.fills),
		fmt.Sprintf("duplicates    %d", t.duplicates),
		fmt.Sprintf("lost fills    %d", t.lost),
		fmt.Sprintf("differences   %d", t.differences),
		"time to Ready " + quantiles(t.untilReady),
		"to next order " + quantiles(t.untilOrder),
		fmt.Sprintf("took          %s", took.Round(time.Second)),
	}
	_, _ = fmt.Fprintln(to, strings.Join(lines, "\n"))
}

func quantiles(spans []time.Duration) string {
	if len(spans) == 0 {
		return "nothing measured"
	}
	slices.Sort(spans)
	at := func(percent int) time.Duration {
		return spans[min(len(spans)*percent/100, len(spans)-1)].Round(time.Millisecond)
	}
	return fmt.Sprintf("p50 %s, p99 %s, most %s (%d times)", at(50), at(99), spans[len(spans)-1].Round(time.Millisecond), len(spans))
}
