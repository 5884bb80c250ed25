package main

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/server/api"
)

// halter creates halts on one agent, in the name of the agent's own process.
type halter struct {
	client   client.Client
	identity link.Identity
}

var _ api.Halter = (*halter)(nil)

// Halt implements api.Halter.
func (h *halter) Halt(ctx context.Context, name string, state v1alpha1.HaltState, task v1alpha1.HaltTask, reason string) error {
	user, err := link.WhoAmI(ctx, h.client)
	if err != nil {
		return err
	}
	halt := &v1alpha1.TradingHalt{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.identity.Namespace, Name: name},
		Spec: v1alpha1.TradingHaltSpec{
			State: state, Task: task, Reason: reason, RequestedBy: user,
			Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Name: h.identity.Name},
		},
	}
	err = h.client.Create(ctx, halt)
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return fmt.Errorf("create the halt: %w", err)
		}
		return nil
	}
	known := &v1alpha1.TradingHalt{}
	if err := h.client.Get(ctx, client.ObjectKeyFromObject(halt), known); err != nil {
		return fmt.Errorf("read the halt: %w", err)
	}
	if known.Spec.Released() || known.Spec.State != state || known.Spec.Task != task || known.Spec.Scope != halt.Spec.Scope {
		return api.ErrHaltTaken
	}
	return nil
}
