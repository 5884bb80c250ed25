package main

import (
	"context"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/controllers"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// plane is the API server that everything happens at.
type plane struct {
	config *rest.Config
	admin  client.WithWatch
	// user is who the benchmark is there.
	user string
	// inPods are agents in pods, if the API server has a kubelet.
	inPods *pods
	stop   func() error
}

// newPlane starts an API server of its own, or takes that of a cluster.
func newPlane(ctx context.Context, opts options) (*plane, error) {
	p := &plane{stop: func() error { return nil }}
	if opts.cluster == "" {
		server, err := testbench.StartServer(false) //nolint:contextcheck // it ends by stop, whatever ends
		if err != nil {
			return nil, err
		}
		p.config, p.stop = server.Config, server.Stop
	} else {
		var err error
		if p.config, err = clientcmd.BuildConfigFromFlags("", opts.cluster); err != nil {
			return nil, fmt.Errorf("%w; start the cluster with make up", err)
		}
	}
	if err := p.connect(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *plane) connect(ctx context.Context) error {
	p.config.QPS = -1
	scheme, err := controllers.NewScheme()
	if err != nil {
		return err
	}
	if p.admin, err = client.NewWithWatch(p.config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := p.admin.Create(ctx, review); err != nil {
		return err
	}
	p.user = review.Status.UserInfo.Username
	return nil
}

// populate makes agents. Those in pods are started by the operator, which then
// goes: a halt needs none.
func (p *plane) populate(ctx context.Context, opts options) (err error) {
	if opts.pods > 0 {
		if p.inPods, err = startPods(ctx, p.admin, opts.pods); err != nil {
			return err
		}
	}
	if err := furnish(ctx, p.admin, opts); err != nil {
		return fmt.Errorf("make the desk: %w", err)
	}
	if opts.pods > 0 {
		if err := scaleOperator(ctx, p.admin, 0); err != nil {
			return fmt.Errorf("stop the operator: %w", err)
		}
	}
	return assign(ctx, p.admin, opts.crowd())
}
