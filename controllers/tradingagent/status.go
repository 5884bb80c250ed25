package tradingagent

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// foreignPodPause: the cache holds only pods with the operator's label, so no
// watch tells when somebody else's pod has gone.
const foreignPodPause = 30 * time.Second

// endGrace is how much longer than its grace a pod may take to end before its
// user is told: a kubelet that was restarted needs its time.
const endGrace = time.Minute

// report writes what is known into the agent's status and says how the pass
// ended. It is pure: nothing but the scope goes in.
func report(s *scope) reconcile.Outcome {
	return reportDrain(s, reportRollout(s, reportAgent(s)))
}

// reportAgent sets the conditions of the agent and its pod.
func reportAgent(s *scope) reconcile.Outcome {
	reportPod(s)
	reportRevision(s)
	reportSettings(s)
	unresolved, accepted := check(s, references), reportAccepted(s)
	reportResolved(s, unresolved)
	reportPodAvailable(s)
	reportTrading(s)

	status := s.status()
	podAvailable, venue := status.Get(v1alpha1.ConditionPodAvailable), status.Get(v1alpha1.ConditionVenueReconciled)
	switch {
	case accepted.status == metav1.ConditionFalse:
		return accepted.outcome()
	case !unresolved.ok():
		since := status.Since(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, s.now)
		return reconcile.WaitOrStall(unresolved.reason, unresolved.message, since, s.now, reconcile.ReferenceGrace)
	case accepted.status == metav1.ConditionUnknown:
		return accepted.outcome()
	case s.step == stepForeign:
		return reconcile.Stall(podAvailable.Reason, podAvailable.Message).Again(foreignPodPause)
	case len(s.duplicates) > 0:
		return reconcile.Stall(v1alpha1.ReasonDuplicatePod, podNames(s.duplicates)+" passes for this agent beside its pod; what it reports is refused; delete it")
	case s.step == stepBackOff:
		return reconcile.Wait(podAvailable.Reason, podAvailable.Message, revivePause(s, s.pod))
	case s.step == stepAwaitEnd:
		return reconcile.WaitOrStall(podAvailable.Reason, podAvailable.Message, s.pod.DeletionTimestamp.Time, s.now, endGrace)
	case podAvailable.Reason == v1alpha1.ReasonImagePull:
		return reconcile.Stall(podAvailable.Reason, podAvailable.Message)
	case needsUser(s.trading()):
		return reconcile.Stall(s.trading().Reason, messageOf(s.trading()))
	case podAvailable.Reason == v1alpha1.ReasonPodStarting && s.trading() != nil && s.trading().State != v1alpha1.TradingEnabled:
		// A process that runs and says why it is not ready says it best.
		return reconcile.Wait(s.trading().Reason, messageOf(s.trading()), 0)
	case podAvailable.Status != metav1.ConditionTrue:
		return reconcile.Wait(podAvailable.Reason, podAvailable.Message, 0)
	case venue.Status != metav1.ConditionTrue:
		return reconcile.Wait(venue.Reason, venue.Message, 0)
	case s.trading().ObservedGeneration != s.agent.Generation:
		return reconcile.Wait(v1alpha1.ReasonSpecNotInForce, fmt.Sprintf("the agent's process acts on generation %d of the spec, the newest is %d", s.trading().ObservedGeneration, s.agent.Generation), 0)
	}
	return reconcile.Done(s.trading().Reason, messageOf(s.trading()))
}

// needsUser reports whether the agent has met something that it cannot get out
// of by itself.
func needsUser(trading *v1alpha1.TradingStatus) bool {
	return trading != nil &&
		(trading.Reason == v1alpha1.ReasonPositionMismatch || trading.Reason == v1alpha1.ReasonDataUnavailable)
}

// messageOf is what the agent says, or what its reason means where it says no
// more.
func messageOf(trading *v1alpha1.TradingStatus) string {
	if trading.Message != "" {
		return trading.Message
	}
	for _, reason := range v1alpha1.Reasons() {
		if reason.Word == trading.Reason {
			return reason.Meaning
		}
	}
	return ""
}

// reportPod names the one pod that may speak for the agent. A pod that is ending
// keeps its voice until it is gone: it may still be closing positions.
func reportPod(s *scope) {
	status := &s.agent.Status
	status.PodName, status.PodUID, status.NodeName = "", "", ""
	if pod := s.ownPod(); pod != nil {
		status.PodName, status.PodUID, status.NodeName = pod.Name, string(pod.UID), pod.Spec.NodeName
	}
}

func reportPodAvailable(s *scope) {
	status, reason, message := podAvailability(s)
	s.status().Set(v1alpha1.ConditionPodAvailable, status, reason, message, s.now)
}

func podAvailability(s *scope) (metav1.ConditionStatus, string, string) {
	name := ChildName(s.agent)
	switch s.step {
	case stepForeign:
		return metav1.ConditionFalse, v1alpha1.ReasonPodNotOwned, fmt.Sprintf("Pod %q exists and does not belong to this agent; delete it", name)
	case stepCreate:
		return metav1.ConditionFalse, v1alpha1.ReasonPodCreated, fmt.Sprintf("Pod %q was created", name)
	case stepReplace:
		return metav1.ConditionFalse, v1alpha1.ReasonPodReplacing, fmt.Sprintf("Pod %q has an older spec and is ending; the new one starts when it is gone", name)
	case stepAwaitEnd:
		return endingPod(s)
	case stepRevive, stepBackOff:
		return endedPod(s.pod)
	case stepKeep:
	}
	if s.pod == nil {
		return metav1.ConditionFalse, v1alpha1.ReasonPodStarting, "the pod starts when the spec is accepted and every reference is Ready"
	}
	if s.nodeLost() {
		return metav1.ConditionFalse, v1alpha1.ReasonNodeLost, fmt.Sprintf("node %q of Pod %q does not answer; its process may still trade, so no other is started; if the node is lost for good, delete the Node object", s.node.Name, name)
	}
	return runningPod(s.pod)
}

