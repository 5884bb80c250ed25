package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/apt"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/parts"
)

func (a *app) buildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "build [part...]",
		Short: "Build Kubernetes and the other parts into the cache",
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted := parts.All
			if len(args) > 0 {
				wanted = nil
				for _, name := range args {
					p, err := parts.Find(name)
					if err != nil {
						return err
					}
					wanted = append(wanted, p)
				}
			}
			for _, p := range wanted {
				if p.CGO {
					if err := apt.Install(cmd.Context(), apt.Missing(apt.Base)); err != nil {
						return err
					}
				}
			}
			dirs, err := a.buildParts(cmd.Context(), wanted)
			if err != nil {
				return err
			}
			a.log.Printf("%s", a.log.Table())
			for _, p := range wanted {
				a.log.Printf("  %-14s %s", p.Name, dirs[p.Name])
			}
			return nil
		},
	}
}

func (a *app) assetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "assets",
		Short: "Build what envtest needs and print its directory (KUBEBUILDER_ASSETS); needs no root",
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.toStderr()
			var wanted []parts.Part
			for _, name := range []string{"kubernetes", "etcd"} {
				p, err := parts.Find(name)
				if err != nil {
					return err
				}
				wanted = append(wanted, p)
			}
			dirs, err := a.buildParts(cmd.Context(), wanted)
			if err != nil {
				return err
			}
			dir, err := a.store.Assets(dirs["kubernetes"], dirs["etcd"])
			if err != nil {
				return err
			}
			fmt.Println(dir)
			return nil
		},
	}
}
