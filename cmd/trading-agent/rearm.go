package main

import (
	"fmt"

	"github.com/spf13/cobra"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

func newRearmCommand() *cobra.Command {
	var ledgerURIFile, namespace, person, reason string
	command := &cobra.Command{
		Use:   "rearm AGENT",
		Short: "Let an agent open positions again that has stopped itself",
		Long: `Let an agent open positions again that has stopped itself after too many stops or
losses in a row (reasons AutomaticExits and ConsecutiveLosses). Who allows it, and
why, is kept in the ledger. The agent goes on with its next bar.`,
		Example: "  trading-agent rearm eur-trend -n desk --ledger-uri-file uri --by 'Ada Lovelace' --reason 'the feed was wrong'",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			uri, err := readURI(ledgerURIFile)
			if err != nil {
				return err
			}
			if err := ledger.Rearm(command.Context(), uri, namespace, args[0], person, reason); err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s/%s may open positions again\n", namespace, args[0])
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&ledgerURIFile, "ledger-uri-file", "", "file with the connection URI of the agent's ledger")
	flags.StringVarP(&namespace, "namespace", "n", "default", "namespace of the agent")
	flags.StringVar(&person, "by", "", "name of the person who allows it")
	flags.StringVar(&reason, "reason", "", "why it is allowed")
	for _, name := range []string{"ledger-uri-file", "by", "reason"} {
		utilruntime.Must(command.MarkFlagRequired(name))
	}
	return command
}
