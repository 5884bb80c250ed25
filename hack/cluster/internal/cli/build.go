package cli

import (
	"fmt"
	"path/filepath"
	"strings"

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
				var err error
				if wanted, err = findParts(args); err != nil {
					return err
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
			wanted, err := findParts([]string{"kubernetes", "etcd"})
			if err != nil {
				return err
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

func (a *app) pathCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "path part...",
		Short: "Build parts and print their directories as a PATH; needs no root",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.toStderr()
			wanted, err := findParts(args)
			if err != nil {
				return err
			}
			dirs, err := a.buildParts(cmd.Context(), wanted)
			if err != nil {
				return err
			}
			list := make([]string, len(wanted))
			for i, p := range wanted {
				list[i] = dirs[p.Name]
			}
			fmt.Println(strings.Join(list, string(filepath.ListSeparator)))
			return nil
		},
	}
}

func findParts(names []string) ([]parts.Part, error) {
	found := make([]parts.Part, 0, len(names))
	for _, name := range names {
		p, err := parts.Find(name)
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, nil
}
