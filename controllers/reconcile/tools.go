package reconcile

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ReferenceGrace is how long a reference may be missing before the user is told
// to act: GitOps tools apply in any order, within a minute.
const ReferenceGrace = time.Minute

// Tools are what every controller works with.
type Tools struct {
	// Client reads from the cache and writes; Live reads past the cache.
	Client client.Client
	Live   client.Reader
	// Applier and Reporter write children and status.
	Applier  *Applier
	Reporter *Reporter
	Clock    clock.PassiveClock
}

// NewTools takes a controller's tools from the manager. name stands in the
// controller's Events.
func NewTools(mgr ctrl.Manager, name string, clock clock.PassiveClock) Tools {
	return Tools{
		Client:   mgr.GetClient(),
		Live:     mgr.GetAPIReader(),
		Applier:  &Applier{Client: mgr.GetClient(), Live: mgr.GetAPIReader()},
		Reporter: &Reporter{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder(name), Clock: clock},
		Clock:    clock,
	}
}

// SlimPod keeps of a cached pod what the controllers read. They write pods by
// patches of labels and deletions alone, so what is missing here cannot get
// lost.
func SlimPod(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		pod.Spec = corev1.PodSpec{NodeName: pod.Spec.NodeName, Containers: revisionOnly(pod.Spec.Containers)}
		status := &pod.Status
		pod.Status = corev1.PodStatus{
			Phase: status.Phase, Reason: status.Reason, Message: status.Message,
			Conditions: exact(status.Conditions), ContainerStatuses: exact(status.ContainerStatuses),
		}
		for i := range pod.Status.ContainerStatuses {
			container := &pod.Status.ContainerStatuses[i]
			pod.Status.ContainerStatuses[i] = corev1.ContainerStatus{
				Name: container.Name, Image: container.Image, State: container.State, LastTerminationState: container.LastTerminationState,
				Ready: container.Ready, RestartCount: container.RestartCount,
			}
		}
	}
	return Compact(object)
}

// SlimNode keeps of a cached node what the controllers read, and not the time of
// its heartbeats. They never write nodes.
func SlimNode(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	slim := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion},
		Spec:       corev1.NodeSpec{Unschedulable: node.Spec.Unschedulable},
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			condition.LastHeartbeatTime = metav1.Time{}
			slim.Status.Conditions = []corev1.NodeCondition{condition}
		}
	}
	return slim, nil
}
