package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

const brokenImage = "registry.example/trading-agent:broken"

var _ = Describe("A new revision of a TradingAgent", func() {
	var d *desk
	BeforeEach(func(ctx SpecContext) { d = newDesk(ctx) })

	// breakIt rolls a broken image out to a Ready agent, and lets time pass.
	breakIt := func(rollback v1alpha1.RollbackPolicy) {
		GinkgoHelper()
		old := d.trader("eur")
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) {
			agent.Spec.Image, agent.Spec.Rollback, agent.Spec.ProgressDeadlineSeconds = brokenImage, rollback, 60
			agent.Spec.Trading = v1alpha1.TradingReduceOnly
		})
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonPodReplacing)
		d.kill(old)
		Eventually(func() any { return d.pod("eur").Spec.Containers[0].Image }).WithTimeout(patience).Should(Equal(brokenImage))
		pod := d.pod("eur")
		d.schedule(pod)
		d.setPod(pod, corev1.PodPending, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}, corev1.ConditionFalse)
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonImagePull)
		bench.Clock.SetTime(bench.Clock.Now().Add(61 * time.Second))
		d.touch("eur")
	}

	It("is stored in a ControllerRevision and becomes the good one by getting Ready", func() {
		d.trader("eur")
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(agent.Status.Revision).NotTo(BeNil())
			g.Expect(agent.Status.Revision.Good).To(Equal(agent.Status.Revision.Current))
			g.Expect(agent.Status.Revision.Image).To(Equal(testbench.AgentImage))
		})
		agent := d.readAgent("eur")
		Expect(metav1.IsControlledBy(get(d, &appsv1.ControllerRevision{}, agent.Status.Revision.Current), agent)).To(BeTrue())
	})

	It("that does not get Ready in time is rolled back, with the evidence, until the spec is corrected", func() {
		breakIt("")
		agent := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonRolledBack)
		Expect(conditionOf(agent, v1alpha1.ConditionStalled)).NotTo(BeNil())
		Expect(agent.Status.Revision.Failed.Reason).To(Equal(v1alpha1.ReasonImagePull))
		Expect(agent.Spec.Image).To(Equal(brokenImage), "the spec belongs to its author")
		Eventually(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		d.kill(d.pod("eur"))
		Eventually(func() any { return d.pod("eur").Spec.Containers[0].Image }).WithTimeout(patience).Should(Equal(testbench.AgentImage))
		pod := d.pod("eur")
		d.schedule(pod)
		d.run(pod)
		d.report("eur", pod, func(trading map[string]any) {
			trading["state"], trading["reason"] = "ReduceOnly", "ReduceOnlyRequested"
		})
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(conditionOf(agent, v1alpha1.ConditionPodAvailable).Status).To(Equal(metav1.ConditionTrue))
			g.Expect(conditionOf(agent, v1alpha1.ConditionReady).Reason).To(Equal(v1alpha1.ReasonRolledBack))
			g.Expect(agent.Status.Effective).To(ContainElement(v1alpha1.EffectiveValue{Field: "trading", Value: "ReduceOnly", Source: v1alpha1.SourceSpec}), "a halt is never rolled back")
		})
		Eventually(func(g Gomega) {
			var events corev1.EventList
			g.Expect(bench.Client.List(d.ctx, &events, client.InNamespace(d.namespace))).To(Succeed())
			reasons := map[string]bool{}
			for _, event := range events.Items {
				reasons[event.Reason] = true
			}
			g.Expect(reasons).To(HaveKey(v1alpha1.ReasonRolledBack))
		}).WithTimeout(patience).Should(Succeed())

		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.Image = "" })
		d.report("eur", pod, func(trading map[string]any) {
			trading["state"], trading["reason"] = "ReduceOnly", "ReduceOnlyRequested"
		})
		agent = d.eventuallyAgent("eur", metav1.ConditionTrue, v1alpha1.ReasonReduceOnly)
		Expect(agent.Status.Revision.Failed).To(BeNil())
		Expect(agent.Status.PodUID).To(BeEquivalentTo(pod.UID), "the corrected spec is the good revision, which runs already")
	})

	It("stays where rollback is Manual, and says that it failed", func() {
		breakIt(v1alpha1.RollbackManual)
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonRolloutFailed)
		Consistently(func() any { return d.pod("eur").Spec.Containers[0].Image }).WithTimeout(calm).Should(Equal(brokenImage))
	})

	It("leaves no more than a handful of old ones behind", func() {
		pod := d.trader("eur")
		for speed := range int32(7) {
			change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.MarketData.Replay.Speed = speed + 2 })
			d.kill(pod)
			Eventually(func() any { return d.pod("eur").UID }).WithTimeout(patience).ShouldNot(Equal(pod.UID))
			pod = d.bringUp("eur")
		}
		Eventually(func(g Gomega) {
			var revisions appsv1.ControllerRevisionList
			g.Expect(bench.Client.List(d.ctx, &revisions, client.InNamespace(d.namespace))).To(Succeed())
			g.Expect(len(revisions.Items)).To(Equal(5))
		}).WithTimeout(patience).Should(Succeed())
	})
})

