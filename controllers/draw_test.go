package controllers_test

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// drawDesk draws what the API server holds: objects that are as they should be,
// that hold anything at all, or that do not exist.
func drawDesk(t *rapid.T) []client.Object {
	d := &desk{namespace: fuzzNamespace}
	agent := d.agent("eur", "EUR/USD")
	objects := []client.Object{drawAgent(t, agent)}
	add := func(name string, object client.Object) {
		if rapid.IntRange(0, 9).Draw(t, name+" exists") > 0 {
			objects = append(objects, object)
		}
	}
	account, policy, ledger, pair := d.account(), d.policy(), d.ledger(), d.pair("eur-usd", "EUR", "USD")
	account.Spec = mostly(t, "account", account.Spec)
	policy.Spec = mostly(t, "policy", policy.Spec)
	pair.Spec = mostly(t, "pair", pair.Spec)
	ledger.Spec = mostly(t, "ledger", ledger.Spec)
	drawConditions(t, account)
	drawConditions(t, policy)
	drawConditions(t, pair)
	drawConditions(t, ledger)
	add("account", account)
	add("policy", policy)
	add("pair", pair)
	add("ledger", ledger)
	add("secret", d.secret())
	if rapid.Bool().Draw(t, "a neighbour") {
		neighbour := d.agent("older", "eur_usd")
		neighbour.UID, neighbour.CreationTimestamp = "older", metav1.NewTime(fuzzEpoch.Add(-2*time.Hour))
		objects = append(objects, neighbour)
	}
	if rapid.Bool().Draw(t, "a pod") {
		objects = append(objects, drawPod(t, d, agent))
	}
	if rapid.Bool().Draw(t, "a node") {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
		node.Spec.Unschedulable = rapid.Bool().Draw(t, "cordoned")
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: drawStatus(t), LastTransitionTime: drawTime(t)}}
		objects = append(objects, node)
	}
	return objects
}

// mostly returns the usual value, or one that holds anything.
func mostly[T any](t *rapid.T, name string, usual T) T {
	if rapid.IntRange(0, 3).Draw(t, name+" is usual") > 0 {
		return usual
	}
	return rapid.Make[T]().Draw(t, name)
}

func drawAgent(t *rapid.T, agent *v1alpha1.TradingAgent) *v1alpha1.TradingAgent {
	agent.UID, agent.Generation = "agent", rapid.Int64Range(1, 3).Draw(t, "generation")
	agent.CreationTimestamp = metav1.NewTime(fuzzEpoch.Add(-time.Hour))
	refs := agent.Spec
	agent.Spec = mostly(t, "agent", agent.Spec)
	if rapid.Bool().Draw(t, "refers to what is there") {
		agent.Spec.AccountRef, agent.Spec.RiskPolicyRef, agent.Spec.AssetPairs = refs.AccountRef, refs.RiskPolicyRef, refs.AssetPairs
	}
	if rapid.Bool().Draw(t, "finalizer") {
		agent.Finalizers = append(agent.Finalizers, v1alpha1.AgentFinalizer)
	}
	if rapid.IntRange(0, 3).Draw(t, "being deleted") == 0 {
		if rapid.Bool().Draw(t, "in the foreground") || len(agent.Finalizers) == 0 {
			agent.Finalizers = append(agent.Finalizers, metav1.FinalizerDeleteDependents)
		}
		agent.DeletionTimestamp = new(drawTime(t))
	}
	if rapid.IntRange(0, 3).Draw(t, "abandoned") == 0 {
		agent.Annotations = map[string]string{v1alpha1.AbandonAnnotation: "true"}
	}
	drawConditions(t, agent)
	if rapid.Bool().Draw(t, "reports") {
		agent.Status.Trading = drawTrading(t)
	}
	if rapid.Bool().Draw(t, "has a revision") {
		agent.Status.Revision = &v1alpha1.RevisionStatus{Current: drawRevision(t), Since: new(drawTime(t)), Good: drawRevision(t)}
		if rapid.Bool().Draw(t, "has failed") {
			agent.Status.Revision.Failed = &v1alpha1.RevisionFailure{Name: drawRevision(t), Time: new(drawTime(t)), Reason: drawReason(t)}
		}
	}
	return agent
}

func drawTrading(t *rapid.T) *v1alpha1.TradingStatus {
	trading := &v1alpha1.TradingStatus{
		PodUID:             rapid.SampledFrom([]string{"pod", "another"}).Draw(t, "reporter"),
		ObservedGeneration: rapid.Int64Range(0, 3).Draw(t, "reported generation"),
		Epoch:              rapid.Int64Range(0, 2).Draw(t, "epoch"), ReconciledEpoch: rapid.Int64Range(0, 2).Draw(t, "reconciled epoch"),
		State:  rapid.SampledFrom([]v1alpha1.TradingState{v1alpha1.TradingEnabled, v1alpha1.TradingReduceOnly, v1alpha1.TradingHalted, "Newer"}).Draw(t, "state"),
		Reason: drawReason(t), OpenOrders: rapid.Int32Range(0, 2).Draw(t, "orders"),
	}
	if rapid.Bool().Draw(t, "holds a position") {
		trading.Positions = []v1alpha1.PositionStatus{{Pair: "EUR-USD", Quantity: "100"}}
	}
	return trading
}

