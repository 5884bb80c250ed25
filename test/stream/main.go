// Command stream measures the WebSocket stream: many clients that each get every
// message, on one machine, the agent's server and the clients in processes of their
// own. A server made of gorilla/websocket's own example is measured beside it in the
// same run. It prints a table and fails when a target is missed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options of a measurement.
type options struct {
	clients, stalled, rate, size, bad int
	window, settle                    time.Duration
	servers                           string
	judge                             bool
}

func main() {
	var o options
	flag.IntVar(&o.clients, "clients", 2000, "WebSockets that each get every message")
	flag.IntVar(&o.stalled, "stalled", 20, "of these, WebSockets that stop reading in the second half")
	flag.IntVar(&o.rate, "rate", 50, "messages a second")
	flag.IntVar(&o.size, "size", 128, "bytes of a message")
	flag.IntVar(&o.bad, "bad", 10_000, "WebSockets that are opened with a wrong key")
	flag.DurationVar(&o.window, "window", 15*time.Second, "length of a measurement")
	flag.DurationVar(&o.settle, "settle", 5*time.Second, "time before a measurement")
	flag.StringVar(&o.servers, "servers", "agent,gorilla,agent-tls", "servers to measure, in this order")
	flag.BoolVar(&o.judge, "judge", true, "fail when a target is missed")
	role := flag.String("role", "", "serve or load; for this program's own use")
	kind := flag.String("kind", "", "kind of server; for this program's own use")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := raiseLimit(); err != nil {
		fmt.Fprintln(os.Stderr, "stream:", err)
	}
	var err error
	switch *role {
	case "serve":
		err = serve(ctx, *kind, os.Stdin, os.Stdout)
	case "load":
		err = load(ctx, os.Stdin, os.Stdout)
	default:
		err = measure(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stream:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called.
	}
}

// raiseLimit lets this process open as many files as it may. Go does so for
// itself, up to the hard limit; root may raise that too.
func raiseLimit() error {
	const wanted = 65_536
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Cur >= wanted {
		return nil
	}
	raised := syscall.Rlimit{Cur: max(wanted, limit.Cur), Max: max(wanted, limit.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
		return nil
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}
