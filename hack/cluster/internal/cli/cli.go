// Package cli wires the commands of the local cluster.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/kube"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/parts"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/progress"
)

// stateDir holds everything of the running cluster; `down` removes it.
const stateDir = "/var/lib/trading-cluster"

// app is what the commands share.
type app struct {
	root   string // of the repository
	layout box.Layout
	store  parts.Store
	log    *progress.Log
	// publicRoots in PEM are those of the authorities on our internet, if there is one.
	publicRoots []byte
}

// New returns the root command.
func New() *cobra.Command {
	a := &app{layout: box.Layout{Dir: stateDir}}
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "A real Kubernetes on one bare machine, and the trading operator on it",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.open()
		},
	}
	root.AddCommand(a.buildCommand(), a.assetsCommand(), a.pathCommand(), a.upCommand(), a.downCommand(), a.statusCommand(), a.killCommand(), a.restartCommand(),
		a.deployCommand(), a.imagesCommand(), a.loadCommand())
	return root
}

func (a *app) open() error {
	root, err := repository()
	if err != nil {
		return err
	}
	cache, err := parts.CacheDir()
	if err != nil {
		return err
	}
	a.root = root
	a.store = parts.Store{Dir: cache, Modules: filepath.Join(root, "hack", "cluster", "parts")}
	a.log = progress.New(os.Stdout, io.Discard, filepath.Join(cache, "durations.json"))
	return nil
}

// repository finds the root of the tree from the working directory upwards.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "hack", "cluster", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run this inside the trading-operator repository: go -C hack/cluster run . up")
		}
	}
}

// local is the directory in the repository for what a person uses: kubeconfig, kubectl, log.
func (a *app) local(elem ...string) string {
	return filepath.Join(append([]string{a.root, ".cluster"}, elem...)...)
}

// kubectl runs against the local cluster.
func (a *app) kubectl() kube.Kubectl {
	return kube.Kubectl{Bin: a.layout.Bin("kubectl"), Kubeconfig: a.local("kubeconfig")}
}

// exclusive keeps two up or down from working at once. The kernel releases an
// abstract socket with the process, so there is no lock file to go stale.
func exclusive(ctx context.Context) (func(), error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", "@trading-cluster")
	if err != nil {
		return nil, errors.New("another up or down is at work on this machine: wait for it or interrupt it")
	}
	return func() { _ = listener.Close() }, nil
}

func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("the local cluster needs root (namespaces, mounts, network): use sudo, or --cluster kind where Docker or Podman runs")
	}
	return nil
}

// logTo sends the log also to .cluster/up.log.
func (a *app) logTo(name string) (io.Closer, error) {
	if err := files.MakeDir(a.local()); err != nil {
		return nil, err
	}
	file, err := os.Create(a.local(name))
	if err != nil {
		return nil, err
	}
	a.log = progress.New(os.Stdout, file, a.log.Remember)
	return file, nil
}

// buildParts builds those of wanted that are missing, one after the other: each uses every core.
func (a *app) buildParts(ctx context.Context, wanted []parts.Part) (map[string]string, error) {
	missing, err := a.store.Missing(wanted)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		if err := a.store.CheckDisk(); err != nil {
			return nil, err
		}
	}
	dirs := map[string]string{}
	number := 0
	for _, p := range wanted {
		build := func(detail func(string)) error {
			dirs[p.Name], err = a.store.Build(ctx, p, detail)
			return err
		}
		if _, built, err := a.store.Path(p); err == nil && built {
			if err := build(func(string) {}); err != nil {
				return nil, err
			}
			continue
		}
		number++
		if err := a.log.Run(fmt.Sprintf("build %s %s [%d of %d]", p.Name, p.Version, number, len(missing)), build); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// toStderr keeps standard output for what a command returns.
func (a *app) toStderr() {
	a.log = progress.New(os.Stderr, io.Discard, a.log.Remember)
}
