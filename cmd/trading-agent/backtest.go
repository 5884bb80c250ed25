package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// backtestOptions are the flags of "backtest".
type backtestOptions struct {
	files   []string
	agent   string
	data    string
	output  string
	verbose bool
}

func newBacktestCommand() *cobra.Command {
	var options backtestOptions
	command := &cobra.Command{
		Use:   "backtest",
		Short: "Trade a recording as fast as it can be read",
		Long: `Trade a recording as fast as it can be read, by the same manifests and the same
core as an agent in a cluster. The report is the same, byte for byte, however
often it is run; how fast it went is told on standard error.

  trading-agent backtest -f config/samples/
  trading-agent backtest -f config/backtest/ --data ~/recordings`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return runBacktests(command.Context(), options, command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.StringSliceVarP(&options.files, "filename", "f", nil, "files or directories with manifests")
	flags.StringVar(&options.agent, "agent", "", "backtest only this TradingAgent")
	flags.StringVar(&options.data, "data", "", "directory with recordings, beside the samples inside the binary")
	flags.StringVarP(&options.output, "output", "o", "text", "text or json")
	flags.BoolVarP(&options.verbose, "verbose", "v", false, "log what the reader met in the recordings")
	return command
}

func runBacktests(ctx context.Context, options backtestOptions, output, progress io.Writer) error {
	if options.output != "text" && options.output != "json" {
		return fmt.Errorf("--output must be text or json, not %q", options.output)
	}
	if len(options.files) == 0 {
		return errors.New("name the manifests with -f, such as -f config/samples/")
	}
	manifests, err := link.LoadFiles(ctx, options.files)
	if err != nil {
		return err
	}
	chosen, err := choose(manifests.Agents, options.agent)
	if err != nil {
		return err
	}
	log := logr.Discard()
	if options.verbose {
		log = newLogger(os.Stderr)
	}
	for i := range chosen {
		desk, err := manifests.Desk(&chosen[i])
		if err != nil {
			return err
		}
		if err := runBacktest(ctx, &desk, options, output, progress, log); err != nil {
			return fmt.Errorf("TradingAgent %q: %w", desk.Agent.Name, err)
		}
	}
	return nil
}

func runBacktest(ctx context.Context, desk *link.Desk, options backtestOptions, output, progress io.Writer, log logr.Logger) error {
	if source := desk.Agent.Spec.MarketData.Source; source != v1alpha1.DataSourceReplay {
		return fmt.Errorf("spec.marketData.source: a backtest needs a recording, not %s; set it to Replay", source)
	}
	config, err := trader.NewConfig(desk.Agent, desk.Policy, desk.Account, desk.Pairs, "backtest")
	if err != nil {
		return err
	}
	account, err := trader.NewPaperAccount(config, desk.Account)
	if err != nil {
		return err
	}
	feed, err := openFeed(ctx, desk, config, library(options.data), false, nil, log)
	if err != nil {
		return err
	}
	began := time.Now()
	result, err := trader.Backtest(ctx, config, account, feed)
	if err != nil {
		return err
	}
	elapsed := time.Since(began)
	speed := &printer{output: progress}
	speed.printf("%s/%s: %d bars in %s, %.0f bars/s\n", desk.Agent.Namespace, desk.Agent.Name, result.Bars, elapsed.Round(time.Millisecond), float64(result.Bars)/elapsed.Seconds())
	if options.output == "json" {
		return result.WriteJSON(output)
	}
	report := &printer{output: output}
	report.printf("TradingAgent %s/%s\n", desk.Agent.Namespace, desk.Agent.Name)
	if report.err != nil {
		return fmt.Errorf("write the report: %w", report.err)
	}
	return result.WriteText(output)
}
