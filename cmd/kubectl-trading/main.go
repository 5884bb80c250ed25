// Command kubectl-trading is kubectl's plugin for the desk: kubectl trading.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys/keycmd"
)

// version is set when the binary is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubectl trading:", err)
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "kubectl-trading",
		Short:         "Look after a desk of trading agents",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		// What help prints is what people type.
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl trading"},
	}
	rules, overrides := clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{}
	flags := root.PersistentFlags()
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "", "kubeconfig file; without it the one that kubectl would use")
	clientcmd.BindOverrideFlags(overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	root.AddCommand(keycmd.New(keycmd.Options{
		Takes: "AGENT",
		Open: func(command *cobra.Command, whose []string) (keycmd.Store, error) {
			return openStore(command.Context(), config, whose[0])
		},
		Example: `  kubectl trading keys create eur-trend --name dashboard --scope read --expires-in 2160h
  kubectl trading keys rotate eur-trend dashboard --grace 24h`,
	}))
	root.AddCommand(newHaltCommand(config), newReleaseCommand(config))
	return root
}
