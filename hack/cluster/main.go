// Command cluster runs a real Kubernetes on one bare Linux machine and the
// trading operator on it. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/cli"
)

func main() {
	if len(os.Args) == 3 {
		enterBox(os.Args[1], os.Args[2])
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "\nerror:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := cli.New().ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted: `up` continues from here, `down` removes what there is")
	}
	return err
}

// enterBox is how this program starts again inside the cluster's namespaces.
func enterBox(command, dir string) {
	var enter func(box.Layout) error
	switch command {
	case box.InitCommand:
		enter = box.Init
	case box.RunCommand:
		enter = box.Run
	default:
		return
	}
	if err := enter(box.Layout{Dir: dir}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
