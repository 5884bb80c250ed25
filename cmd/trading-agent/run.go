package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/server"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// runOptions are the flags of "run".
type runOptions struct {
	files          []string
	namespace      string
	agent          string
	agentUID       string
	kubeconfig     string
	ledgerURIFile  string
	data           string
	reportInterval time.Duration
	front          frontOptions
	venue          venueOptions
}

func newRunCommand() *cobra.Command {
	var options runOptions
	command := &cobra.Command{
		Use:   "run",
		Short: "Trade until stopped",
		Long: `Trade until stopped, with manifests from the API server or, with -f, from files.

Without Kubernetes everything is kept in memory unless --ledger-uri-file names a
PostgreSQL database:

  trading-agent run -f config/samples/

Accounts at real venues need --credentials-dir, and live ones a database.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			log := newLogger(os.Stderr)
			if len(options.files) > 0 {
				return runFromFiles(command.Context(), options, log)
			}
			if options.namespace == "" || options.agent == "" || options.agentUID == "" {
				return errors.New("name manifests with -f, or the object to serve with --namespace, --agent and --agent-uid")
			}
			return runFromCluster(command.Context(), options, log)
		},
	}
	flags := command.Flags()
	flags.StringSliceVarP(&options.files, "filename", "f", nil, "files or directories with manifests; without it they come from the API server")
	flags.StringVar(&options.namespace, "namespace", "", "namespace of the TradingAgent at the API server")
	flags.StringVar(&options.agent, "agent", "", "name of the TradingAgent; with -f, run only this one")
	flags.StringVar(&options.agentUID, "agent-uid", "", "UID of the TradingAgent at the API server, so that a later one of its name is never served")
	flags.StringVar(&options.kubeconfig, "kubeconfig", "", "kubeconfig file; without it the pod's own service account is used")
	flags.StringVar(&options.ledgerURIFile, "ledger-uri-file", "", "file with the ledger's connection URI")
	flags.StringVar(&options.data, "data", "", "directory with recordings, beside the samples inside the binary")
	flags.DurationVar(&options.reportInterval, "report-interval", link.DefaultReportInterval, "how often figures are written into status.trading at most; an API server that takes long to write them is asked less often")
	options.front.addFlags(flags)
	options.venue.addFlags(flags)
	return command
}

// runFromFiles runs every agent of the files, or the one that is named.
func runFromFiles(ctx context.Context, options runOptions, log logr.Logger) error {
	manifests, err := link.LoadFiles(ctx, options.files)
	if err != nil {
		return err
	}
	chosen, err := choose(manifests.Agents, options.agent)
	if err != nil {
		return err
	}
	if options.front.listen != "" && len(chosen) > 1 {
		return fmt.Errorf("--listen serves one agent and the files hold %d; choose one with --agent", len(chosen))
	}
	reached, err := options.venue.read()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	kept, err := booksForFiles(ctx, options, log)
	if err != nil {
		return err
	}
	for i := range chosen {
		desk, err := manifests.Desk(&chosen[i])
		if err != nil {
			return err
		}
		if options.ledgerURIFile == "" && desk.Account.IsLive() {
			return fmt.Errorf("TradingAgent %q: TradingAccount %q is a live account, and what is sent there must not be forgotten when this process ends; name a database with --ledger-uri-file", desk.Agent.Name, desk.Account.Name)
		}
		running := newProcess(fmt.Sprintf("process-%d", os.Getpid()), library(options.data), log.WithValues("agent", desk.Agent.Name))
		running.route = reached
		if options.front.listen != "" {
			if running.front, err = newFront(&options.front, desk.Agent.Namespace, desk.Agent.Name, running, log); err != nil {
				return err
			}
			running.front.server.SetRules(server.RulesOf(desk.Agent))
			running.learn(&desk)
			if err := running.front.serveFromFiles(ctx, group, &options.front); err != nil {
				return err
			}
		}
		shell, err := running.startFromFiles(ctx, &desk, kept)
		if err != nil {
			return fmt.Errorf("TradingAgent %q: %w", desk.Agent.Name, err)
		}
		group.Go(func() error { return shell.Run(ctx) })
		group.Go(func() error { return follow(ctx, running, shell) })
		group.Go(func() error { return narrate(ctx, running, options.reportInterval) })
	}
	return group.Wait()
}

// choose is all agents, or the one of that name.
func choose(agents []v1alpha1.TradingAgent, name string) ([]v1alpha1.TradingAgent, error) {
	if name == "" {
		return agents, nil
	}
	for i := range agents {
		if agents[i].Name == name {
			return agents[i : i+1], nil
		}
	}
	return nil, fmt.Errorf("the files hold no TradingAgent %q", name)
}

// booksForFiles is PostgreSQL where a URI is given, and memory otherwise.
func booksForFiles(ctx context.Context, options runOptions, log logr.Logger) (books, error) {
	if options.ledgerURIFile == "" {
		log.Info("without --ledger-uri-file everything is kept in memory and gone when this process ends")
		return memoryBooks(), nil
	}
	source := uriFrom(options.ledgerURIFile)
	uri, err := source()
	if err != nil {
		return books{}, err
	}
	if _, err := ledger.Migrate(ctx, uri); err != nil {
		return books{}, err
	}
	book, err := ledger.Follow(ctx, source)
	if err != nil {
		return books{}, err
	}
	context.AfterFunc(ctx, book.Close)
	return postgresBooks(book, source), nil
}

// follow hands every change of the trader to those who watch it.
func follow(ctx context.Context, running *process, shell *trader.Shell) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-shell.Changed():
			running.signal()
		}
	}
}

// narrate logs what the agent does, since there is no kubectl to ask.
func narrate(ctx context.Context, running *process, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		status := running.Status()
		running.log.Info("status", "state", status.State, "reason", status.Reason, "equity", status.Equity, "pnl", status.PNL,
			"decisions", status.Decisions, "fills", status.Fills, "data", status.Data)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// identityOf is the object that the flags name.
func identityOf(options runOptions) link.Identity {
	return link.Identity{Namespace: options.namespace, Name: options.agent, UID: types.UID(options.agentUID)}
}
