package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// A process goes on by the revision in its pod while a newer spec waits.
var _ = Describe("A halt of what a process trades", func() {
	// pending is a process that trades EUR/USD, of an agent whose spec names a pair by
	// now that does not exist, and another model.
	pending := func(ctx SpecContext) (*desk, *corev1.Pod) {
		GinkgoHelper()
		d := newDesk(ctx)
		bench.Halts.Break(nil)
		pod := d.trader("eur")
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) {
			agent.Spec.AssetPairs = []v1alpha1.AssetPairSelector{{Name: "GBP/USD"}}
			agent.Spec.Decision = &v1alpha1.DecisionSpec{Debate: &v1alpha1.DebateSpec{Bull: &v1alpha1.DebaterSpec{Model: "builtin/reversion"}}}
		})
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(agent.Status.ObservedGeneration).To(Equal(agent.Generation))
		})
		Expect(get(d, &corev1.Pod{}, pod.Name).UID).To(Equal(pod.UID))
		return d, pod
	}
	stop := func(d *desk, scope v1alpha1.HaltScope) *v1alpha1.TradingHalt {
		GinkgoHelper()
		return d.halt("stop", func(spec *v1alpha1.TradingHaltSpec) { spec.Scope, spec.DeadlineSeconds = scope, 1 })
	}

	DescribeTable("fences the process that does not obey, and not by what the newest spec says",
		func(ctx SpecContext, scope v1alpha1.HaltScope) {
			d, pod := pending(ctx)
			halt := stop(d, scope)
			eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("1 0 0 0 0 ")) })
			bench.Clock.SetTime(bench.Clock.Now().Add(10 * time.Second))
			eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("1 0 0 0 1 ")) })
			Eventually(func() any { return get(d, &corev1.Pod{}, pod.Name).DeletionTimestamp }).WithTimeout(patience).WithPolling(interval).ShouldNot(BeNil())
			Expect(bench.Halts.Done()).To(ContainElement("[stop "+d.namespace+" EUR-USD]"), "orders in other pairs than the process trades are cancelled")
		},
		Entry("of its pair", v1alpha1.HaltScope{Type: v1alpha1.HaltAssetPair, Name: "EUR/USD"}),
		Entry("of its model", v1alpha1.HaltScope{Type: v1alpha1.HaltModel, Name: "builtin/trend"}),
	)

	DescribeTable("leaves a process alone that is not bound, whatever the newest spec says",
		func(ctx SpecContext, scope v1alpha1.HaltScope) {
			d, pod := pending(ctx)
			halt := stop(d, scope)
			eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("0 0 0 0 0 ")) })
			bench.Clock.SetTime(bench.Clock.Now().Add(10 * time.Second))
			d.touch("eur")
			Consistently(func(g Gomega) {
				g.Expect(counts(&get(d, &v1alpha1.TradingHalt{}, halt.Name).Status)).To(Equal("0 0 0 0 0 "))
				g.Expect(bench.Halts.Done()).To(BeEmpty())
				g.Expect(get(d, &corev1.Pod{}, pod.Name).DeletionTimestamp).To(BeNil())
			}).WithTimeout(calm).WithPolling(interval).Should(Succeed())
		},
		Entry("of another pair", v1alpha1.HaltScope{Type: v1alpha1.HaltAssetPair, Name: "GBP/USD"}),
	)

	It("counts an agent without a process by its manifest", func(ctx SpecContext) {
		d := newDesk(ctx)
		bench.Halts.Break(nil)
		d.create(d.agent("waits", "GBP/USD"))
		halt := stop(d, v1alpha1.HaltScope{Type: v1alpha1.HaltAssetPair, Name: "GBP/USD"})
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("1 0 0 1 0 ")) })
	})

	It("says which orders it cannot cancel at the venue, and cancels no others", func(ctx SpecContext) {
		d := newDesk(ctx)
		bench.Halts.Break(nil)
		d.trader("eur")
		Expect(bench.Client.Delete(d.ctx, d.pair("eur-usd", "EUR", "USD"))).To(Succeed())
		halt := stop(d, v1alpha1.HaltScope{Type: v1alpha1.HaltEverything})
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("1 0 0 0 0 ")) })
		bench.Clock.SetTime(bench.Clock.Now().Add(10 * time.Second))
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) {
			g.Expect(s.OverdueAgents).To(HaveLen(1))
			g.Expect(s.OverdueAgents[0].Steps).To(ConsistOf(v1alpha1.FenceEpoch, v1alpha1.FencePod))
			g.Expect(s.OverdueAgents[0].Message).To(ContainSubstring(`AssetPair "EUR/USD" does not exist`))
		})
		Expect(bench.Halts.Done()).NotTo(ContainElement(ContainSubstring("stop")))
	})
})
