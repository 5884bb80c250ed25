package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/image"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/node"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/poll"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/program"
)

// ownImages are the project's programs by the name of their image.
var ownImages = map[string]string{"manager": "./cmd/manager", "trading-agent": "./cmd/trading-agent"}

// internetImages are the tests' programs that play a part of the internet.
var internetImages = map[string]string{"cloudflare": "./test/cloudflare", "refuser": "./test/e2e-tls/refuser"}

// programImage builds a static program of the module in dir and assembles its image.
func (a *app) programImage(ctx context.Context, name, dir, pkg string) (*image.Image, error) {
	file, err := a.compile(ctx, name, dir, pkg)
	if err != nil {
		return nil, err
	}
	spec, err := image.Program(image.Registry+name, file)
	if err != nil {
		return nil, err
	}
	return image.Assemble(spec)
}

// partImage assembles the image of a program of a finished part, which is in dir.
func partImage(program, dir string) (*image.Image, error) {
	spec, err := image.Program(image.Registry+program, filepath.Join(dir, program))
	if err != nil {
		return nil, err
	}
	return image.Assemble(spec)
}

// compile builds a static program for an image into .cluster/bin.
func (a *app) compile(ctx context.Context, name, dir, pkg string) (string, error) {
	out := a.local("bin", name)
	cmd := program.Command(ctx, "go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	return out, program.Run(cmd, fmt.Sprintf("build %s in %s", pkg, filepath.Clean(dir)))
}

// load imports an image into containerd unless it is there.
func (a *app) load(ctx context.Context, img *image.Image) error {
	if err := a.waitContainerd(ctx); err != nil {
		return err
	}
	out, err := a.ctr(ctx, nil, "images", "list", "-q")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if strings.TrimSpace(line) == img.Ref {
			return nil
		}
	}
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(img.Write(writer)) }()
	_, err = a.ctr(ctx, reader, "images", "import", "--local", "-")
	_ = reader.CloseWithError(io.ErrClosedPipe) // never fails
	return err
}

func (a *app) waitContainerd(ctx context.Context) error {
	var last error
	if err := poll.Until(ctx, 100*time.Millisecond, time.Minute, func() bool {
		_, last = a.ctr(ctx, nil, "version")
		return last == nil
	}); err != nil {
		return fmt.Errorf("containerd does not answer, see %s: %w", a.layout.Log("containerd"), errors.Join(err, last))
	}
	return nil
}

func (a *app) ctr(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd := program.Command(ctx, a.layout.Bin("ctr"), append([]string{"--address", a.layout.Run("containerd.sock"), "--namespace", node.Namespace}, args...)...)
	cmd.Stdin = in
	return program.Output(cmd, "ctr "+strings.Join(args, " "))
}

// postgresImage assembles the database's image from the installed package.
func (a *app) postgresImage(ctx context.Context) (*image.Image, error) {
	entry, err := a.compile(ctx, "postgres-init", filepath.Join(a.root, "hack", "cluster"), "./cmd/postgres-init")
	if err != nil {
		return nil, err
	}
	spec, err := image.Postgres(ctx, entry)
	if err != nil {
		return nil, err
	}
	return image.Assemble(spec)
}

// loadOwnImages builds the manager's and the agent's images, loads them into
// the local cluster and returns their references.
func (a *app) loadOwnImages(ctx context.Context) (manager, agent string, err error) {
	refs := map[string]string{}
	for name, pkg := range ownImages {
		if err := a.log.Run("image "+name, func(func(string)) error {
			img, err := a.programImage(ctx, name, a.root, pkg)
			if err != nil {
				return err
			}
			refs[name] = img.Ref
			return a.load(ctx, img)
		}); err != nil {
			return "", "", err
		}
	}
	return refs["manager"], refs["trading-agent"], nil
}

func (a *app) imagesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "images",
		Short: "Build the manager's and the agent's images, load them into the local cluster and print their names",
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.toStderr()
			manager, agent, err := a.loadOwnImages(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Printf("%s\n%s\n", manager, agent)
			return nil
		},
	}
}

func (a *app) loadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "load ARCHIVE...",
		Short: "Load image archives (docker save, OCI) into the local cluster",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, archive := range args {
				path, err := filepath.Abs(archive)
				if err != nil {
					return err
				}
				out, err := a.ctr(cmd.Context(), nil, "images", "import", "--local", path)
				if err != nil {
					return err
				}
				fmt.Print(out)
			}
			return nil
		},
	}
}
