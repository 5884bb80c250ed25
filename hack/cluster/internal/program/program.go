// Package program runs the programs that the cluster is made with.
package program

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Command is name with args, not started; it is killed when ctx ends. A name
// without a slash is looked up in the PATH.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, name, args...) //nolint:gosec // no shell, and the caller names the program: running it is the purpose
}

// Output runs cmd and returns what it prints to standard output. The error
// begins with what and ends with what cmd printed to standard error.
func Output(cmd *exec.Cmd, what string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Run runs cmd quietly. The error begins with what and is followed by all that
// cmd printed.
func Run(cmd *exec.Cmd, what string) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", what, err, output.String())
	}
	return nil
}
