package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/apt"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/image"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/node"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/parts"
)

const kindName = "trading"

func (a *app) upCommand() *cobra.Command {
	var noFsync bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start Kubernetes and the operator, and wait until agents trade",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needRoot(); err != nil {
				return err
			}
			unlock, err := exclusive()
			if err != nil {
				return err
			}
			defer unlock()
			file, err := a.logTo("up.log")
			if err != nil {
				return err
			}
			defer file.Close()
			ctx := cmd.Context()
			if err := a.log.Run("system packages", func(func(string)) error {
				return apt.Install(ctx, apt.Missing(apt.Base))
			}); err != nil {
				return err
			}
			dirs, err := a.buildParts(ctx, parts.All)
			if err != nil {
				return err
			}
			if err := a.startNode(ctx, dirs, noFsync); err != nil {
				return err
			}
			a.log.Printf("%s", a.log.Table())
			return nil
		},
	}
	cmd.Flags().BoolVar(&noFsync, "etcd-unsafe-no-fsync", false, "let etcd lose its last writes when the machine crashes (for tests)")
	return cmd
}

// startNode starts the box and waits until the node is Ready.
func (a *app) startNode(ctx context.Context, dirs map[string]string, noFsync bool) error {
	if err := a.layout.Make(); err != nil {
		return err
	}
	if err := a.installPrograms(dirs); err != nil {
		return err
	}
	pause, err := a.programImage(ctx, "pause", a.root+"/hack/cluster", "./cmd/pause")
	if err != nil {
		return err
	}
	plan, err := a.networkPlan()
	if err != nil {
		return err
	}
	config, kubeconfig, err := node.Prepare(node.Options{Layout: a.layout, Network: plan, Pause: pause.Ref, UnsafeNoFsync: noFsync})
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.local("kubeconfig"), kubeconfig, 0o600); err != nil {
		return err
	}
	if err := relink(a.layout.Bin("kubectl"), a.local("kubectl")); err != nil {
		return err
	}
	if err := a.log.Run("start the box", func(func(string)) error {
		_, err := box.Start(a.layout, config)
		return err
	}); err != nil {
		return err
	}
	if err := a.log.Run("load image pause", func(func(string)) error {
		return a.load(ctx, pause)
	}); err != nil {
		return err
	}
	return a.log.Run("node Ready", func(func(string)) error {
		if err := a.waitAPI(ctx); err != nil {
			return err
		}
		return a.kubectl().Wait(ctx, 2*time.Minute, "default", "node/"+node.Name, "condition=Ready")
	})
}

func (a *app) waitAPI(ctx context.Context) error {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		_, err := a.kubectl().Output(ctx, "get", "--raw", "/readyz")
		if err == nil || ctx.Err() != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the API server is not ready, see %s: %w", a.layout.Log("kube-apiserver"), err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// installPrograms links the cached programs into the state directory, where
// they outlive the cache and the box sees them.
func (a *app) installPrograms(dirs map[string]string) error {
	for _, p := range parts.All {
		if p.Name == "coredns" || p.Name == "cert-manager" {
			continue // these run in pods
		}
		for program := range p.Programs {
			if err := install(filepath.Join(dirs[p.Name], program), a.layout.Bin(program)); err != nil {
				return err
			}
		}
		for _, link := range p.Links {
			if err := relink(p.Name, a.layout.Bin(link)); err != nil {
				return err
			}
		}
	}
	return nil
}

func install(from, to string) error {
	if a, err := os.Stat(from); err == nil {
		if b, err := os.Stat(to); err == nil && (os.SameFile(a, b) || (a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()))) {
			return nil
		}
	}
	temp := to + ".new"
	_ = os.Remove(temp)
	if err := os.Link(from, temp); err != nil { // another file system: copy
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(temp, data, 0o755); err != nil {
			return err
		}
		info, err := os.Stat(from)
		if err != nil {
			return err
		}
		if err := os.Chtimes(temp, info.ModTime(), info.ModTime()); err != nil {
			return err
		}
	}
	return os.Rename(temp, to)
}

func relink(target, link string) error {
	if old, err := os.Readlink(link); err == nil && old == target {
		return nil
	}
	temp := link + ".new"
	_ = os.Remove(temp)
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	return os.Rename(temp, link)
}

// networkPlan keeps the addresses of an existing state directory: etcd's
// objects and the certificates carry them.
func (a *app) networkPlan() (network.Plan, error) {
	config, err := a.layout.ReadConfig()
	if errors.Is(err, os.ErrNotExist) {
		return network.ChoosePlan()
	}
	return config.Network, err
}

var _ = image.User
