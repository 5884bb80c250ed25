// Package tradingagent runs one pod for every TradingAgent and says in status
// what it does and why.
package tradingagent

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/endpoint"
	"github.com/three-rivers-tech/trading-operator/controllers/probe"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// refusedPause is how soon a pod that the API server refused is tried again: a
// quota is raised by somebody else, and no watch tells.
const refusedPause = 30 * time.Second

// Reconciler keeps agents and their pods in step.
type Reconciler struct {
	reconcile.Tools
	// AgentImage is what an agent runs whose spec names no image.
	AgentImage string
	// Release gives back an agent's claims in the ledger at uri. Its error must
	// not carry the URI.
	Release func(ctx context.Context, uri, agentUID string) error
	// Listings know how venues trade the agents' pairs.
	Listings *listings.Listings
	// Gateways are what the agents reach venues by, where not directly.
	Gateways venues.Gateways
	// Data knows what providers of market data have of them.
	Data *probe.Prober
	// Endpoints keep the agents' addresses in order, beside their trading.
	Endpoints *endpoint.Keeper
}

// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradingagents,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradingagents/status,verbs=patch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradingagents/finalizers,verbs=update
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=assetpairs;ledgers;riskpolicies;tradingaccounts,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile takes one agent through gather, check, desire, apply, observe and
// report.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	s, err := r.gather(ctx, request.NamespacedName)
	if err != nil {
		if apierrors.IsNotFound(err) {
			r.Data.Look(request.NamespacedName)
			r.Endpoints.Forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !s.agent.DeletionTimestamp.IsZero() {
		outcome, gone, err := r.remove(ctx, s)
		if gone {
			return ctrl.Result{}, nil
		}
		return r.finish(ctx, s, outcome, err)
	}
	err = r.apply(ctx, s, mayStart(s))
	return r.finish(ctx, s, report(s), err)
}

func (r *Reconciler) finish(ctx context.Context, s *scope, outcome reconcile.Outcome, err error) (ctrl.Result, error) {
	if told, ok := refused(err); ok {
		outcome, err = told, nil
	}
	if apierrors.IsConflict(err) {
		// The agent is not what this pass believes, so nothing is made for it.
		return r.Reporter.Finish(ctx, s.before, s.agent, outcome, err)
	}
	again, endpointErr := r.Endpoints.Keep(ctx, s.agent, s.readyPod())
	if again > 0 {
		outcome = outcome.Within(again)
	}
	result, err := r.Reporter.Finish(ctx, s.before, s.agent, outcome, err)
	if err == nil && endpointErr != nil {
		// It is tried again, and unreadies nobody.
		return ctrl.Result{}, fmt.Errorf("keep the endpoint: %w", endpointErr)
	}
	return result, err
}

// SetupWithManager registers the controller and what wakes it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.TradingAgent{}, builder.WithPredicates(reconcile.Changed(agentMatters))).
		Owns(&corev1.Pod{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&rbacv1.Role{}).
		Owns(&rbacv1.RoleBinding{}).
		Owns(&appsv1.ControllerRevision{}).
		Owns(&policyv1.PodDisruptionBudget{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, reconcile.Map(agentOfLabel)).
		Watches(&corev1.Node{}, reconcile.Map(r.agentsOnNode), builder.WithPredicates(reconcile.Changed(nodeMoved))).
		Watches(&v1alpha1.RiskPolicy{}, reconcile.Map(r.agentsOfPolicy), builder.WithPredicates(reconcile.SpecOrReady())).
		Watches(&v1alpha1.AssetPair{}, reconcile.Map(r.agentsOfPair), builder.WithPredicates(reconcile.SpecOrReady())).
		Watches(&v1alpha1.TradingAccount{}, reconcile.Map(r.agentsOfAccount), builder.WithPredicates(reconcile.SpecOrReady())).
		Watches(&v1alpha1.Ledger{}, reconcile.Map(r.agentsOfLedger), builder.WithPredicates(reconcile.SpecOrReady())).
		Watches(&v1alpha1.TradingAgent{}, reconcile.Map(r.agentsWithoutPair), builder.WithPredicates(reconcile.Changed(pairsMoved))).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&networkingv1.Ingress{}).
		Watches(&networkingv1.IngressClass{}, reconcile.Map(endpoint.AgentsOfClass(r.Client))).
		Watches(&v1alpha1.TradingAgent{}, reconcile.Map(endpoint.RivalsOf(r.Client)), builder.WithPredicates(reconcile.Changed(endpoint.HostMoved))).
		WatchesRawSource(r.Endpoints.APIs).
		WatchesRawSource(source.Channel(r.Endpoints.Verifier.Changes(), &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(r.Listings.Changes(), reconcile.Map(r.agentsOfAccount))).
		WatchesRawSource(source.Channel(r.Data.Changes(), &handler.EnqueueRequestForObject{})).
		Complete(r)
}
