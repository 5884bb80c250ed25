package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/deploy"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/kube"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/parts"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/poll"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/manifests"
)

// applyWorkload applies a manifest and waits for the rollout of its workload.
func applyWorkload(ctx context.Context, k kube.Kubectl, namespace, resource string, data any) error {
	manifest, err := manifests.Render(data)
	if err != nil {
		return err
	}
	if err := k.Apply(ctx, manifest); err != nil {
		return err
	}
	if _, err := k.Output(ctx, "rollout", "status", "--namespace", namespace, "--timeout=3m", resource); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("%w\n%s", err, deploy.Diagnose(ctx, k, namespace))
	}
	return nil
}

func (a *app) waitAPI(ctx context.Context) error {
	var last error
	if err := poll.Until(ctx, 100*time.Millisecond, 2*time.Minute, func() bool {
		_, last = a.kubectl().Output(ctx, "get", "--raw", "/readyz")
		return last == nil
	}); err != nil {
		return fmt.Errorf("the API server is not ready, see %s: %w", a.layout.Log("kube-apiserver"), errors.Join(err, last))
	}
	return nil
}

// installPrograms links the cached programs into the state directory, where
// they outlive the cache and the box sees them.
func (a *app) installPrograms(dirs map[string]string) error {
	for _, p := range parts.All {
		if p.InPod {
			continue
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
	if os.Link(from, temp) == nil {
		return os.Rename(temp, to)
	}
	return copyProgram(from, to) // another file system
}

// copyProgram copies the time as well: by that the next install knows the copy.
func copyProgram(from, to string) error {
	data, err := fs.ReadFile(os.DirFS(filepath.Dir(from)), filepath.Base(from))
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := files.Replace(to, data, 0o755); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
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
