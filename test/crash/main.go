// Command crash kills trading agents, their databases and their lines at every
// step on which something durable depends, and holds what their ledgers say
// against what the exchange says. The exchange is right.
//
//	go run ./test/crash kill --kills 1200
//	go run ./test/crash fence --runs 500
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := &cobra.Command{Use: "crash", Short: "Kill agents and see what is left", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(newKillCommand(), newFenceCommand())
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}
