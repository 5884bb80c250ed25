// Package assetpair says whether an AssetPair can be traded under its names, and
// how many agents do.
package assetpair

import (
	"context"
	"fmt"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// Reconciler reports on pairs. It writes nothing but their status.
type Reconciler struct {
	reconcile.Tools
}

// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=assetpairs;tradingagents,verbs=get;list;watch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=assetpairs/status,verbs=patch

// Reconcile judges one pair against the others of its namespace and counts the
// agents that trade it.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	pair := &v1alpha1.AssetPair{}
	if err := r.Client.Get(ctx, request.NamespacedName, pair); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := pair.DeepCopy()
	pairs, err := r.pairsOf(ctx, pair.Namespace)
	if err != nil {
		return r.Reporter.Finish(ctx, before, pair, reconcile.Outcome{}, err)
	}
	agents, err := reconcile.AgentsTrading(ctx, r.Client, pair)
	if err != nil {
		return r.Reporter.Finish(ctx, before, pair, reconcile.Outcome{}, err)
	}
	pair.Status.Agents = new(countTrading(agents, pairs, pair.Name))
	pair.Status.Canonical = pair.Canonical()
	return r.Reporter.Finish(ctx, before, pair, r.judge(pair, pairs), nil)
}

// judge tells a collision, which the younger pair loses, from a spec that is
// wrong in itself.
func (r *Reconciler) judge(pair *v1alpha1.AssetPair, pairs []v1alpha1.AssetPair) reconcile.Outcome {
	reason := v1alpha1.ReasonInvalidSpec
	if len(v1alpha1.ValidateAssetPair(pair, nil, true)) == 0 {
		reason = v1alpha1.ReasonAliasCollision
	}
	return reconcile.Judge(pair, reason, v1alpha1.ValidateAssetPair(pair, pairs, true), r.Clock.Now())
}

// countTrading counts the agents that mean this pair, where two claim a name.
func countTrading(agents []v1alpha1.TradingAgent, pairs []v1alpha1.AssetPair, name string) int32 {
	var count int32
	for _, agent := range agents {
		means := func(selector v1alpha1.AssetPairSelector) bool {
			found := v1alpha1.FindPair(pairs, selector.Name)
			return found != nil && found.Name == name
		}
		if slices.ContainsFunc(agent.Spec.AssetPairs, means) {
			count++
		}
	}
	return count
}

func (r *Reconciler) pairsOf(ctx context.Context, namespace string) ([]v1alpha1.AssetPair, error) {
	var pairs v1alpha1.AssetPairList
	if err := r.Client.List(ctx, &pairs, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list asset pairs: %w", err)
	}
	return pairs.Items, nil
}

// SetupWithManager registers the controller and what wakes it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.AssetPair{}, builder.WithPredicates(reconcile.OwnChanges())).
		Watches(&v1alpha1.AssetPair{}, reconcile.Map(r.namesakes), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.TradingAgent{}, reconcile.Map(r.pairsTraded), builder.WithPredicates(reconcile.Changed(pairsMoved))).
		Complete(r)
}

// namesakes are the other pairs that share a name with this one: its coming,
// change or going decides which of them has it.
func (r *Reconciler) namesakes(ctx context.Context, pair *v1alpha1.AssetPair) ([]ctrlreconcile.Request, error) {
	pairs, err := r.pairsOf(ctx, pair.Namespace)
	if err != nil {
		return nil, err
	}
	names := pair.NormalNames()
	sharing := slices.DeleteFunc(pairs, func(other v1alpha1.AssetPair) bool {
		shares := func(name string) bool { return slices.Contains(names, name) }
		return other.Name == pair.Name || !slices.ContainsFunc(other.NormalNames(), shares)
	})
	return reconcile.Requests(sharing), nil
}

// pairsTraded are the pairs that an agent's selectors mean.
func (r *Reconciler) pairsTraded(ctx context.Context, agent *v1alpha1.TradingAgent) ([]ctrlreconcile.Request, error) {
	pairs, err := r.pairsOf(ctx, agent.Namespace)
	if err != nil {
		return nil, err
	}
	var traded []v1alpha1.AssetPair
	for _, selector := range agent.Spec.AssetPairs {
		if pair := v1alpha1.FindPair(pairs, selector.Name); pair != nil {
			traded = append(traded, *pair)
		}
	}
	return reconcile.Requests(traded), nil
}

func pairsMoved(before, after *v1alpha1.TradingAgent) bool {
	return !slices.Equal(before.Spec.AssetPairs, after.Spec.AssetPairs)
}
