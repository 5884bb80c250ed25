package endpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// Keeper keeps the endpoints of agents as their specs ask.
type Keeper struct {
	// Client reads from the operator's cache and writes; Live reads past it.
	Client   client.Client
	Live     client.Reader
	Clock    clock.PassiveClock
	Options  Options
	APIs     *APIs
	Verifier *Verifier
	Identity *Identity
	Metrics  *Metrics
}

// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingressclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get;list;watch
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificaterequests;issuers;clusterissuers,verbs=get;list;watch
// +kubebuilder:rbac:groups=acme.cert-manager.io,resources=orders;challenges,verbs=get;list;watch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes;referencegrants;backendtlspolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways,verbs=get;list;watch
// +kubebuilder:rbac:groups=traefik.io,resources=serverstransports,verbs=get;list;watch;create;patch;delete

// Keep brings an agent's endpoint to what its spec asks for, and sets the agent's
// conditions and status.endpoint. It says when it must look again; zero if what
// is watched tells. Its error is one to try again for; the conditions are set even
// then. pod is the UID of the agent's pod while that is Ready.
func (k *Keeper) Keep(ctx context.Context, agent *v1alpha1.TradingAgent, pod types.UID) (again time.Duration, err error) {
	if k == nil {
		return 0, nil
	}
	s, err := k.gather(ctx, agent)
	if err != nil {
		repeat(agent, k.Clock.Now())
		return 0, err
	}
	if agent.DeletionTimestamp.IsZero() {
		err = k.apply(ctx, s)
	}
	s.answer = k.Verifier.Look(client.ObjectKeyFromObject(agent), target(s, pod))
	k.Metrics.observe(s)
	again = report(s)
	k.Metrics.tell(agent)
	return again, err
}

// repeat says of the newest spec what was said before, because nothing newer is
// known.
func repeat(agent *v1alpha1.TradingAgent, now time.Time) {
	status := reconcile.StatusOf(agent)
	for _, conditionType := range conditionTypes {
		if before := status.Get(conditionType); before != nil {
			status.Set(conditionType, before.Status, before.Reason, before.Message, now)
		}
	}
}

// Forget ends what is done for an agent that is gone.
func (k *Keeper) Forget(agent types.NamespacedName) {
	if k == nil {
		return
	}
	k.Verifier.Look(agent, nil)
	k.Metrics.forget(agent)
}

// apply brings every child to its desired state. What the API server refuses for
// good is told in a condition; an error is what is worth another try.
func (k *Keeper) apply(ctx context.Context, s *Scope) error {
	var failed error
	for _, child := range children {
		writer := k.Client
		if child.api != "" {
			writer = k.APIs.Client(child.api)
		}
		if writer == nil {
			continue
		}
		err := k.applyChild(ctx, s, writer, child)
		told, refused := refusal(err)
		switch {
		case refused:
			s.refused[child.part] = told
		case child.api != "" && (apierrors.IsNotFound(err) || meta.IsNoMatchError(err)):
			// The kind, or the namespace, is going. If the kind comes back, every agent
			// is woken.
		default:
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (k *Keeper) applyChild(ctx context.Context, s *Scope, writer client.Client, child child) error {
	if desired := child.desired(s); desired != nil {
		applier := &reconcile.Applier{Client: writer, Live: k.Live}
		return applier.Apply(ctx, s.agent, desired)
	}
	object, name := child.empty(), child.name(s.agent)
	err := writer.Get(ctx, client.ObjectKey{Namespace: s.agent.Namespace, Name: name}, object)
	if err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		return fmt.Errorf("read %T %s: %w", object, name, err)
	}
	if !metav1.IsControlledBy(object, s.agent) || !object.GetDeletionTimestamp().IsZero() {
		return nil
	}
	err = writer.Delete(ctx, object, client.Preconditions{UID: new(object.GetUID())})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %T %s: %w", object, name, err)
	}
	return nil
}

// refusal is what a user must hear of an answer of the API server; ok is false if
// it is worth another try.
func refusal(err error) (message string, ok bool) {
	var notOwned *reconcile.NotOwnedError
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &notOwned):
		return notOwned.Error(), true
	case errors.As(err, &status) && (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)):
		return status.Status().Message, true
	}
	return "", false
}
