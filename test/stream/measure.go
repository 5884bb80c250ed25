package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what was measured of one server.
type result struct {
	kind string
	// resident and inGo are bytes of memory a connection that is idle; used is the
	// first when it has been used for a while.
	resident, inGo, used float64
	quiet, stalled       phase
	// latencies of a client alone, and while strangers guess keys.
	alone, guessed seen
	codes          map[int]int
}

// phase is one measurement under load.
type phase struct {
	seen

	// perCore is messages a second of the server's processor time.
	perCore float64
}

func measure(ctx context.Context, o options, out io.Writer) error {
	var results []*result
	for kind := range strings.SplitSeq(o.servers, ",") {
		r, err := o.server(ctx, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		results = append(results, r)
	}
	if err := o.print(out, results); err != nil {
		return err
	}
	if !o.judge {
		return nil
	}
	var missed []error
	for _, r := range results {
		missed = append(missed, o.missed(r)...)
	}
	return errors.Join(missed...)
}

// bench is one server and its clients.
type bench struct {
	options

	server, clients *child
	target          target
}

func (o options) server(ctx context.Context, kind string) (_ *result, err error) {
	fmt.Fprintln(os.Stderr, "measuring", kind)
	b := &bench{options: o}
	if b.server, err = start(ctx, "-role=serve", "-kind="+kind); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	if b.clients, err = start(ctx, "-role=load"); err != nil {
		return nil, err
	}
	stopClients := b.clients.stop
	defer func() { err = errors.Join(err, stopClients()) }()
	if err := b.server.ask(order{Do: "start"}, &b.target); err != nil {
		return nil, err
	}
	r := &result{kind: kind}
	if err := b.crowd(ctx, r); err != nil {
		return nil, err
	}
	// The crowd leaves; what remains is one client and the strangers.
	if err := b.clients.stop(); err != nil {
		return nil, err
	}
	stopClients = func() error { return nil }
	if b.target.Key != "" {
		return r, b.strangers(ctx, r)
	}
	return r, nil
}

// crowd measures memory, and messages to all clients, first all reading, then some
// of them stalled.
func (b *bench) crowd(ctx context.Context, r *result) error {
	var before, after usage
	var done bool
	if err := b.server.ask(order{Do: "usage"}, &before); err != nil {
		return err
	}
	if err := b.clients.ask(order{Do: "connect", Target: &b.target, Clients: b.options.clients}, &done); err != nil {
		return err
	}
	if err := wait(ctx, time.Second); err != nil {
		return err
	}
	if err := b.server.ask(order{Do: "usage"}, &after); err != nil {
		return err
	}
	r.resident = float64(after.Resident-before.Resident) / float64(b.options.clients)
	r.inGo = float64(after.Go-before.Go) / float64(b.options.clients)
	if err := b.server.ask(order{Do: "publish", Rate: b.rate, Size: b.size}, &done); err != nil {
		return err
	}
	var err error
	if r.quiet, err = b.phase(ctx, b.settle); err != nil {
		return err
	}
	if err := b.clients.ask(order{Do: "stall", Stalled: b.stalled}, &done); err != nil {
		return err
	}
	// By then what the kernel keeps for the stalled is full.
	if r.stalled, err = b.phase(ctx, 2*b.settle); err != nil {
		return err
	}
	if err := errors.Join(b.server.ask(order{Do: "stop"}, &done), b.server.ask(order{Do: "usage"}, &after)); err != nil {
		return err
	}
	r.used = float64(after.Resident-before.Resident) / float64(b.options.clients)
	return nil
}

// phase measures what clients see in a window.
func (b *bench) phase(ctx context.Context, settle time.Duration) (phase, error) {
	var p phase
	var before, after usage
	var done bool
	if err := wait(ctx, settle); err != nil {
		return p, err
	}
	if err := errors.Join(b.server.ask(order{Do: "processor"}, &before), b.clients.ask(order{Do: "begin"}, &done)); err != nil {
		return p, err
	}
	if err := wait(ctx, b.window); err != nil {
		return p, err
	}
	if err := errors.Join(b.clients.ask(order{Do: "end"}, &p.seen), b.server.ask(order{Do: "processor"}, &after)); err != nil {
		return p, err
	}
	p.perCore = float64(p.Messages) / (after.Processor - before.Processor)
	return p, nil
}

// strangers measures what one client sees, in turn alone and while others guess keys.
func (b *bench) strangers(ctx context.Context, r *result) (err error) {
	const windows = 10
	var done bool
	client, err := start(ctx, "-role=load")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	others, err := start(ctx, "-role=load")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, others.stop()) }()
	if err := client.ask(order{Do: "connect", Target: &b.target, Clients: 1}, &done); err != nil {
		return err
	}
	if err := b.server.ask(order{Do: "publish", Rate: 200, Size: b.size}, &done); err != nil {
		return err
	}
	r.codes = map[int]int{}
	var alone, guessed []seen
	for range windows {
		s, err := b.listen(client, func() error { return wait(ctx, time.Second) })
		if err != nil {
			return err
		}
		alone = append(alone, s)
		s, err = b.listen(client, func() error {
			codes := map[int]int{}
			o := order{Do: "guess", Target: &b.target, Key: "ta_nobody_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Clients: b.bad / windows, Rate: b.bad / windows}
			if err := others.ask(o, &codes); err != nil {
				return err
			}
			for code, count := range codes {
				r.codes[code] += count
			}
			return nil
		})
		if err != nil {
			return err
		}
		guessed = append(guessed, s)
	}
	r.alone, r.guessed = median(alone), median(guessed)
	return b.server.ask(order{Do: "stop"}, &done)
}

