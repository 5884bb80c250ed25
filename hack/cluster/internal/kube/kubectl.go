package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/program"
)

// Kubectl runs a kubectl program against one cluster.
type Kubectl struct {
	Bin string
	// Kubeconfig is its file; "" leaves the choice to kubectl and the environment.
	Kubeconfig string
}

// Output runs kubectl and returns what it prints; the error carries what it
// printed to standard error.
func (k Kubectl) Output(ctx context.Context, args ...string) (string, error) {
	return k.Feed(ctx, nil, args...)
}

// Apply applies a manifest server-side and owns its fields.
func (k Kubectl) Apply(ctx context.Context, manifest []byte) error {
	_, err := k.Feed(ctx, bytes.NewReader(manifest), "apply", "--server-side", "--force-conflicts", "--field-manager=trading-cluster", "-f", "-")
	return err
}

// Wait waits up to timeout for condition of resource, which may not exist yet.
func (k Kubectl) Wait(ctx context.Context, timeout time.Duration, namespace, resource, condition string) error {
	_, err := k.Output(ctx, "wait", "--namespace", namespace, "--for=create", "--timeout="+timeout.String(), resource)
	if err == nil {
		_, err = k.Output(ctx, "wait", "--namespace", namespace, "--for="+condition, "--timeout="+timeout.String(), resource)
	}
	return err
}

// Feed runs kubectl with in as its standard input.
func (k Kubectl) Feed(ctx context.Context, in io.Reader, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := k.Command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = errors.New(text)
		}
		return stdout.String(), fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return stdout.String(), nil
}

// Command is kubectl with args, not started.
func (k Kubectl) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := program.Command(ctx, k.Bin, args...)
	cmd.Env = os.Environ()
	if k.Kubeconfig != "" {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+k.Kubeconfig)
	}
	return cmd
}
