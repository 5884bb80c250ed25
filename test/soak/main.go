// Command soak runs an agent whose market data breaks off again and again, and holds
// it to giving back what it took: goroutines and descriptors are as many as at the
// start, and the heap has not grown.
//
//	go run ./test/soak --span 60m --reconnects 10000
//
// The agent is a whole one: the feed of Coinbase Exchange over loopback TCP, the
// core and its shell, the paper venue's book and the ledger in a PostgreSQL of its
// own. Each connection is a new one, one in twenty fails in one of the ways that
// exchanges fail in, and brings the next candle: the exchange's clock runs fast.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	span := flag.Duration("span", time.Hour, "how long to run, warming up apart")
	reconnects := flag.Int("reconnects", 0, "how many connections of the feed are made; as many as come to 10,000 an hour if zero")
	flag.Parse()
	if *reconnects == 0 {
		*reconnects = max(int(span.Hours()*10_000), 100)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := soak(ctx, *span, *reconnects); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1) //nolint:gocritic // the process ends, and with it what stop would undo
	}
}

// warmUps is how many connections are made before the first sample, so that caches
// and pools are as large as they get.
const warmUps = 100

// soak runs the agent and compares samples.
func soak(ctx context.Context, span time.Duration, reconnects int) error {
	before := sampleNow()
	first, last, err := soaked(ctx, span, reconnects)
	if err != nil {
		return err
	}
	after, err := settled(func(s sample) bool { return s.goroutines <= before.goroutines })
	if err != nil {
		return fmt.Errorf("after the agent has ended: %w: %s before it began, %s now", err, before, after)
	}
	fmt.Printf("before the agent: %s\nat the start:     %s\nat the end:       %s\nafter the agent:  %s\n", before, first, last, after)
	return judge(first, last)
}

// mostGrowth of the heap, in bytes: what an hour may bring. A shorter run may bring
// as much, because a heap goes up and down by some of that.
const mostGrowth = 1 << 20

func judge(first, last sample) error {
	hours := max(last.at.Sub(first.at).Hours(), 1)
	growth := float64(int64(last.heap)-int64(first.heap)) / hours //nolint:gosec // no heap is 8 EiB
	fmt.Printf("the heap grew by %.0f bytes an hour in %s; %d is allowed\n", growth, last.at.Sub(first.at).Round(time.Second), mostGrowth)
	var failed []error
	if last.goroutines > first.goroutines {
		failed = append(failed, fmt.Errorf("there are %d goroutines more than at the start", last.goroutines-first.goroutines))
	}
	if last.descriptors > first.descriptors {
		failed = append(failed, fmt.Errorf("there are %d descriptors more than at the start", last.descriptors-first.descriptors))
	}
	if growth >= mostGrowth {
		failed = append(failed, errors.New("the heap has grown too much"))
	}
	return errors.Join(failed...)
}