// endingPod tells of a pod that was deleted and is still there. Its deletion
// timestamp is when its grace is over.
func endingPod(s *scope) (metav1.ConditionStatus, string, string) {
	if s.now.Before(s.pod.DeletionTimestamp.Add(endGrace)) {
		return metav1.ConditionFalse, v1alpha1.ReasonPodReplacing, fmt.Sprintf("Pod %q is ending; the next one starts when it is gone", s.pod.Name)
	}
	return metav1.ConditionFalse, v1alpha1.ReasonPodEndOverdue, fmt.Sprintf("Pod %q on node %q has not ended; no other starts while its process may still trade; if the node is lost for good, delete the Node object, or taint it with node.kubernetes.io/out-of-service", s.pod.Name, s.pod.Spec.NodeName)
}

// endedPod tells of a pod that will not run again.
func endedPod(pod *corev1.Pod) (metav1.ConditionStatus, string, string) {
	reason := v1alpha1.ReasonPodFailed
	switch {
	case pod.Status.Reason == "Evicted":
		reason = v1alpha1.ReasonPodEvicted
	case outOfMemory(pod):
		reason = v1alpha1.ReasonOutOfMemory
	}
	return metav1.ConditionFalse, reason, fmt.Sprintf("Pod %q has ended (%s) and will be replaced%s", pod.Name, pod.Status.Phase, because(strings.TrimSpace(pod.Status.Reason+" "+pod.Status.Message)))
}

// outOfMemory reports whether the process was killed for its use of memory the
// last time that it ended.
func outOfMemory(pod *corev1.Pod) bool {
	for _, container := range pod.Status.ContainerStatuses {
		for _, state := range []corev1.ContainerState{container.State, container.LastTerminationState} {
			if state.Terminated != nil {
				return state.Terminated.Reason == "OOMKilled"
			}
		}
	}
	return false
}

func podNames(names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("Pod %q", names[0])
	}
	return fmt.Sprintf("Pod %q and %d more", names[0], len(names)-1)
}

// runningPod reads the state of a pod that stays.
func runningPod(pod *corev1.Pod) (metav1.ConditionStatus, string, string) {
	if podReady(pod) {
		return metav1.ConditionTrue, v1alpha1.ReasonPodRunning, fmt.Sprintf("Pod %q runs", pod.Name)
	}
	for _, container := range pod.Status.ContainerStatuses {
		waiting := container.State.Waiting
		switch {
		case waiting == nil:
		case waiting.Reason == "ErrImagePull" || waiting.Reason == "ImagePullBackOff" || waiting.Reason == "InvalidImageName" || waiting.Reason == "ErrImageNeverPull":
			return metav1.ConditionFalse, v1alpha1.ReasonImagePull, fmt.Sprintf("image %q cannot be pulled (%s)", container.Image, waiting.Reason)
		case waiting.Reason == "CrashLoopBackOff" && outOfMemory(pod):
			return metav1.ConditionFalse, v1alpha1.ReasonOutOfMemory, fmt.Sprintf("the process in Pod %q needs more memory than its limit and is killed; trade fewer pairs with one agent", pod.Name)
		case waiting.Reason == "CrashLoopBackOff":
			return metav1.ConditionFalse, v1alpha1.ReasonPodFailed, fmt.Sprintf("the process in Pod %q keeps failing; look at its log", pod.Name)
		}
	}
	return metav1.ConditionFalse, v1alpha1.ReasonPodStarting, fmt.Sprintf("Pod %q is not ready%s", pod.Name, because(schedulingProblem(pod)))
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func schedulingProblem(pod *corev1.Pod) string {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return condition.Message
		}
	}
	return ""
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// reportTrading puts what the agent itself reports into conditions. What an
// earlier pod has reported does not count.
func reportTrading(s *scope) {
	status, trading := s.status(), s.trading()
	if trading == nil {
		const message = "the agent's pod has not reported yet"
		status.Set(v1alpha1.ConditionVenueReconciled, metav1.ConditionUnknown, v1alpha1.ReasonNotReporting, message, s.now)
		status.Set(v1alpha1.ConditionTradingEnabled, metav1.ConditionUnknown, v1alpha1.ReasonNotReporting, message, s.now)
		return
	}
	if trading.Epoch > 0 && trading.ReconciledEpoch == trading.Epoch {
		status.Set(v1alpha1.ConditionVenueReconciled, metav1.ConditionTrue, v1alpha1.ReasonVenueReconciled, fmt.Sprintf("ledger and venue agree for epoch %d", trading.Epoch), s.now)
	} else {
		reason, message := trading.Reason, messageOf(trading)
		if trading.State == v1alpha1.TradingEnabled {
			reason, message = v1alpha1.ReasonVenueReconciling, "the agent is comparing its ledger with its venue"
		}
		status.Set(v1alpha1.ConditionVenueReconciled, metav1.ConditionFalse, reason, message, s.now)
	}
	enabled := metav1.ConditionFalse
	if trading.State == v1alpha1.TradingEnabled {
		enabled = metav1.ConditionTrue
	}
	status.Set(v1alpha1.ConditionTradingEnabled, enabled, trading.Reason, messageOf(trading), s.now)
}
