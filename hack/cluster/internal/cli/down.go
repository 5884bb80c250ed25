package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/progress"
)

func (a *app) downCommand() *cobra.Command {
	var cluster string
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster and everything in it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch cluster {
			case "local":
			case "kind":
				return a.downKind(cmd.Context())
			default:
				return fmt.Errorf("--cluster %q: use local or kind", cluster)
			}
			if err := needRoot(); err != nil {
				return err
			}
			unlock, err := exclusive(cmd.Context())
			if err != nil {
				return err
			}
			defer unlock()
			return a.down(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster", "local", "local or kind")
	return cmd
}

// down removes the box, what it left, and the state; it can run at any time.
func (a *app) down(ctx context.Context) error {
	removed, err := box.Stop(ctx, a.layout)
	for _, what := range removed {
		a.log.Printf("  removed %s", what)
	}
	if err != nil {
		return err
	}
	purged, err := box.Purge(a.layout)
	if err != nil {
		return fmt.Errorf("remove the state directory: %w", err)
	}
	if purged {
		a.log.Printf("  removed %s", a.layout.Dir)
	}
	for _, name := range []string{"kubeconfig", "kubectl", "overlay"} {
		if _, err := os.Lstat(a.local(name)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(a.local(name)); err != nil {
			return err
		}
		a.log.Printf("  removed %s", a.local(name))
	}
	left, err := box.Leftovers(a.layout)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("still there after down: %q", left)
	}
	a.log.Printf("  nothing of the cluster is left (%s)", progress.Short(a.log.Elapsed()))
	return nil
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the cluster's processes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			states, err := box.Status(cmd.Context(), a.layout)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
			_, _ = fmt.Fprintln(w, "PROCESS\tPHASE\tPID\tSTARTS\tFOR\tLAST EXIT")
			for _, s := range states {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", s.Name, s.Phase, s.PID, s.Starts, progress.Short(time.Since(s.Since)), s.LastExit)
			}
			return w.Flush()
		},
	}
}
