// Package riskpolicy says whether a RiskPolicy can bind, and how many agents it
// does.
package riskpolicy

import (
	"context"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// Reconciler reports on policies. It writes nothing but their status.
type Reconciler struct {
	reconcile.Tools
}

// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=riskpolicies;tradingagents,verbs=get;list;watch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=riskpolicies/status,verbs=patch

// Reconcile judges one policy and counts its agents.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	policy := &v1alpha1.RiskPolicy{}
	if err := r.Client.Get(ctx, request.NamespacedName, policy); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := policy.DeepCopy()
	agents, err := reconcile.AgentsBy(ctx, r.Client, policy.Namespace, reconcile.IndexPolicy, policy.Name)
	if err == nil {
		policy.Status.Agents = reconcile.Count(len(agents))
	}
	errs := v1alpha1.ValidateRiskPolicy(policy)
	outcome := reconcile.Judge(policy, v1alpha1.ReasonInvalidSpec, errs, r.Clock.Now())
	if len(errs) == 0 {
		remark(policy, r.Clock.Now())
	}
	return r.Reporter.Finish(ctx, before, policy, outcome, err)
}

// remark names limits that cannot do their work in the condition Accepted, which
// stays True.
func remark(policy *v1alpha1.RiskPolicy, now time.Time) {
	remarks := v1alpha1.RiskPolicyRemarks(policy)
	if len(remarks) == 0 {
		return
	}
	words := make([]string, len(remarks))
	for i, found := range remarks {
		words[i] = found.String()
	}
	reconcile.StatusOf(policy).Set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, remarks[0].Reason, strings.Join(words, "; "), now)
}

// SetupWithManager registers the controller and what wakes it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.RiskPolicy{}, builder.WithPredicates(reconcile.OwnChanges())).
		Watches(&v1alpha1.TradingAgent{}, reconcile.Map(policyOf), builder.WithPredicates(reconcile.Changed(policyMoved))).
		Complete(r)
}

func policyOf(_ context.Context, agent *v1alpha1.TradingAgent) ([]ctrlreconcile.Request, error) {
	key := client.ObjectKey{Namespace: agent.Namespace, Name: agent.Spec.RiskPolicyRef.Name}
	return []ctrlreconcile.Request{{NamespacedName: key}}, nil
}

func policyMoved(before, after *v1alpha1.TradingAgent) bool {
	return before.Spec.RiskPolicyRef != after.Spec.RiskPolicyRef
}
