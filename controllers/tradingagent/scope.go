package tradingagent

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
)

// scope is everything that one pass knows about an agent. What does not exist
// is nil.
type scope struct {
	// before is the agent as it was read; agent carries the new status.
	before, agent *v1alpha1.TradingAgent
	policy        *v1alpha1.RiskPolicy
	account       *v1alpha1.TradingAccount
	ledger        *v1alpha1.Ledger
	// pairs of the namespace.
	pairs []v1alpha1.AssetPair
	// listings are how the account's venue trades the agent's pairs, in the order
	// of the spec.
	listings []listings.Answer
	// elders are the older agents on the same account: of two that name one
	// pair, the older keeps it.
	elders []v1alpha1.TradingAgent
	// pod with the agent's pod name, whoever owns it.
	pod *corev1.Pod
	// step taken with the pod in this pass.
	step podStep
	// image of the agent's pod.
	image string
	now   time.Time
}

func (s *scope) status() reconcile.Status { return reconcile.StatusOf(s.agent) }

// ownPod is the agent's pod; nil if there is none or it is somebody else's.
func (s *scope) ownPod() *corev1.Pod {
	if s.pod == nil || !metav1.IsControlledBy(s.pod, s.agent) {
		return nil
	}
	return s.pod
}

// trading is what the current pod has reported; nil if it has not.
func (s *scope) trading() *v1alpha1.TradingStatus {
	pod, trading := s.ownPod(), s.agent.Status.Trading
	if pod == nil || trading == nil || trading.PodUID != string(pod.UID) {
		return nil
	}
	return trading
}

// tradedPairs are the AssetPairs that the agent's selectors mean, in the order
// of the spec; nil stands where there is none.
func (s *scope) tradedPairs() []*v1alpha1.AssetPair {
	traded := make([]*v1alpha1.AssetPair, len(s.agent.Spec.AssetPairs))
	for i, selector := range s.agent.Spec.AssetPairs {
		traded[i] = v1alpha1.FindPair(s.pairs, selector.Name)
	}
	return traded
}
