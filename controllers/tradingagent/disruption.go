package tradingagent

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// desiredBudget holds back an eviction of the agent's pod. A pod that is not
// ready may always go: it guards nothing.
func desiredBudget(agent *v1alpha1.TradingAgent) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: childMeta(agent),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable:               new(intstr.FromInt32(1)),
			Selector:                   &metav1.LabelSelector{MatchLabels: reconcile.Owned(agent)},
			UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
		},
	}
}

// applyBudget guards the pod of an agent that holds something, until a drain has
// waited for it long enough.
func (r *Reconciler) applyBudget(ctx context.Context, s *scope) error {
	_, overdue := s.drain()
	if s.exposed() && !overdue {
		return r.Applier.Apply(ctx, s.agent, desiredBudget(s.agent))
	}
	if s.budget == nil || !metav1.IsControlledBy(s.budget, s.agent) || !s.budget.DeletionTimestamp.IsZero() {
		return nil
	}
	err := r.Client.Delete(ctx, s.budget, client.Preconditions{UID: new(s.budget.UID)})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete PodDisruptionBudget %s: %w", s.budget.Name, err)
	}
	return nil
}

// exposed reports whether the agent holds a position or has an open order, as far
// as any of its pods has told.
func (s *scope) exposed() bool { return exposed(s.agent.Status.Trading) }

func exposed(trading *v1alpha1.TradingStatus) bool {
	return trading != nil && (len(trading.Positions) > 0 || trading.OpenOrders > 0)
}

// drain tells how much longer the drain of the agent's node waits; overdue if no
// longer. Where no drain waits, both are zero.
func (s *scope) drain() (left time.Duration, overdue bool) {
	if s.node == nil || !s.node.Spec.Unschedulable || !s.exposed() {
		return 0, false
	}
	since := s.status().Since(v1alpha1.ConditionDraining, metav1.ConditionTrue, s.now)
	left = since.Add(time.Duration(s.settings.DrainDeadlineSeconds) * time.Second).Sub(s.now)
	if left <= 0 {
		return 0, true
	}
	return left, false
}

// reportDrain tells of a drain that the agent holds up, and looks again when its
// time is over.
func reportDrain(s *scope, outcome reconcile.Outcome) reconcile.Outcome {
	left, overdue := s.drain()
	switch {
	case overdue:
		s.status().Set(v1alpha1.ConditionDraining, metav1.ConditionTrue, v1alpha1.ReasonDrainOverdue,
			fmt.Sprintf("node %q is being emptied; the time to wait is over, and the pod may be evicted", s.node.Name), s.now)
	case left > 0:
		deadline := s.now.Add(left).UTC().Format(time.RFC3339)
		s.status().Set(v1alpha1.ConditionDraining, metav1.ConditionTrue, v1alpha1.ReasonDrainWaiting,
			fmt.Sprintf("node %q is being emptied; the eviction waits until the agent is flat, or until %s", s.node.Name, deadline), s.now)
		return outcome.Within(left)
	default:
		s.status().Remove(v1alpha1.ConditionDraining)
	}
	return outcome
}

// nodeLost reports whether the pod's node does not answer.
func (s *scope) nodeLost() bool { return s.node != nil && !answers(s.node) }

func nodeReady(node *corev1.Node) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == corev1.NodeReady {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}
