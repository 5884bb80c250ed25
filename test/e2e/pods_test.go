//go:build e2e

package e2e

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// describePods replaces and loses the pod of one agent in every way that a user
// can bring about on one node.
func describePods() {
	const name = "eur-trend"

	It("runs on through an upgrade of the operator with another default image", func(ctx SpecContext) {
		before := podUID(ctx, name)
		original := setAgentImage(ctx, "registry.local/trading-agent:next")
		DeferCleanup(func(ctx SpecContext) { setAgentImage(ctx, original) })
		Eventually(operatorSettled).WithContext(ctx).Should(BeTrue())
		// A halt that is obeyed shows that the new operator has looked at the agent.
		setTrading(ctx, name, v1alpha1.TradingReduceOnly)
		Eventually(readyReason).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonReduceOnly))
		setTrading(ctx, name, v1alpha1.TradingEnabled)
		Eventually(readyReason).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonTrading))
		Expect(podUID(ctx, name)).To(Equal(before))
	})

	It("rolls an image that cannot be pulled back, trades on, and tells why", func(ctx SpecContext) {
		patchTrend(ctx, `{"spec":{"image":"registry.local/nothing:1","progressDeadlineSeconds":15}}`)
		Eventually(readyReason).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonRolledBack))
		agent := readAgent(ctx, name)
		Expect(agent.Status.Revision.Failed.Reason).To(Equal(v1alpha1.ReasonImagePull))
		Expect(agent.Spec.Image).To(Equal("registry.local/nothing:1"), "the spec belongs to its author")
		before := decisionsOf(ctx, string(agent.UID))
		Eventually(decisionCount).WithContext(ctx).WithArguments(string(agent.UID)).Should(BeNumerically(">", before+2), "the good revision trades")
		patchTrend(ctx, `{"spec":{"image":null,"progressDeadlineSeconds":null}}`)
		Eventually(readyReason).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonTrading))
	})

	It("keeps a copy of its pod from trading and from reporting", func(ctx SpecContext) {
		agent := readAgent(ctx, name)
		epoch := agent.Status.Trading.Epoch
		pod := &corev1.Pod{}
		Expect(cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: agent.Status.PodName}, pod)).To(Succeed())
		twin := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "copy", Labels: pod.Labels, OwnerReferences: pod.OwnerReferences}, Spec: *pod.Spec.DeepCopy()}
		twin.Spec.NodeName = ""
		Expect(cluster.Create(ctx, twin)).To(Succeed())
		Eventually(readyReason).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonDuplicatePod))
		Eventually(func(ctx context.Context) (bool, error) {
			err := cluster.Get(ctx, client.ObjectKeyFromObject(twin), twin)
			return len(twin.Status.ContainerStatuses) > 0 && twin.Status.ContainerStatuses[0].State.Running != nil, err
		}).WithContext(ctx).Should(BeTrue())
		before := decisionsOf(ctx, string(agent.UID))
		Eventually(decisionCount).WithContext(ctx).WithArguments(string(agent.UID)).Should(BeNumerically(">", before+5), "the agent's own pod trades on")
		agent = readAgent(ctx, name)
		Expect(agent.Status.Trading.Epoch).To(Equal(epoch), "the copy has taken the agent's epoch")
		Expect(agent.Status.Trading.PodUID).To(BeEquivalentTo(pod.UID))
		Expect(cluster.Delete(ctx, twin)).To(Succeed())
		Eventually(readyReason).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonTrading))
	})

	It("holds up the drain of its node while it holds a position, with a deadline", func(ctx SpecContext) {
		// A halted agent keeps its position.
		patchTrend(ctx, `{"spec":{"drainDeadlineSeconds":86400}}`)
		Eventually(func(ctx context.Context) (bool, error) {
			setTrading(ctx, name, v1alpha1.TradingEnabled)
			Eventually(positions).WithContext(ctx).WithArguments(name).Should(BeNumerically(">", 0))
			setTrading(ctx, name, v1alpha1.TradingHalted)
			Eventually(tradingState).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.TradingHalted))
			held, err := query[int64](ctx, "SELECT count(*) FROM trading.positions WHERE agent_uid = $1 AND quantity <> 0", string(readAgent(ctx, name).UID))
			return held > 0, err
		}).WithContext(ctx).Should(BeTrue())
		agent := readAgent(ctx, name)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: agent.Status.NodeName}}
		cordon := func(ctx context.Context, unschedulable bool) {
			patch := fmt.Sprintf(`{"spec":{"unschedulable":%t}}`, unschedulable)
			Expect(cluster.Patch(ctx, node, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
		}
		cordon(ctx, true)
		DeferCleanup(func(ctx SpecContext) { cordon(ctx, false) })
		Eventually(draining).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonDrainWaiting))
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: agent.Status.PodName}}
		evict := func(ctx context.Context) error {
			return cluster.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{})
		}
		Eventually(evict).WithContext(ctx).Should(Satisfy(apierrors.IsTooManyRequests))
		Expect(podUID(ctx, name)).To(Equal(agent.Status.PodUID))

		patchTrend(ctx, `{"spec":{"drainDeadlineSeconds":1}}`)
		Eventually(draining).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonDrainOverdue))
		Eventually(evict).WithContext(ctx).Should(Succeed())
		Eventually(podUID).WithContext(ctx).WithArguments(name).ShouldNot(Equal(agent.Status.PodUID))
		cordon(ctx, false)
		patchTrend(ctx, `{"spec":{"drainDeadlineSeconds":null}}`)
		setTrading(ctx, name, v1alpha1.TradingEnabled)
		Eventually(readyReason).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.ReasonTrading))
		expectConsistent(ctx)
	})
}

