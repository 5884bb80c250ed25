package tradingagent

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/probe"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
)

// scope is everything that one pass knows about an agent. What does not exist
// is nil.
type scope struct {
	// before is the agent as it was read; agent carries the new status.
	before, agent *v1alpha1.TradingAgent
	// confirmed reports whether a write of this pass has proved that the cache showed
	// the agent as it is.
	confirmed bool
	policy    *v1alpha1.RiskPolicy
	account   *v1alpha1.TradingAccount
	ledger    *v1alpha1.Ledger
	// gateway that the account's venue is reached by; empty for the venue itself.
	gateway string
	// pairs of the namespace.
	pairs []v1alpha1.AssetPair
	// listings are how the account's venue trades the agent's pairs, in the order
	// of the spec.
	listings []listings.Answer
	// coverage is what is known of the data of the agent's pairs, in the order of
	// the spec.
	coverage []probe.Answer
	// elders are the older agents on the same account: of two that name one
	// pair, the older keeps it.
	elders []v1alpha1.TradingAgent
	// pod with the agent's pod name, whoever owns it.
	pod *corev1.Pod
	// duplicates are the names of other pods that pass for the agent.
	duplicates []string
	// node that the agent's pod is on.
	node *corev1.Node
	// budget that holds an eviction back.
	budget *policyv1.PodDisruptionBudget
	// revisions of the agent that are stored.
	revisions []appsv1.ControllerRevision
	// wanted is the revision that the spec asks for, good the last one that was
	// Ready, target the one of the two that shall run.
	wanted, good, target *revision
	// settings that the spec and its policy come to.
	settings v1alpha1.Settings
	// mayStart reports whether the checks let a pod start in this pass, and hash is
	// that of the pod then.
	mayStart bool
	hash     string
	// step taken with the pod in this pass.
	step podStep
	now  time.Time
}

func (s *scope) status() reconcile.Status { return reconcile.StatusOf(s.agent) }

// ownPod is the agent's pod; nil if there is none or it is somebody else's.
func (s *scope) ownPod() *corev1.Pod {
	if s.pod == nil || !metav1.IsControlledBy(s.pod, s.agent) {
		return nil
	}
	return s.pod
}

// readyPod is the UID of the agent's pod while that is Ready.
func (s *scope) readyPod() types.UID {
	if pod := s.ownPod(); pod != nil && podReady(pod) {
		return pod.UID
	}
	return ""
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
func (s *scope) tradedPairs() []*v1alpha1.AssetPair { return s.find(s.agent.Spec.AssetPairs) }

func (s *scope) find(selectors []v1alpha1.AssetPairSelector) []*v1alpha1.AssetPair {
	found := make([]*v1alpha1.AssetPair, len(selectors))
	for i, selector := range selectors {
		found[i] = v1alpha1.FindPair(s.pairs, selector.Name)
	}
	return found
}
