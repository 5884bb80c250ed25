package cli

import (
	"context"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
)

func (a *app) killCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "kill PROGRAM",
		Short: "Send a signal to a daemon of the cluster or to every process in its pods that runs the program",
		Example: "  cluster kill kubelet\n" +
			"  cluster kill trading-agent\n" +
			"  cluster kill kube-apiserver --signal SIGSTOP",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sig := unix.SignalNum(name)
			if sig == 0 {
				return fmt.Errorf("--signal %q: use a name such as SIGKILL, SIGTERM, SIGSTOP or SIGCONT", name)
			}
			return a.signal(cmd.Context(), args[0], sig)
		},
	}
	cmd.Flags().StringVar(&name, "signal", "SIGKILL", "the signal's name")
	return cmd
}

func (a *app) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restart PROGRAM",
		Short: "End a daemon of the cluster politely; the supervisor starts it again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.signal(cmd.Context(), args[0], unix.SIGTERM)
		},
	}
}

func (a *app) signal(ctx context.Context, program string, sig syscall.Signal) error {
	reached, err := box.Signal(ctx, a.layout, program, sig)
	if err == nil {
		fmt.Printf("%s: %s to %d processes\n", program, unix.SignalName(sig), reached)
	}
	return err
}
