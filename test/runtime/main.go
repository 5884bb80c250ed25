// Command runtime measures how fast an agent is, and prints one table of what was
// measured beside what it must be, with the machine and the commit.
//
//	go run ./test/runtime
//	go run ./test/runtime --only backtest,gate
//
// Times are on the wall, but for backtests, which are told by time of the processor:
// what a core does, whatever else the machine does meanwhile. What must be met is
// meant for a machine that does nothing else.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// options are the flags.
type options struct {
	only      string
	data      string
	dataset   string
	python    string
	span      time.Duration
	histories int
	decisions int
}

func main() {
	var chosen options
	flag.StringVar(&chosen.only, "only", "", "measures to run, parted by commas; all if empty: "+strings.Join(names(), ", "))
	flag.StringVar(&chosen.data, "data", "", "directory with recordings, beside the samples inside the binary")
	flag.StringVar(&chosen.dataset, "dataset", "sample/eurusd-1h", "recording of EUR-USD in hours that is backtested")
	flag.StringVar(&chosen.python, "python", "python3", "interpreter that has backtesting.py (see requirements.txt)")
	flag.DurationVar(&chosen.span, "span", time.Minute, "how long ticks are sent")
	flag.IntVar(&chosen.histories, "histories", 100_000, "how many pasts are reconciled")
	flag.IntVar(&chosen.decisions, "decisions", yearOfDecisions, "how many decisions an old ledger holds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &chosen); err != nil {
		fmt.Fprintln(os.Stderr, "runtime:", err)
		os.Exit(1) //nolint:gocritic // the process ends, and with it what stop would undo
	}
}

// measure is one group of rows.
type measure struct {
	name string
	run  func(context.Context, *options) ([]row, error)
}

var measures = []measure{
	{"gate", gateRows}, {"backtest", backtestRows}, {"ticks", tickRows}, {"durable", durableRows}, {"histories", historyRows}, {"startup", startUpRows},
}

func names() []string {
	all := make([]string, 0, len(measures))
	for _, m := range measures {
		all = append(all, m.name)
	}
	return all
}

