package tradingagent

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

type requests = []ctrlreconcile.Request

// agentMatters passes what the controller acts on, its own last report among it.
// An equity tick is not.
func agentMatters(before, after *v1alpha1.TradingAgent) bool {
	return before.UID != after.UID ||
		before.Generation != after.Generation ||
		!before.DeletionTimestamp.Equal(after.DeletionTimestamp) ||
		!maps.Equal(before.Annotations, after.Annotations) ||
		!slices.Equal(before.Finalizers, after.Finalizers) ||
		reconcile.Reported(before, after) ||
		wordOf(before.Status.Trading) != wordOf(after.Status.Trading) ||
		exposed(before.Status.Trading) != exposed(after.Status.Trading) ||
		!after.DeletionTimestamp.IsZero() && holdings(before.Status.Trading) != holdings(after.Status.Trading)
}

// word is the part of an agent's report that conditions repeat.
type word struct {
	podUID                             string
	generation, epoch, reconciledEpoch int64
	state                              v1alpha1.TradingState
	reason, message                    string
	// bars says that prices arrive, and not which.
	bars bool
}

func wordOf(trading *v1alpha1.TradingStatus) word {
	if trading == nil {
		return word{}
	}
	bars := trading.Data != nil && trading.Data.LastBarTime != nil
	return word{trading.PodUID, trading.ObservedGeneration, trading.Epoch, trading.ReconciledEpoch, trading.State, trading.Reason, trading.Message, bars}
}

// holdings are what a deletion waits for.
func holdings(trading *v1alpha1.TradingStatus) [2]int {
	if trading == nil {
		return [2]int{}
	}
	return [2]int{int(trading.OpenOrders), len(trading.Positions)}
}

// pairsMoved passes changes that may set a pair free for another agent.
func pairsMoved(before, after *v1alpha1.TradingAgent) bool {
	return !slices.Equal(before.Spec.AssetPairs, after.Spec.AssetPairs)
}

func (r *Reconciler) agentsOfPolicy(ctx context.Context, policy *v1alpha1.RiskPolicy) (requests, error) {
	agents, err := reconcile.AgentsBy(ctx, r.Client, policy.Namespace, reconcile.IndexPolicy, policy.Name)
	return reconcile.Requests(agents), err
}

func (r *Reconciler) agentsOfPair(ctx context.Context, pair *v1alpha1.AssetPair) (requests, error) {
	agents, err := reconcile.AgentsTrading(ctx, r.Client, pair)
	return reconcile.Requests(agents), err
}

func (r *Reconciler) agentsOfAccount(ctx context.Context, account *v1alpha1.TradingAccount) (requests, error) {
	agents, err := reconcile.AgentsBy(ctx, r.Client, account.Namespace, reconcile.IndexAccount, account.Name)
	return reconcile.Requests(agents), err
}

func (r *Reconciler) agentsOfLedger(ctx context.Context, ledger *v1alpha1.Ledger) (requests, error) {
	accounts, err := reconcile.AccountsOf(ctx, r.Client, ledger)
	if err != nil {
		return nil, err
	}
	var found requests
	for i := range accounts {
		agents, err := r.agentsOfAccount(ctx, &accounts[i])
		if err != nil {
			return nil, err
		}
		found = append(found, agents...)
	}
	return found, nil
}

// agentsWithoutPair are the agents on the same account that wait for a pair
// that another has: its going may set the pair free.
func (r *Reconciler) agentsWithoutPair(ctx context.Context, agent *v1alpha1.TradingAgent) (requests, error) {
	agents, err := reconcile.AgentsBy(ctx, r.Client, agent.Namespace, reconcile.IndexAccount, agent.Spec.AccountRef.Name)
	if err != nil {
		return nil, err
	}
	waiting := slices.DeleteFunc(agents, func(other v1alpha1.TradingAgent) bool {
		accepted := reconcile.StatusOf(&other).Get(v1alpha1.ConditionAccepted)
		return accepted == nil || accepted.Reason != v1alpha1.ReasonPairTaken
	})
	return reconcile.Requests(waiting), nil
}

// agentOfLabel is the agent that a pod passes for. A pod that the agent owns wakes
// it by that.
func agentOfLabel(_ context.Context, pod *corev1.Pod) (requests, error) {
	name := pod.Labels[v1alpha1.AgentLabel]
	if name == "" || metav1.GetControllerOf(pod) != nil && pod.Name == name+childSuffix {
		return nil, nil
	}
	return requests{{NamespacedName: types.NamespacedName{Namespace: pod.Namespace, Name: name}}}, nil
}

func (r *Reconciler) agentsOnNode(ctx context.Context, node *corev1.Node) (requests, error) {
	var agents v1alpha1.TradingAgentList
	if err := r.Client.List(ctx, &agents, client.MatchingFields{reconcile.IndexNode: node.Name}); err != nil {
		return nil, fmt.Errorf("list the agents on node %s: %w", node.Name, err)
	}
	return reconcile.Requests(agents.Items), nil
}

// nodeMoved passes what an agent on the node must know: that it is being emptied,
// and that it does not answer.
func nodeMoved(before, after *corev1.Node) bool {
	return before.UID != after.UID || before.Spec.Unschedulable != after.Spec.Unschedulable || answers(before) != answers(after)
}

func answers(node *corev1.Node) bool {
	ready := nodeReady(node)
	return ready == nil || ready.Status == corev1.ConditionTrue
}
