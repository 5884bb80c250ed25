package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// errDiffers ends a verification that has found something.
var errDiffers = errors.New("the ledger is not what was written")

func newLedgerCommand() *cobra.Command {
	command := &cobra.Command{Use: "ledger", Short: "Verify a ledger and give it to agents", Args: cobra.NoArgs}
	command.AddCommand(newVerifyCommand(), newAdmitCommand())
	return command
}

func newVerifyCommand() *cobra.Command {
	var ledgerURIFile, anchor string
	var options ledger.VerifyOptions
	command := &cobra.Command{
		Use:   "verify",
		Short: "Hold a ledger to its hash chains and prove its books",
		Long: `Walk every agent's hash chain and compute each link anew from the rows that it
covers; work orders out again from intents, updates and fills, and positions, cash
and balances from postings. Print a table, and each difference; end with an error
if there is any. The database is only read, and agents go on trading.

With --anchor, hold the database also to what the status of its Ledger has kept:

  kubectl get ledger main -o jsonpath='{.status.anchor.serial}/{.status.anchor.digest}'`,
		Example: "  trading-agent ledger verify --ledger-uri-file uri --agent desk/eur-trend",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			uri, err := readURI(ledgerURIFile)
			if err != nil {
				return err
			}
			if options.Serial, options.Digest, err = readAnchor(anchor); err != nil {
				return err
			}
			if options.Agent != "" && options.Digest != "" {
				return errors.New("an anchor is of all agents together: give --agent or --anchor, not both")
			}
			found, err := ledger.Verify(command.Context(), uri, options)
			if err != nil {
				return err
			}
			if err := printVerification(command.OutOrStdout(), found); err != nil {
				return err
			}
			if !found.Intact() {
				return errDiffers
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&ledgerURIFile, "ledger-uri-file", "", "file with the connection URI of the ledger")
	flags.StringVar(&options.Agent, "agent", "", "only this agent: its UID, or namespace/name")
	flags.StringVar(&anchor, "anchor", "", "serial/digest of an anchor that was kept outside the database")
	utilruntime.Must(command.MarkFlagRequired("ledger-uri-file"))
	return command
}

// readAnchor reads serial/digest; nothing is none.
func readAnchor(text string) (int64, string, error) {
	if text == "" {
		return 0, "", nil
	}
	number, digest, _ := strings.Cut(text, "/")
	serial, err := strconv.ParseInt(number, 10, 64)
	if err != nil || len(digest) != 64 {
		return 0, "", fmt.Errorf("--anchor %q is not the serial of an anchor, a slash and its digest of 64 digits", text)
	}
	return serial, strings.ToLower(digest), nil
}

// printVerification shows one line an agent, and what differs below.
func printVerification(to io.Writer, found *ledger.Verification) error {
	table := tabwriter.NewWriter(to, 0, 8, 3, ' ', 0)
	// The writer keeps its first error until it is flushed.
	_, _ = fmt.Fprintln(table, "AGENT\tLINKS\tROWS\tPOSITIONS\tCASH\tRESULT")
	for i := range found.Agents {
		a := &found.Agents[i]
		result := "intact"
		if a.Count > 0 {
			result = fmt.Sprintf("%d differences", a.Count)
		}
		_, _ = fmt.Fprintf(table, "%s/%s\t%d\t%d\t%s\t%s\t%s\n", a.Namespace, a.Name, a.Links, a.Rows, listed(a.Positions), listed(a.Cash), result)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if found.Anchor != nil {
		_, _ = fmt.Fprintf(to, "\nnewest anchor %d/%s of %s\n", found.Anchor.Serial, found.Anchor.Digest, found.Anchor.Time.Format("2006-01-02 15:04:05Z07:00"))
	}
	for _, difference := range found.Differences {
		_, _ = fmt.Fprintln(to, difference)
	}
	for i := range found.Agents {
		a := &found.Agents[i]
		for _, difference := range a.Differences {
			_, _ = fmt.Fprintf(to, "%s/%s (%s): %s\n", a.Namespace, a.Name, a.UID, difference)
		}
		if more := a.Count - len(a.Differences); more > 0 {
			_, _ = fmt.Fprintf(to, "%s/%s (%s): and %d more\n", a.Namespace, a.Name, a.UID, more)
		}
	}
	_, err := fmt.Fprintln(to)
	return err
}

func listed(items []string) string {
	if len(items) == 0 {
		return "-"
	}
	return strings.Join(items, ", ")
}

func newAdmitCommand() *cobra.Command {
	var ledgerURIFile string
	command := &cobra.Command{
		Use:   "admit ROLE",
		Short: "Let a role of the database write as agents do: add to journals and change nothing",
		Long: `Give a role of PostgreSQL what agents need and nothing more: to read, to add rows to
journals, and to call the functions by which leases, claims and shares change. It
can change or delete no row of a journal. The URI is that of the schema's owner; the
role must exist. What later schemas add is given to it as they are installed.`,
		Example: "  trading-agent ledger admit desk_agents --ledger-uri-file owner-uri",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			uri, err := readURI(ledgerURIFile)
			if err != nil {
				return err
			}
			if err := ledger.Admit(command.Context(), uri, args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s may write as agents do\n", args[0])
			return err
		},
	}
	command.Flags().StringVar(&ledgerURIFile, "ledger-uri-file", "", "file with the connection URI of the schema's owner")
	utilruntime.Must(command.MarkFlagRequired("ledger-uri-file"))
	return command
}
