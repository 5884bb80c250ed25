package controllers_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

var _ = Describe("A TradingAgent", func() {
	var d *desk
	BeforeEach(func(ctx SpecContext) { d = newDesk(ctx) })

	It("gets one pod of its own and reports what it does", func() {
		d.furnish()
		d.create(d.agent("eur", "EUR/USD"))
		pod := d.pod("eur")
		agent := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonPodStarting)

		Expect(metav1.IsControlledBy(pod, agent)).To(BeTrue())
		Expect(pod.Labels).To(HaveKeyWithValue(v1alpha1.AgentLabel, "eur"))
		Expect(agent.Finalizers).To(ContainElement(v1alpha1.AgentFinalizer))
		Expect(agent.Status.PodUID).To(BeEquivalentTo(pod.UID))
		Expect(agent.Status.Effective).To(ContainElement(v1alpha1.EffectiveValue{Field: "limits.order.maxNotional", Value: "1000", Source: v1alpha1.SourceRiskPolicy}))
		role := get(d, &rbacv1.Role{}, pod.Name)
		Expect(metav1.IsControlledBy(role, agent)).To(BeTrue())
		Expect(get(d, &rbacv1.RoleBinding{}, pod.Name).Subjects).To(HaveLen(1))
		Expect(get(d, &corev1.ServiceAccount{}, pod.Name).AutomountServiceAccountToken).To(HaveValue(BeFalse()))

		d.schedule(pod)
		d.run(pod)
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonNotReporting)
		d.report("eur", pod, func(trading map[string]any) {
			trading["reconciledEpoch"], trading["state"], trading["reason"] = int64(0), "ReduceOnly", "Recovering"
		})
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonRecovering)
		d.report("eur", pod, nil)
		agent = d.eventuallyAgent("eur", metav1.ConditionTrue, v1alpha1.ReasonTrading)
		Expect(agent.Status.NodeName).To(Equal("node-1"))
		Expect(agent.Status.Trading).NotTo(BeNil(), "the operator's write must not take the agent's report away")
	})

	It("replaces its pod for a new spec only when the old one is really gone", func() {
		old := d.trader("eur")
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.MarketData.Replay.Speed = 60 })
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonPodReplacing)
		Eventually(func() *metav1.Time { return d.pod("eur").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		Expect(d.pod("eur").DeletionGracePeriodSeconds).To(HaveValue(BeEquivalentTo(30)), "the process is never killed at once")
		Consistently(func() any { return d.pod("eur").UID }).WithTimeout(calm).Should(Equal(old.UID))
		Expect(d.readAgent("eur").Status.PodUID).To(BeEquivalentTo(old.UID), "the old process keeps its voice")

		d.kill(old)
		Eventually(func() any { return d.pod("eur").UID }).WithTimeout(patience).ShouldNot(Equal(old.UID))
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(agent.Status.PodUID).To(BeEquivalentTo(d.pod("eur").UID))
		})
		d.bringUp("eur")
	})

	It("keeps its pod when limits, trading, deletionPolicy or policy change", func() {
		pod := d.trader("eur")
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) {
			agent.Spec.Trading = v1alpha1.TradingHalted
			agent.Spec.DeletionPolicy = v1alpha1.DeletionKeep
			agent.Spec.Limits = &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{MaxNotional: "10"}}
		})
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonSpecNotInForce)
		change(d, get(d, &v1alpha1.RiskPolicy{}, "careful"), func(policy *v1alpha1.RiskPolicy) {
			policy.Spec.Order.MaxNotional = "5"
		})
		d.report("eur", pod, func(trading map[string]any) { trading["state"], trading["reason"] = "Halted", "HaltRequested" })
		agent := d.eventuallyAgent("eur", metav1.ConditionTrue, v1alpha1.ReasonHalted)
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(agent.Status.Effective).To(ContainElement(v1alpha1.EffectiveValue{Field: "limits.order.maxNotional", Value: "5", Source: v1alpha1.SourceRiskPolicy}))
			g.Expect(conditionOf(agent, v1alpha1.ConditionAccepted).Reason).To(Equal(v1alpha1.ReasonLimitLooserThanRule))
		})
		Expect(agent.Status.PodUID).To(BeEquivalentTo(pod.UID))
		Consistently(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(calm).Should(BeNil())
	})

	It("waits for what it refers to, stalls after a minute, and goes on when it appears", func() {
		d.create(d.secret(), d.ledger(), d.policy(), d.pair("eur-usd", "EUR", "USD"), d.agent("early", "eurusd"))
		d.eventuallyAgent("early", metav1.ConditionFalse, v1alpha1.ReasonAccountNotFound)
		Expect(conditionOf(d.readAgent("early"), v1alpha1.ConditionStalled)).To(BeNil())
		Expect(d.readAgent("early").Finalizers).To(BeEmpty(), "an agent that never had a pod goes without ceremony")

		bench.Clock.SetTime(bench.Clock.Now().Add(61 * time.Second))
		d.touch("early")
		d.eventually("early", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(conditionOf(agent, v1alpha1.ConditionStalled)).NotTo(BeNil())
		})
		var pods corev1.PodList
		Expect(bench.Client.List(d.ctx, &pods, client.InNamespace(d.namespace))).To(Succeed())
		Expect(pods.Items).To(BeEmpty())

		d.create(d.account())
		d.bringUp("early")
	})

	It("names each missing reference", func() {
		d.create(d.secret(), d.ledger(), d.account(), d.agent("eur", "eurusd"))
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonRiskPolicyNotFound)
		d.create(d.policy())
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonAssetPairNotFound)
		d.create(d.pair("eur-usd", "EUR", "USD"))
		d.pod("eur")
	})

	It("does not start before its ledger's Secret exists", func() {
		d.create(d.ledger(), d.account(), d.policy(), d.pair("eur-usd", "EUR", "USD"), d.agent("eur", "eurusd"))
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonLedgerSecretNotFound)
		d.create(d.secret())
		d.pod("eur")
	})

	It("keeps its pod when a reference vanishes, and says so", func() {
		pod := d.trader("eur")
		Expect(bench.Client.Delete(d.ctx, d.policy())).To(Succeed())
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonRiskPolicyNotFound)
		Consistently(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(calm).Should(BeNil())
		d.create(d.policy())
		Expect(d.eventuallyAgent("eur", metav1.ConditionTrue, v1alpha1.ReasonTrading).Status.PodUID).To(BeEquivalentTo(pod.UID))
	})

	It("never touches a pod of somebody else", func() {
		foreign := &corev1.Pod{ObjectMeta: d.meta("eur-trader"), Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "c", Image: "i", SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}}},
		}}
		d.create(foreign)
		d.furnish()
		d.create(d.agent("eur", "EUR/USD"))
		agent := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonPodNotOwned)
		Expect(conditionOf(agent, v1alpha1.ConditionStalled)).NotTo(BeNil())
		Expect(agent.Status.PodUID).To(BeEmpty())
		seen := d.pod("eur")
		Expect(seen.UID).To(Equal(foreign.UID))
		Expect(seen.ResourceVersion).To(Equal(foreign.ResourceVersion))
	})

	It("never takes over a Role of somebody else", func() {
		foreign := &rbacv1.Role{ObjectMeta: d.meta("eur-trader")}
		d.create(foreign)
		d.furnish()
		d.create(d.agent("eur", "EUR/USD"))
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonChildNotOwned)
		Expect(get(d, &rbacv1.Role{}, "eur-trader").ResourceVersion).To(Equal(foreign.ResourceVersion))
	})

	It("puts a changed Role right", func() {
		d.trader("eur")
		change(d, get(d, &rbacv1.Role{}, "eur-trader"), func(role *rbacv1.Role) {
			role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}})
		})
		Eventually(func() any { return get(d, &rbacv1.Role{}, "eur-trader").Rules }).WithTimeout(patience).Should(HaveLen(4))
	})

	It("finds its pod again when its label was taken away", func() {
		pod := d.trader("eur")
		change(d, d.pod("eur"), func(pod *corev1.Pod) { pod.Labels = nil })
		Eventually(func() any { return d.pod("eur").Labels }).WithTimeout(patience).Should(HaveKeyWithValue(v1alpha1.AgentLabel, "eur"))
		Expect(d.pod("eur").UID).To(Equal(pod.UID))
		d.eventuallyAgent("eur", metav1.ConditionTrue, v1alpha1.ReasonTrading)
	})

	It("replaces a pod that has failed, after a pause", func() {
		pod := d.trader("eur")
		d.setPod(pod, corev1.PodFailed, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, FinishedAt: metav1.NewTime(bench.Clock.Now())}}, corev1.ConditionFalse)
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonPodFailed)
		Consistently(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(calm).Should(BeNil())
		bench.Clock.SetTime(bench.Clock.Now().Add(11 * time.Second))
		d.touch("eur")
		// A pod that has ended is deleted at once: no process is left to wait for.
		Eventually(func() any { return d.pod("eur").UID }).WithTimeout(patience).ShouldNot(Equal(pod.UID))
		d.bringUp("eur")
	})

	It("says that an image cannot be pulled", func() {
		d.furnish()
		d.create(d.agent("eur", "EUR/USD"))
		pod := d.pod("eur")
		d.schedule(pod)
		d.setPod(pod, corev1.PodPending, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}, corev1.ConditionFalse)
		agent := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonImagePull)
		Expect(conditionOf(agent, v1alpha1.ConditionStalled)).NotTo(BeNil())
	})

	It("loses a pair that an older agent has, and gets it when that one goes", func() {
		d.trader("first")
		d.create(d.agent("second", "eur_usd"))
		d.eventuallyAgent("second", metav1.ConditionFalse, v1alpha1.ReasonPairTaken)
		d.eventuallyAgent("first", metav1.ConditionTrue, v1alpha1.ReasonTrading)
		change(d, d.readAgent("first"), func(agent *v1alpha1.TradingAgent) {
			agent.Annotations = map[string]string{v1alpha1.AbandonAnnotation: "true"}
		})
		Expect(bench.Client.Delete(d.ctx, d.agent("first"))).To(Succeed())
		Eventually(func() any { return d.pod("first").DeletionTimestamp }).WithTimeout(patience).ShouldNot(BeNil())
		d.kill(d.pod("first"))
		d.pod("second")
	})

	It("writes nothing while nothing changes", func() {
		d.trader("eur")
		Eventually(bench.Writes).WithTimeout(patience).WithPolling(calm).Should(WithTransform(d.own, BeEmpty()))
		for range 20 {
			d.touch("eur")
			Consistently(bench.Writes).WithTimeout(50 * time.Millisecond).Should(WithTransform(d.own, BeEmpty()))
		}
	})
})

// own are the operator's writes in this test's namespace.
func (d *desk) own(writes []string) []string {
	var own []string
	for _, write := range writes {
		if strings.Contains(write, "/"+d.namespace+"/") {
			own = append(own, write)
		}
	}
	return own
}
