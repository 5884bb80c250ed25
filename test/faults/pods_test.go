//go:build faults

package faults

import (
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// The images that agents are brought to.
const (
	nextImage   = "registry.example/trading-agent:next"
	brokenImage = "registry.example/trading-agent:broken"
)

// progressDeadline is how long a new revision is given where nothing is set.
const progressDeadline = 300 * time.Second

// revisionScenarios are about what an agent's process is made from.
func revisionScenarios() []scenario {
	return []scenario{{
		name: "operator upgrade", before: trading, upgrade: release{agentImage: nextImage},
		pods: map[string]tallyOf{"eur": {1, 0}, "gbp": {1, 0}},
		act: func(d *desk) {
			d.touch("eur")
			d.create(d.agent("gbp", "GBP/USD"))
			d.awaitTrading("gbp")
			if image := d.pod().Spec.Containers[0].Image; image != newest.agentImage {
				d.t.Errorf("upgrading the operator brought its agent to %s", image)
			}
		},
	}, {
		name: "image upgrade", before: trading, pods: replacesPod,
		act: restarting(func(a *v1alpha1.TradingAgent) { a.Spec.Image = nextImage }),
	}, {
		name: "rollback", before: trading, pods: map[string]tallyOf{"eur": {3, 2}}, act: rollBack,
	}, {
		name: "spec corrected after a rollback", pods: map[string]tallyOf{"eur": {4, 3}},
		before: func(d *desk) {
			trading(d)
			rollBack(d)
		},
		act: restarting(func(a *v1alpha1.TradingAgent) { a.Spec.Image = nextImage }),
	}}
}

// rollBack gives the agent an image that cannot be pulled, and waits until it
// runs what it ran before.
func rollBack(d *desk) {
	good := d.pod()
	d.world.set(func(w *world) { w.unpullable[brokenImage] = true })
	edit(d, d.eur(), func(a *v1alpha1.TradingAgent) { a.Spec.Image = brokenImage })
	d.awaitPod(good.UID)
	d.awaitReason("eur", v1alpha1.ReasonImagePull)
	d.skip("eur", progressDeadline+time.Second)
	d.until("the good revision trades again", func() error {
		agent, ok := d.readAgent("eur")
		if !ok {
			return errors.New("there is no such agent")
		}
		ready := reconcile.StatusOf(agent).Get(v1alpha1.ConditionReady)
		if ready.Reason != v1alpha1.ReasonRolledBack || !strings.Contains(ready.Message, "("+v1alpha1.ReasonTrading+")") {
			return errors.New(ready.Reason + ": " + ready.Message)
		}
		return nil
	})
	if image := d.pod().Spec.Containers[0].Image; image != good.Spec.Containers[0].Image {
		d.t.Errorf("rolled back to image %s", image)
	}
}

// nodeScenarios are about where an agent's process runs.
func nodeScenarios() []scenario {
	return []scenario{{
		name: "node loss", before: trading, pods: replacesPod, act: loseNode,
	}, {
		name: "node drained", pods: replacesPod, act: drainNode,
		before: func(d *desk) {
			d.world.set(func(w *world) { w.holding = true })
			trading(d)
		},
	}, {
		name: "position opened and closed", before: trading, pods: keepsPod,
		act: func(d *desk) {
			d.world.set(func(w *world) { w.holding = true })
			d.until("a disruption budget", d.guarded(true))
			d.world.set(func(w *world) { w.holding = false })
			d.until("no disruption budget", d.guarded(false))
		},
	}, {
		name: "pod fails", before: trading, pods: replacesPod, act: failPod,
	}}
}

// guarded tells whether a disruption budget holds evictions of the agent back.
func (d *desk) guarded(wanted bool) func() error {
	return func() error {
		if found := d.records.all()[key{"PodDisruptionBudget", d.podName("eur")}] != nil; found != wanted {
			return errors.New("it is not so yet")
		}
		return nil
	}
}

// drainNode empties the pod's node. The eviction waits for an agent that holds a
// position, until its time is over.
func drainNode(d *desk) {
	d.until("a disruption budget", d.guarded(true))
	pod := d.pod()
	node := &corev1.Node{}
	if err := server.Client.Get(d.ctx, client.ObjectKey{Name: pod.Spec.NodeName}, node); err != nil {
		d.t.Fatal(err)
	}
	before := node.DeepCopy()
	node.Spec.Unschedulable = true
	if err := server.Client.Patch(d.ctx, node, client.MergeFrom(before)); err != nil {
		d.t.Fatal(err)
	}
	d.world.set(func(w *world) { w.node = d.namespace + "-b" })
	d.until("the drain is known", func() error {
		agent, _ := d.readAgent("eur")
		if reconcile.StatusOf(agent).Get(v1alpha1.ConditionDraining) == nil {
			return errors.New("it is not")
		}
		return nil
	})
	d.skip("eur", 601*time.Second)
	d.until("no disruption budget", d.guarded(false))
	d.remove(pod)
	d.awaitPod(pod.UID)
	d.awaitTrading("eur")
}

// loseNode has the pod's node go silent. The pod is evicted, and stays, because
// nobody knows that its process has ended; only when the user deletes the Node
// does the pod go, and the agent start elsewhere.
func loseNode(d *desk) {
	pod := d.pod()
	lost := pod.Spec.NodeName
	d.world.set(func(w *world) { w.lost[lost], w.node = true, d.namespace+"-b" })
	d.setNode(lost, corev1.ConditionUnknown)
	before := pod.DeepCopy()
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}}
	if err := server.Client.Status().Patch(d.ctx, pod, client.MergeFrom(before)); err != nil {
		d.t.Fatal(err)
	}
	d.until("the agent is not Ready", d.unready("eur"))
	d.remove(pod)
	d.awaitReason("eur", v1alpha1.ReasonPodReplacing)
	d.remove(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: lost}})
	if err := server.Client.Delete(d.ctx, pod, client.GracePeriodSeconds(0)); err != nil {
		d.t.Fatal(err)
	}
	d.awaitPod(pod.UID)
	d.awaitTrading("eur")
}

// failPod has the kubelet give the pod up. Another starts when the pause is over.
func failPod(d *desk) {
	pod := d.pod()
	before := pod.DeepCopy()
	pod.Status.Phase = corev1.PodFailed
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}}
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, FinishedAt: metav1.Now()}}
	if err := server.Client.Status().Patch(d.ctx, pod, client.MergeFrom(before)); err != nil {
		d.t.Fatal(err)
	}
	d.awaitReason("eur", v1alpha1.ReasonPodFailed)
	d.skip("eur", 15*time.Second)
	d.awaitPod(pod.UID)
	d.awaitTrading("eur")
}
