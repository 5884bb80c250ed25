package main

import (
	"github.com/spf13/cobra"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

func newReleaseCommand() *cobra.Command {
	var ledgerURIFile, namespace, person, reason string
	command := &cobra.Command{
		Use:   "release AGENT",
		Short: "Release halts that only the ledger still remembers",
		Long: `Release one agent from every halt that binds it by its ledger alone; other agents
of these halts stay halted. As long as the halt's object exists, kubectl trading
release is the way; this one is for halts whose objects are gone before anybody
released them, with their definitions for instance.
Who releases them, and why, is kept in the ledger. The agent goes on when its
process has started anew.`,
		Example: "  trading-agent release eur-trend -n desk --ledger-uri-file uri --by 'Ada Lovelace' --reason 'the definitions were lost'",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			uri, err := readURI(ledgerURIFile)
			if err != nil {
				return err
			}
			released, err := ledger.ReleaseLatched(command.Context(), uri, namespace, args[0], person, reason)
			if err != nil {
				return err
			}
			out := printer{output: command.OutOrStdout()}
			for i := range released {
				out.printf("%s (%s: %s) released\n", released[i].Name, released[i].State, released[i].Reason)
			}
			if len(released) == 0 {
				out.printf("no halt binds %s/%s by its ledger\n", namespace, args[0])
			}
			return out.err
		},
	}
	flags := command.Flags()
	flags.StringVar(&ledgerURIFile, "ledger-uri-file", "", "file with the connection URI of the agent's ledger, with the rights of its owner")
	flags.StringVarP(&namespace, "namespace", "n", "default", "namespace of the agent")
	flags.StringVar(&person, "by", "", "name of the person who releases them")
	flags.StringVar(&reason, "reason", "", "why they are released")
	for _, name := range []string{"ledger-uri-file", "by", "reason"} {
		utilruntime.Must(command.MarkFlagRequired(name))
	}
	return command
}
