package tradingagent

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/probe"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "desk", Name: name, UID: types.UID(name + "-uid"), Generation: 2, CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}
}

// whole is a scope in which everything is there and Ready, and no pod yet.
func whole() *scope {
	agent := &v1alpha1.TradingAgent{ObjectMeta: meta("eur"), Spec: v1alpha1.TradingAgentSpec{
		Mode: v1alpha1.ModePaper, Trading: v1alpha1.TradingEnabled,
		AccountRef:     v1alpha1.ObjectReference{Name: "paper"},
		RiskPolicyRef:  v1alpha1.ObjectReference{Name: "careful"},
		AssetPairs:     []v1alpha1.AssetPairSelector{{Name: "EUR/USD"}},
		MarketData:     v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceReplay, Replay: &v1alpha1.ReplaySpec{Dataset: "sample/eurusd-1h"}},
		DeletionPolicy: v1alpha1.DeletionFlatten,
	}}
	s := &scope{
		agent: agent,
		policy: &v1alpha1.RiskPolicy{ObjectMeta: meta("careful"), Spec: v1alpha1.RiskPolicySpec{
			Currency: "USD", Order: v1alpha1.OrderLimits{MaxNotional: "1000"},
		}},
		account: &v1alpha1.TradingAccount{ObjectMeta: meta("paper"), Spec: v1alpha1.TradingAccountSpec{
			Venue: v1alpha1.VenuePaper, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
			Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"},
		}},
		ledger: &v1alpha1.Ledger{ObjectMeta: meta("main"), Spec: v1alpha1.LedgerSpec{
			URISecretRef: v1alpha1.SecretKeyReference{Name: "ledger", Key: "uri"},
		}},
		pairs: []v1alpha1.AssetPair{{ObjectMeta: meta("eur-usd"), Spec: v1alpha1.AssetPairSpec{
			Base: "EUR", Quote: "USD", TickSize: "0.00001", LotSize: "1",
		}}},
		now: now,
	}
	ready := reconcile.Done(v1alpha1.ReasonReady, "well")
	reconcile.StatusOf(s.policy).Summarize(ready, now)
	reconcile.StatusOf(s.account).Summarize(ready, now)
	reconcile.StatusOf(s.ledger).Summarize(ready, now)
	reconcile.StatusOf(&s.pairs[0]).Summarize(ready, now)
	s.before = agent.DeepCopy()
	settle(s)
	return s
}

// goLive has an agent ask for orders that cost money, with all that this needs of
// its own manifest.
func goLive(s *scope) {
	s.agent.Spec.Mode = v1alpha1.ModeLive
	s.agent.Spec.MarketData = v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceCoinbase}
	s.agent.Spec.ControlPlane = &v1alpha1.ControlPlaneSpec{OnLoss: v1alpha1.LossHalt}
	s.coverage = []probe.Answer{{}}
}

// defaultImage is what the operator of these tests runs agents with.
const defaultImage = "registry.example/trading-agent:1"

// settle brings what gather and prepare derive from the scope in step with it.
func settle(s *scope) {
	s.settings, _ = v1alpha1.Resolve(s.agent, s.policy)
	s.mayStart = true
	var err error
	if s.wanted, err = wantedRevision(s.agent, s.revisions, defaultImage); err != nil {
		panic(err) //nolint:forbidigo // a scope of a test that cannot be encoded is a mistake in the test
	}
	s.target = s.targetRevision()
	if s.hash, err = templateHash(s); err != nil {
		panic(err) //nolint:forbidigo // as above
	}
}

// withPod gives the scope a pod of its own that runs with the newest template.
func withPod(s *scope) *scope {
	s.pod = desiredPod(s)
	s.pod.UID = "pod-uid"
	s.pod.CreationTimestamp = metav1.NewTime(now.Add(-time.Minute))
	s.pod.Spec.NodeName = "node-1"
	s.pod.Status.Phase = corev1.PodRunning
	s.pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Minute))}}
	s.pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "trading-agent", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	return s
}

// withTrading lets the pod report that it trades.
func withTrading(s *scope) *scope {
	withPod(s)
	s.agent.Status.Trading = &v1alpha1.TradingStatus{
		PodUID: "pod-uid", ObservedGeneration: s.agent.Generation, Epoch: 3, ReconciledEpoch: 3,
		State: v1alpha1.TradingEnabled, Reason: v1alpha1.ReasonTrading, Message: "it trades",
	}
	return s
}