var _ = Describe("The pod of a TradingAgent", func() {
	var d *desk
	BeforeEach(func(ctx SpecContext) { d = newDesk(ctx) })

	It("has a disruption budget exactly while the agent holds something", func() {
		pod := d.trader("eur")
		budget := func() error {
			return bench.Client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: pod.Name}, &policyv1.PodDisruptionBudget{})
		}
		Consistently(budget).WithTimeout(calm).Should(Satisfy(apierrors.IsNotFound))
		d.report("eur", pod, func(trading map[string]any) {
			trading["positions"] = []any{map[string]any{"pair": "EUR-USD", "quantity": "100"}}
		})
		Eventually(budget).WithTimeout(patience).Should(Succeed())
		Expect(get(d, &policyv1.PodDisruptionBudget{}, pod.Name).Spec.MinAvailable.IntValue()).To(Equal(1))
		d.report("eur", pod, nil)
		Eventually(budget).WithTimeout(patience).Should(Satisfy(apierrors.IsNotFound))
	})

	It("holds up the drain of its node until the deadline, and says so", func() {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: d.namespace + "-node"}}
		Expect(bench.Client.Create(d.ctx, node)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(bench.Client.Delete(ctx, node)).To(Succeed()) })
		d.furnish()
		d.create(d.agent("eur", "EUR/USD"))
		pod := d.pod("eur")
		binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: node.Name}}
		Expect(bench.Client.SubResource("binding").Create(d.ctx, pod, binding)).To(Succeed())
		d.run(pod)
		d.report("eur", pod, holding)
		d.eventuallyAgent("eur", metav1.ConditionTrue, v1alpha1.ReasonTrading)

		node.Spec.Unschedulable = true
		Expect(bench.Client.Update(d.ctx, node)).To(Succeed())
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			draining := conditionOf(agent, v1alpha1.ConditionDraining)
			g.Expect(draining).NotTo(BeNil())
			g.Expect(draining.Reason).To(Equal(v1alpha1.ReasonDrainWaiting))
			g.Expect(conditionOf(agent, v1alpha1.ConditionReady).Status).To(Equal(metav1.ConditionTrue), "an agent that works is not unready for it")
		})
		bench.Clock.SetTime(bench.Clock.Now().Add(11 * time.Minute))
		d.touch("eur")
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(conditionOf(agent, v1alpha1.ConditionDraining).Reason).To(Equal(v1alpha1.ReasonDrainOverdue))
		})
		Eventually(func() error {
			return bench.Client.Get(d.ctx, client.ObjectKeyFromObject(pod), &policyv1.PodDisruptionBudget{})
		}).WithTimeout(patience).Should(Satisfy(apierrors.IsNotFound))
		node.Spec.Unschedulable = false
		Expect(bench.Client.Update(d.ctx, node)).To(Succeed())
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(conditionOf(agent, v1alpha1.ConditionDraining)).To(BeNil())
		})
	})

	It("is told from a copy of it that was made by hand", func() {
		pod := d.trader("eur")
		twin := get(d, &corev1.Pod{}, pod.Name).DeepCopy()
		twin.ObjectMeta = metav1.ObjectMeta{Namespace: d.namespace, Name: "copy", Labels: pod.Labels, OwnerReferences: pod.OwnerReferences}
		twin.Spec.NodeName = ""
		d.create(twin)
		agent := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonDuplicatePod)
		Expect(conditionOf(agent, v1alpha1.ConditionReady).Message).To(ContainSubstring(`"copy"`))
		Expect(agent.Status.PodUID).To(BeEquivalentTo(pod.UID))
		d.kill(twin)
		d.eventuallyAgent("eur", metav1.ConditionTrue, v1alpha1.ReasonTrading)
	})

	It("that does not end keeps another from starting, and is reported", func() {
		old := d.trader("eur")
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.MarketData.Replay.Speed = 60 })
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonPodReplacing)
		bench.Clock.SetTime(bench.Clock.Now().Add(3 * time.Minute))
		d.touch("eur")
		agent := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonPodEndOverdue)
		Expect(conditionOf(agent, v1alpha1.ConditionStalled)).NotTo(BeNil())
		Expect(d.pod("eur").UID).To(Equal(old.UID), "it is never deleted by force")
	})
})
