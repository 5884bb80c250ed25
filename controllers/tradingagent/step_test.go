package tradingagent

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func TestNextStep(t *testing.T) {
	ended := func(s *scope, ago time.Duration) {
		s.pod.Status.Phase = corev1.PodFailed
		s.pod.Status.Conditions = nil
		s.pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now.Add(-ago))}}
	}
	for _, test := range []struct {
		name     string
		pod      bool
		mayStart bool
		change   func(*scope)
		step     podStep
	}{
		{"the first pod", false, true, nil, stepCreate},
		{"no pod before everything is there", false, false, nil, stepKeep},
		{"a pod with the newest template", true, true, nil, stepKeep},
		{"a pod with an older template", true, true, func(s *scope) { s.pod.Annotations[templateHashAnnotation] = "old" }, stepReplace},
		{"no replacement while a reference is missing", true, false, func(s *scope) { s.pod.Annotations[templateHashAnnotation] = "old" }, stepKeep},
		{"a pod that ends", true, true, func(s *scope) { s.pod.DeletionTimestamp = new(metav1.NewTime(now)) }, stepAwaitEnd},
		{"somebody else's pod", true, true, func(s *scope) { s.pod.OwnerReferences[0].UID = "another" }, stepForeign},
		{"a pod of a namesake that came before", true, false, func(s *scope) { s.pod.OwnerReferences[0].UID = "earlier" }, stepForeign},
		{"a pod that has just failed", true, true, func(s *scope) { ended(s, 9*time.Second) }, stepBackOff},
		{"a pod that failed a while ago", true, true, func(s *scope) { ended(s, 10*time.Second) }, stepRevive},
		{"a failed pod is cleared away in any case", true, false, func(s *scope) { ended(s, time.Hour) }, stepRevive},
		{"a pod that has succeeded", true, true, func(s *scope) {
			ended(s, time.Hour)
			s.pod.Status.Phase = corev1.PodSucceeded
		}, stepRevive},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := whole()
			s.mayStart = test.mayStart
			if test.pod {
				withPod(s)
			}
			if test.change != nil {
				test.change(s)
			}
			if got := nextStep(s); got != test.step {
				t.Errorf("got step %d, want %d", got, test.step)
			}
		})
	}
}

// The pause doubles with every pod that fails without having been available.
func TestRevivePause(t *testing.T) {
	for _, test := range []struct {
		name    string
		missing time.Duration
		pause   time.Duration
	}{
		{"it ran until now", 0, 10 * time.Second},
		{"failing for five seconds", 5 * time.Second, 10 * time.Second},
		{"failing for a minute", time.Minute, time.Minute},
		{"failing for an hour", time.Hour, 5 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := withPod(whole())
			s.pod.Status.Conditions = nil
			s.pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now)}}
			if test.missing > 0 {
				s.status().Set(v1alpha1.ConditionPodAvailable, metav1.ConditionFalse, v1alpha1.ReasonPodFailed, "", now.Add(-test.missing))
			}
			if got := revivePause(s, s.pod); got != test.pause {
				t.Errorf("got %v, want %v", got, test.pause)
			}
		})
	}
}