// listen is what a client sees while something goes on.
func (b *bench) listen(client *child, while func() error) (seen, error) {
	var done bool
	var s seen
	if err := client.ask(order{Do: "begin"}, &done); err != nil {
		return s, err
	}
	if err := while(); err != nil {
		return s, err
	}
	return s, client.ask(order{Do: "end"}, &s)
}

// median is that of each figure.
func median(all []seen) seen {
	of := func(figure func(seen) time.Duration) time.Duration {
		values := make([]time.Duration, len(all))
		for i := range all {
			values[i] = figure(all[i])
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	m := seen{
		P50: of(func(s seen) time.Duration { return s.P50 }), P99: of(func(s seen) time.Duration { return s.P99 }),
		Max: of(func(s seen) time.Duration { return s.Max }), Mean: of(func(s seen) time.Duration { return s.Mean }),
	}
	for i := range all {
		m.Messages += all[i].Messages
		m.Lost += all[i].Lost
	}
	return m
}

func wait(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("measure: %w", context.Cause(ctx))
	case <-time.After(length):
		return nil
	}
}

func (o options) print(out io.Writer, results []*result) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, target string, cell func(r *result) string) {
		cells := make([]string, len(results))
		for i, r := range results {
			cells[i] = cell(r)
		}
		// The writer keeps everything until Flush, which reports its errors.
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", name, target, strings.Join(cells, "\t"))
	}
	row(fmt.Sprintf("%d clients, %d messages/s of %d bytes", o.clients, o.rate, o.size), "target", func(r *result) string { return r.kind })
	expected := float64(o.clients * o.rate)
	row("messages/s to all clients", "", func(r *result) string {
		return fmt.Sprintf("%.0f (%.1f %%)", float64(r.quiet.Messages)/r.quiet.Seconds, 100*float64(r.quiet.Messages)/r.quiet.Seconds/expected)
	})
	row("bytes a message", "", func(r *result) string { return fmt.Sprintf("%.1f", float64(r.quiet.Bytes)/float64(r.quiet.Messages)) })
	row("latency p50", "", func(r *result) string { return milliseconds(r.quiet.P50) })
	row("latency p99", "20 ms", func(r *result) string { return milliseconds(r.quiet.P99) })
	row("latency max", "", func(r *result) string { return milliseconds(r.quiet.Max) })
	row("messages/s a server core", "50000", func(r *result) string { return fmt.Sprintf("%.0f", r.quiet.perCore) })
	row("memory a connection, resident", "20 KB", func(r *result) string { return kilobytes(r.resident) })
	row("memory a connection, Go's heap and stacks", "", func(r *result) string { return kilobytes(r.inGo) })
	row("memory a connection after the load, resident", "", func(r *result) string { return kilobytes(r.used) })
	row(fmt.Sprintf("%d clients stalled: p50 of the others", o.stalled), "", func(r *result) string { return milliseconds(r.stalled.P50) })
	row("  p99 of the others", "< 1.20 times", func(r *result) string {
		return fmt.Sprintf("%s (%.2f times)", milliseconds(r.stalled.P99), r.stalledRatio())
	})
	row("  connections lost", "", func(r *result) string { return strconv.FormatInt(r.stalled.Lost, 10) })
	row("one client alone: p50, p99", "", func(r *result) string { return r.told(r.alone) })
	row(fmt.Sprintf("  beside %d bad keys", o.bad), "p50 < 1.20 times", func(r *result) string {
		if r.codes == nil {
			return "-"
		}
		return fmt.Sprintf("%s (p50 %.2f times)", r.told(r.guessed), r.guessedRatio())
	})
	row("  told 4001, told 1013", "", func(r *result) string {
		if r.codes == nil {
			return "-"
		}
		return fmt.Sprintf("%d, %d", r.codes[4001], r.codes[1013])
	})
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

func (r *result) told(s seen) string {
	if r.codes == nil {
		return "-"
	}
	return milliseconds(s.P50) + ", " + milliseconds(s.P99)
}

func (r *result) stalledRatio() float64 { return float64(r.stalled.P99) / float64(r.quiet.P99) }
func (r *result) guessedRatio() float64 { return float64(r.guessed.P50) / float64(r.alone.P50) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

func kilobytes(bytes float64) string { return fmt.Sprintf("%.1f KB", bytes/1000) }

// missed are the targets that the agent's server misses.
func (o options) missed(r *result) []error {
	const (
		longest  = 20 * time.Millisecond
		leastOut = 50_000
		mostRAM  = 20_000
		mostCost = 1.2
	)
	if r.kind == "gorilla" {
		return nil
	}
	var missed []error
	miss := func(wrong bool, format string, values ...any) {
		if wrong {
			missed = append(missed, fmt.Errorf("%s: "+format, append([]any{r.kind}, values...)...)) //nolint:err113 // Only printed.
		}
	}
	miss(r.quiet.P99 > longest, "p99 is %s", r.quiet.P99)
	miss(r.quiet.perCore < leastOut, "%.0f messages/s a core", r.quiet.perCore)
	miss(max(r.resident, r.inGo) > mostRAM, "%.0f bytes a connection", max(r.resident, r.inGo))
	miss(r.stalledRatio() >= mostCost, "stalled clients make p99 %.2f times", r.stalledRatio())
	miss(r.guessedRatio() >= mostCost, "bad keys make p50 %.2f times", r.guessedRatio())
	miss(r.codes[4001]+r.codes[1013] != o.bad/10*10, "of %d bad keys %v were refused", o.bad, r.codes)
	miss(r.quiet.Lost > 0, "%d connections were lost", r.quiet.Lost)
	all := float64(o.clients*o.rate) * r.quiet.Seconds
	miss(float64(r.quiet.Messages) < 0.99*all, "%d of %.0f messages arrived", r.quiet.Messages, all)
	return missed
}