func run(ctx context.Context, chosen *options) error {
	wanted := names()
	if chosen.only != "" {
		wanted = strings.Split(chosen.only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("there is no measure %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	var rows []row
	for _, m := range measures {
		if !slices.Contains(wanted, m.name) {
			continue
		}
		measured, err := m.run(ctx, chosen)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		rows = append(rows, measured...)
	}
	return write(ctx, os.Stdout, rows)
}

func gateRows(ctx context.Context, _ *options) ([]row, error) {
	tail, allocs, err := measureGate(ctx)
	if err != nil {
		return nil, err
	}
	return []row{
		{"gate alone, p99", tail.String(), "≤ 500ns", within(tail, 500*time.Nanosecond)},
		{"gate alone, allocations", strconv.Itoa(allocs), "0", met(allocs == 0)},
	}, nil
}

func newTerse() decision.Debate {
	debate, err := decision.NewDebate("builtin/trend", "builtin/reversion", "builtin/quorum")
	if err != nil {
		return decision.Debate{} // the names are this binary's own; NewCore would refuse it
	}
	debate.Terse = true
	return debate
}

const leastBarsPerSecond = 1_500_000

func backtestRows(ctx context.Context, chosen *options) ([]row, error) {
	recording, err := openRecording(chosen.data, chosen.dataset)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, every := range []int{decideUsually, 1} {
		measured, err := measureBacktest(ctx, recording, newTerse, every, 5*time.Second)
		if err != nil {
			return nil, err
		}
		what := fmt.Sprintf("backtest, a debate every %d bars", every)
		if every == 1 {
			what = "backtest, a debate every bar"
		}
		rows = append(rows, row{what, perSecond(measured.perSecond()) + " bars", "≥ 1,500,000 /s", met(measured.perSecond() >= leastBarsPerSecond)})
	}
	ours, err := measureBacktest(ctx, recording, func() decision.Debate {
		debate := newTerse()
		debate.Judge = &crossing{}
		return debate
	}, 1, 3*time.Second)
	if err != nil {
		return nil, err
	}
	rows = append(rows, row{"backtest of the crossing rule", fmt.Sprintf("%s bars, %d trades", perSecond(ours.perSecond()), ours.result.Trades), "", ""})
	theirs, missing := measurePython(ctx, chosen.python, recording.Bars[warmUp:])
	if missing != nil {
		rows = append(rows, row{"the same in backtesting.py", "not measured: " + missing.Error(), "", ""})
		return rows, ctx.Err()
	}
	same := row{"the same in " + theirs.Name, fmt.Sprintf("%s bars, %d trades", perSecond(theirs.perSecond()), theirs.Trades), "as many trades", met(theirs.Trades == ours.result.Trades)}
	return append(rows, same, row{"ratio of the two", fmt.Sprintf("%.0f×", ours.perSecond()/theirs.perSecond()), "", ""}), nil
}

func tickRows(ctx context.Context, chosen *options) ([]row, error) {
	const rate = 100_000
	taken, err := measureTicks(ctx, rate, chosen.span)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("frame in → order bytes, %d/s for %s, an order in %d, ", rate, chosen.span, ticksAnOrder)
	return []row{
		{what + "p50", taken.at(500).String(), "≤ 10µs", within(taken.at(500), 10*time.Microsecond)},
		{what + "p99", taken.at(990).String(), "≤ 50µs", within(taken.at(990), 50*time.Microsecond)},
		{what + "p99.9", taken.at(999).String(), "≤ 500µs", within(taken.at(999), 500*time.Microsecond)},
	}, nil
}

// withServer starts a PostgreSQL that syncs to the disk.
func withServer(ctx context.Context, inMemory bool, do func(uri string) ([]row, error)) (rows []row, err error) {
	server, err := postgres.Start(postgres.Options{NoSync: inMemory}) //nolint:contextcheck // it is closed, not cancelled
	if err != nil {
		return nil, err
	}
	defer func() {
		if closing := server.Close(); err == nil {
			err = closing
		}
	}()
	if _, err := ledger.Migrate(ctx, server.AdminURI()); err != nil {
		return nil, err
	}
	return do(server.AdminURI())
}

func durableRows(ctx context.Context, chosen *options) ([]row, error) {
	const rate = 500
	return withServer(ctx, false, func(uri string) ([]row, error) {
		fsync, err := fsyncOf(ctx)
		if err != nil {
			return nil, err
		}
		taken, err := measureDurable(ctx, uri, rate, chosen.span)
		if err != nil {
			return nil, err
		}
		most := fsync + time.Millisecond
		what := fmt.Sprintf("tick → order may leave, %d agents, %d/s, ", durableAgents, rate)
		return []row{
			{"pg_test_fsync, fdatasync of 8 kB", fsync.String(), "", ""},
			{what + "p50", taken.at(500).Round(time.Microsecond).String(), "≤ " + most.String(), within(taken.at(500), most)},
			{what + "p99", taken.at(990).Round(time.Microsecond).String(), "≤ 10ms", within(taken.at(990), 10*time.Millisecond)},
		}, nil
	})
}

func historyRows(ctx context.Context, chosen *options) ([]row, error) {
	each, err := measureHistories(ctx, chosen.histories)
	if err != nil {
		return nil, err
	}
	return []row{{fmt.Sprintf("reconciliation of %d pasts, each twice", chosen.histories), "all exact, " + each.Round(time.Microsecond).String() + " each", "all exact", met(true)}}, nil
}

func startUpRows(ctx context.Context, chosen *options) ([]row, error) {
	return withServer(ctx, true, func(uri string) ([]row, error) {
		took, err := measureStartUp(ctx, uri, chosen.decisions)
		if err != nil {
			return nil, err
		}
		return []row{{fmt.Sprintf("start-up with %d decisions in the ledger", chosen.decisions), took.Round(time.Millisecond).String(), "", ""}}, nil
	})
}