func drawPod(t *rapid.T, d *desk, agent *v1alpha1.TradingAgent) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: d.meta("eur-trader")}
	pod.UID, pod.CreationTimestamp = "pod", drawTime(t)
	pod.Labels = reconcile.Owned(agent)
	pod.Annotations = map[string]string{v1alpha1.GroupName + "/template-hash": rapid.SampledFrom([]string{"", "0123456789abcdef"}).Draw(t, "hash")}
	switch rapid.IntRange(0, 4).Draw(t, "owner") {
	case 0:
	case 1:
		pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(&metav1.ObjectMeta{Name: "eur", UID: types.UID("earlier")}, v1alpha1.GroupVersion.WithKind("TradingAgent"))}
	default:
		pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(agent, v1alpha1.GroupVersion.WithKind("TradingAgent"))}
	}
	if rapid.IntRange(0, 3).Draw(t, "pod is ending") == 0 {
		pod.Finalizers, pod.DeletionTimestamp = []string{"example.com/kubelet"}, new(drawTime(t))
	}
	pod.Spec.NodeName = rapid.SampledFrom([]string{"", "node-1", "node-2"}).Draw(t, "node")
	pod.Status.Phase = rapid.SampledFrom([]corev1.PodPhase{"", corev1.PodPending, corev1.PodRunning, corev1.PodFailed, corev1.PodSucceeded, corev1.PodUnknown}).Draw(t, "phase")
	pod.Status.Reason = rapid.SampledFrom([]string{"", "Evicted", "NodeLost"}).Draw(t, "pod reason")
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: drawStatus(t), LastTransitionTime: drawTime(t)},
		{Type: corev1.PodScheduled, Status: drawStatus(t), Message: "0/1 nodes are available"},
	}
	pod.Status.ContainerStatuses = rapid.SliceOfN(rapid.Custom(drawContainer), 0, 2).Draw(t, "containers")
	return pod
}

func drawContainer(t *rapid.T) corev1.ContainerStatus {
	status := corev1.ContainerStatus{Name: "trading-agent", RestartCount: rapid.Int32Range(0, 2).Draw(t, "restarts")}
	ended := &corev1.ContainerStateTerminated{Reason: rapid.SampledFrom([]string{"Error", "OOMKilled"}).Draw(t, "ended by"), FinishedAt: drawTime(t)}
	switch rapid.IntRange(0, 3).Draw(t, "container") {
	case 0:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: rapid.SampledFrom([]string{"ErrImagePull", "CrashLoopBackOff", "ContainerCreating"}).Draw(t, "waits for")}
	case 1:
		status.State.Running = &corev1.ContainerStateRunning{}
	case 2:
		status.State.Terminated = ended
	}
	if rapid.Bool().Draw(t, "ended before") {
		status.LastTerminationState.Terminated = ended
	}
	return status
}

// drawConditions draws any conditions, which another release may have left.
func drawConditions(t *rapid.T, object client.Object) {
	kinds := []string{
		v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionAccepted,
		v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionPodAvailable, v1alpha1.ConditionVenueReconciled, v1alpha1.ConditionDraining,
	}
	status := reconcile.StatusOf(object)
	*status.ObservedGeneration = rapid.Int64Range(-1, 3).Draw(t, "observed generation")
	for _, kind := range rapid.SliceOfDistinct(rapid.SampledFrom(kinds), rapid.ID[string]).Draw(t, "conditions") {
		*status.Conditions = append(*status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionStatus(drawStatus(t)), Reason: drawReason(t), LastTransitionTime: drawTime(t),
			ObservedGeneration: *status.ObservedGeneration,
		})
	}
}

func drawStatus(t *rapid.T) corev1.ConditionStatus {
	return rapid.SampledFrom([]corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}).Draw(t, "condition status")
}

func drawReason(t *rapid.T) string {
	return rapid.SampledFrom(v1alpha1.Reasons()).Draw(t, "reason").Word
}

func drawRevision(t *rapid.T) string {
	return rapid.SampledFrom([]string{"eur-1", "eur-2", ""}).Draw(t, "revision")
}

// drawTime draws a time around now, to the second as the API server keeps it.
func drawTime(t *rapid.T) metav1.Time {
	return metav1.NewTime(fuzzEpoch.Add(time.Duration(rapid.IntRange(-7200, 60).Draw(t, "seconds ago")) * time.Second))
}
