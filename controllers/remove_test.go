package controllers_test

import (
	"errors"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

var _ = Describe("Deleting a TradingAgent", func() {
	var d *desk
	BeforeEach(func(ctx SpecContext) { d = newDesk(ctx) })

	It("takes no time if it never had a pod", func() {
		d.create(d.agent("idle", "EUR/USD"))
		d.eventuallyAgent("idle", metav1.ConditionFalse, v1alpha1.ReasonAccountNotFound)
		Expect(bench.Client.Delete(d.ctx, d.agent("idle"))).To(Succeed())
		d.eventuallyGone("idle")
	})

	It("takes no time if its process never started", func() {
		d.furnish()
		d.create(d.agent("eur", "EUR/USD"))
		d.pod("eur")
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		d.eventuallyGone("eur")
	})

	It("waits until the agent is flat and its pod gone, then releases its claims", func() {
		pod := d.trader("eur")
		agent := d.readAgent("eur")
		d.report("eur", pod, holding)
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonTerminating)
		Consistently(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(calm).Should(BeNil(), "the process closes its positions")

		d.report("eur", pod, reporting("Flat"))
		Eventually(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		Consistently(func() error { return d.find("eur") }).WithTimeout(calm).Should(Succeed())
		Expect(bench.Database.HasReleased(string(agent.UID))).To(BeFalse(), "a process may still be there")
		d.kill(pod)
		d.eventuallyGone("eur")
		Expect(bench.Database.HasReleased(string(agent.UID))).To(BeTrue())
	})

	It("does not take Stopped for Flat where positions shall be closed", func() {
		pod := d.trader("eur")
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		d.report("eur", pod, reporting("Stopped"))
		Consistently(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(calm).Should(BeNil())
	})

	It("keeps positions where the policy says so", func() {
		pod := d.trader("eur")
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.DeletionPolicy = v1alpha1.DeletionKeep })
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		d.report("eur", pod, func(trading map[string]any) {
			holding(trading)
			reporting("Stopped")(trading)
		})
		Eventually(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		d.kill(pod)
		d.eventuallyGone("eur")
	})

	It("says after five minutes what blocks it, and obeys the annotation", func() {
		pod := d.trader("eur")
		d.report("eur", pod, holding)
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonTerminating)
		bench.Clock.SetTime(d.readAgent("eur").DeletionTimestamp.Add(5*time.Minute + time.Second))
		d.touch("eur")
		agent := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonDeletionBlocked)
		Expect(conditionOf(agent, v1alpha1.ConditionReady).Message).To(ContainSubstring(v1alpha1.AbandonAnnotation))

		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) {
			agent.Annotations[v1alpha1.AbandonAnnotation] = "true"
		})
		Eventually(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		d.kill(pod)
		d.eventuallyGone("eur")
	})

	It("starts a lost process again, because only it can close the positions", func() {
		lost := d.trader("eur")
		d.report("eur", lost, holding)
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonTerminating)
		d.kill(lost)
		Eventually(func() any { return d.pod("eur").UID }).WithTimeout(patience).ShouldNot(Equal(lost.UID))
		pod := d.pod("eur")
		d.schedule(pod)
		d.run(pod)
		d.report("eur", pod, reporting("Flat"))
		Eventually(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		d.kill(pod)
		d.eventuallyGone("eur")
	})

	It("names the way out where its namespace is being deleted", func() {
		pod := d.trader("eur")
		d.report("eur", pod, holding)
		Expect(bench.Client.Delete(d.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: d.namespace}})).To(Succeed())
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		d.kill(pod)
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonChildRefused)
		bench.Clock.SetTime(d.readAgent("eur").DeletionTimestamp.Add(5*time.Minute + time.Second))
		d.touch("eur")
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonDeletionBlocked)
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Annotations[v1alpha1.AbandonAnnotation] = "true" })
		d.eventuallyGone("eur")
	})

	It("is not hurried by a foreground deletion", func() {
		pod := d.trader("eur")
		d.report("eur", pod, holding)
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"), client.PropagationPolicy(metav1.DeletePropagationForeground))).To(Succeed())
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(agent.Finalizers).To(ConsistOf(v1alpha1.AgentFinalizer))
		})
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonTerminating)
	})

	It("is held up by a ledger that does not answer until the deadline and no longer", func() {
		pod := d.trader("eur")
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		bench.Database.Fail(errors.New("connection refused"))
		DeferCleanup(func() { bench.Database.Fail(nil) })
		d.report("eur", pod, reporting("Flat"))
		Eventually(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		d.kill(pod)
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(conditionOf(agent, v1alpha1.ConditionReady).Message).To(ContainSubstring("claims"))
		})
		bench.Clock.SetTime(d.readAgent("eur").DeletionTimestamp.Add(5*time.Minute + time.Second))
		d.touch("eur")
		d.eventuallyGone("eur")
	})

	It("goes on where the ledger was deleted before the agent", func() {
		pod := d.trader("eur")
		Expect(bench.Client.Delete(d.ctx, d.ledger())).To(Succeed())
		Expect(bench.Client.Delete(d.ctx, d.agent("eur"))).To(Succeed())
		d.report("eur", pod, reporting("Flat"))
		Eventually(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		d.kill(pod)
		d.eventuallyGone("eur")
	})
})

func holding(trading map[string]any) {
	trading["positions"] = []any{map[string]any{"pair": "EUR-USD", "quantity": "100"}}
}

func reporting(reason string) func(map[string]any) {
	return func(trading map[string]any) { trading["state"], trading["reason"] = "Halted", reason }
}

func (d *desk) find(name string) error {
	return bench.Client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: name}, &v1alpha1.TradingAgent{})
}

func (d *desk) eventuallyGone(name string) {
	GinkgoHelper()
	Eventually(func() error { return d.find(name) }).WithTimeout(patience).WithPolling(interval).Should(Satisfy(apierrors.IsNotFound))
	var pods corev1.PodList
	Expect(bench.Client.List(d.ctx, &pods, client.InNamespace(d.namespace), client.MatchingLabels{v1alpha1.AgentLabel: name})).To(Succeed())
	for _, pod := range pods.Items {
		Expect(pod.DeletionTimestamp).NotTo(BeNil())
	}
}

func conditionOf(object client.Object, conditionType string) *metav1.Condition {
	return reconcile.StatusOf(object).Get(conditionType)
}
