// Command trading-agent is one trader. In a pod it reads its manifests from the
// API server, on a laptop or in a backtest the same manifests from files.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// version is set when the binary is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "trading-agent:", err)
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "trading-agent",
		Short:         "Run or backtest a TradingAgent, manage the keys of its API, and let it trade again",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newRunCommand(), newBacktestCommand(), newKeysCommand(), newRearmCommand(), newReleaseCommand(), newLedgerCommand())
	return root
}

// newLogger writes text for people at a terminal and JSON for machines elsewhere.
func newLogger(output *os.File) logr.Logger {
	var handler slog.Handler = slog.NewJSONHandler(output, nil)
	if term.IsTerminal(int(output.Fd())) {
		handler = slog.NewTextHandler(output, nil)
	}
	return logr.FromSlogHandler(handler)
}

// printer writes lines and remembers the first error, so that a full disk or a
// closed pipe is not taken for success.
type printer struct {
	output io.Writer
	err    error
}

func (p *printer) printf(format string, values ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.output, format, values...)
	}
}