func readAgent(ctx context.Context, name string) *v1alpha1.TradingAgent {
	GinkgoHelper()
	agent := &v1alpha1.TradingAgent{}
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, agent)).To(Succeed())
	return agent
}

// patchTrend changes the agent that these cases are about.
func patchTrend(ctx context.Context, patch string) {
	GinkgoHelper()
	agent := &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Name: "eur-trend", Namespace: namespace}}
	Expect(cluster.Patch(ctx, agent, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
}

// podUID is the identity of the pod that may speak for the agent.
func podUID(ctx context.Context, name string) string {
	GinkgoHelper()
	return readAgent(ctx, name).Status.PodUID
}

func positions(ctx context.Context, name string) int {
	GinkgoHelper()
	trading := readAgent(ctx, name).Status.Trading
	if trading == nil {
		return 0
	}
	return len(trading.Positions)
}

// readyReason is the reason of Ready for the newest spec; empty before that.
func readyReason(ctx context.Context, name string) string {
	GinkgoHelper()
	agent := readAgent(ctx, name)
	ready := meta.FindStatusCondition(agent.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != agent.Generation {
		return ""
	}
	return ready.Reason
}

func draining(ctx context.Context, name string) string {
	GinkgoHelper()
	condition := meta.FindStatusCondition(readAgent(ctx, name).Status.Conditions, v1alpha1.ConditionDraining)
	if condition == nil {
		return ""
	}
	return condition.Reason
}

// setAgentImage changes the image that the operator starts agents with, and
// returns the one before.
func setAgentImage(ctx context.Context, image string) string {
	GinkgoHelper()
	deployment := &appsv1.Deployment{}
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: "trading-system", Name: "trading-operator"}, deployment)).To(Succeed())
	before := deployment.DeepCopy()
	original := ""
	environment := deployment.Spec.Template.Spec.Containers[0].Env
	for i := range environment {
		if environment[i].Name == "AGENT_IMAGE" {
			original, environment[i].Value = environment[i].Value, image
		}
	}
	Expect(original).NotTo(BeEmpty())
	Expect(cluster.Patch(ctx, deployment, client.MergeFrom(before))).To(Succeed())
	return original
}

// operatorSettled reports whether the operator runs as its Deployment says.
func operatorSettled(ctx context.Context) (bool, error) {
	deployment := &appsv1.Deployment{}
	err := cluster.Get(ctx, client.ObjectKey{Namespace: "trading-system", Name: "trading-operator"}, deployment)
	status := deployment.Status
	return status.ObservedGeneration == deployment.Generation && status.UpdatedReplicas == status.Replicas && status.AvailableReplicas == status.Replicas, err
}
