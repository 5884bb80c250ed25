package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/apt"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/deploy"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/image"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/kube"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/parts"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/program"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/manifests"
)

const kindName = "trading"

// upKind runs the desk in a kind cluster: kind brings Kubernetes and its DNS,
// the rest is the same as on the local cluster, from the same images.
func (a *app) upKind(ctx context.Context) error {
	if _, err := exec.LookPath("kind"); err != nil {
		return errors.New("kind is not installed: see https://kind.sigs.k8s.io, or use --cluster local")
	}
	if err := apt.Install(ctx, apt.Missing(apt.Postgres)); err != nil {
		return err
	}
	part, err := parts.Find("cert-manager")
	if err != nil {
		return err
	}
	dirs, err := a.buildParts(ctx, []parts.Part{part})
	if err != nil {
		return err
	}
	clusters, err := a.kind(ctx, "get", "clusters")
	if err != nil {
		return err
	}
	if !strings.Contains("\n"+clusters, "\n"+kindName+"\n") {
		if err := a.log.Run("create the kind cluster", func(func(string)) error {
			_, err := a.kind(ctx, "create", "cluster", "--name", kindName, "--wait", "3m")
			return err
		}); err != nil {
			return err
		}
	}
	if _, err := a.kind(ctx, "export", "kubeconfig", "--name", kindName, "--kubeconfig", a.local("kubeconfig")); err != nil {
		return err
	}
	k, err := a.currentKubectl(ctx)
	if err != nil {
		return err
	}
	k.Kubeconfig = a.local("kubeconfig")
	if err := a.furnishKind(ctx, k, dirs[part.Name]); err != nil {
		return err
	}
	a.farewell(k, "make down CLUSTER=kind")
	return nil
}

func (a *app) furnishKind(ctx context.Context, k kube.Kubectl, certManager string) error {
	refs := map[string]string{}
	for name, assemble := range map[string]assembly{
		"cert-manager": func() (*image.Image, error) { return partImage("cert-manager", certManager) },
		"postgres":     func() (*image.Image, error) { return a.postgresImage(ctx) },
		"manager":      func() (*image.Image, error) { return a.programImage(ctx, "manager", a.root, ownImages["manager"]) },
		"trading-agent": func() (*image.Image, error) {
			return a.programImage(ctx, "trading-agent", a.root, ownImages["trading-agent"])
		},
	} {
		if err := a.log.Run("image "+name, func(func(string)) error {
			img, err := assemble()
			if err != nil {
				return err
			}
			refs[name] = img.Ref
			return a.loadKind(ctx, img)
		}); err != nil {
			return err
		}
	}
	if err := a.log.Run("cert-manager", func(func(string)) error {
		if err := deploy.CRDs(ctx, k, filepath.Join(certManager, "crds")); err != nil {
			return err
		}
		return applyWorkload(ctx, k, "cert-manager", "deployment/cert-manager", manifests.CertManager{Image: refs["cert-manager"]})
	}); err != nil {
		return err
	}
	if err := a.log.Run("PostgreSQL", func(func(string)) error {
		if err := deploy.Credentials(ctx, k); err != nil {
			return err
		}
		return applyWorkload(ctx, k, "desk", "statefulset/postgres", manifests.Postgres{Image: refs["postgres"]})
	}); err != nil {
		return err
	}
	return a.operator(ctx, k, refs["manager"], refs["trading-agent"])
}

func (a *app) loadKind(ctx context.Context, img *image.Image) error {
	archive, err := os.CreateTemp("", "image-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(archive.Name()) }()
	defer func() { _ = archive.Close() }()
	if err := img.Write(archive); err != nil {
		return err
	}
	_, err = a.kind(ctx, "load", "image-archive", archive.Name(), "--name", kindName)
	return err
}

func (a *app) downKind(ctx context.Context) error {
	return a.log.Run("remove the kind cluster", func(func(string)) error {
		_, err := a.kind(ctx, "delete", "cluster", "--name", kindName)
		return err
	})
}

func (a *app) kind(ctx context.Context, args ...string) (string, error) {
	return program.Output(program.Command(ctx, "kind", args...), "kind "+strings.Join(args, " "))
}
