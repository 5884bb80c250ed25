package tradingagent

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// podStep is what a pass does with the agent's pod.
type podStep int

const (
	// stepKeep leaves the pod as it is, or leaves its absence.
	stepKeep podStep = iota
	// stepCreate creates the pod.
	stepCreate
	// stepReplace ends the pod because its template has changed.
	stepReplace
	// stepRevive ends a pod that will not run again, so that another can start.
	stepRevive
	// stepBackOff leaves a pod that has failed for a while.
	stepBackOff
	// stepAwaitEnd waits for a pod that is ending.
	stepAwaitEnd
	// stepForeign leaves a pod that the agent does not own alone.
	stepForeign
)

// Bounds of the pause before a failed pod is replaced. The first keeps a pod
// that the kubelet refuses from being created in a tight loop, the second has an
// agent back soon after a node has recovered.
const (
	minRevivePause = 10 * time.Second
	maxRevivePause = 5 * time.Minute
)

// nextStep decides what to do with the pod. At most one pod of an agent ever
// exists: a new one is created only when no pod has its name.
func nextStep(s *scope) podStep {
	pod := s.pod
	switch {
	case pod == nil && s.mayStart:
		return stepCreate
	case pod == nil:
		return stepKeep
	case s.ownPod() == nil:
		return stepForeign
	case !pod.DeletionTimestamp.IsZero():
		return stepAwaitEnd
	case finished(pod) && revivePause(s, pod) > 0:
		return stepBackOff
	case finished(pod):
		return stepRevive
	case s.mayStart && pod.Annotations[templateHashAnnotation] != s.hash:
		return stepReplace
	}
	return stepKeep
}

// finished reports whether the pod will never run again: evicted, refused by
// its node, or ended with it.
func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// revivePause is how long a finished pod still stays. It lasts as long as the
// agent had been without an available pod when this one ended, so it doubles
// from pod to pod, and the status is all the memory that it needs.
func revivePause(s *scope, pod *corev1.Pod) time.Duration {
	ended := endOf(pod)
	missing := ended.Sub(s.status().Since(v1alpha1.ConditionPodAvailable, metav1.ConditionFalse, ended))
	pause := min(max(missing, minRevivePause), maxRevivePause)
	return ended.Add(pause).Sub(s.now)
}

// endOf is when a finished pod ended, as well as its status tells.
func endOf(pod *corev1.Pod) time.Time {
	end := pod.CreationTimestamp.Time
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.LastTransitionTime.After(end) {
			end = condition.LastTransitionTime.Time
		}
	}
	for _, container := range pod.Status.ContainerStatuses {
		if terminated := container.State.Terminated; terminated != nil && terminated.FinishedAt.After(end) {
			end = terminated.FinishedAt.Time
		}
	}
	return end
}
