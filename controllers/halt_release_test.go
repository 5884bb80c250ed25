package controllers_test

import (
	"errors"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// An agent that comes up when the halt's object is gone is free only if its ledger
// knows of the release.
var _ = Describe("The release of a halt", func() {
	unlatched := func(halt *v1alpha1.TradingHalt) string {
		return fmt.Sprint([]string{"unlatch", string(halt.UID), administrator, "it is over"})
	}
	// unrecorded checks that a release is not said to be recorded, nor the halt deleted,
	// before the ledgers answer.
	unrecorded := func(d *desk, halt *v1alpha1.TradingHalt) {
		GinkgoHelper()
		bench.Halts.Break(map[string]error{"unlatch": errors.New("the database does not answer")})
		d.release(halt)
		eventuallyReady(d, halt, metav1.ConditionFalse, v1alpha1.ReasonRetrying)
		Expect(conditionOf(halt, v1alpha1.ConditionReady).Message).To(ContainSubstring("the database does not answer"))
		Expect(conditionOf(halt, v1alpha1.ConditionEnforced).Reason).NotTo(Equal(v1alpha1.ReasonHaltReleased))
		Expect(bench.Client.Delete(d.ctx, halt.DeepCopy())).To(MatchError(ContainSubstring("has not recorded the release")))
		bench.Halts.Break(nil)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltReleased)
		Expect(bench.Halts.Done()).To(ContainElement(unlatched(halt)))
		Expect(bench.Client.Delete(d.ctx, halt)).To(Succeed())
	}

	It("waits for the ledger of an agent without a process", func(ctx SpecContext) {
		d := newDesk(ctx)
		bench.Halts.Break(nil)
		d.furnish()
		d.create(d.agent("waits", "GBP/USD"))
		halt := d.halt("stop", nil)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced)
		unrecorded(d, halt)
	})

	It("is tried for each agent of a ledger until that has it", func(ctx SpecContext) {
		d := newDesk(ctx)
		bench.Halts.Break(nil)
		pod := d.trader("eur")
		for i := range 7 {
			d.create(d.agent(fmt.Sprintf("waits-%d", i), "GBP/USD"))
		}
		halt := d.halt("stop", nil)
		d.obey("eur", pod, halt, v1alpha1.HaltDone)
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("8 1 1 7 0 ")) })
		unrecorded(d, halt)
	})

	It("is told to agents that the halt does not bind now", func(ctx SpecContext) {
		d := newDesk(ctx)
		bench.Halts.Break(nil)
		d.trader("eur")
		halt := d.halt("stop", func(spec *v1alpha1.TradingHaltSpec) {
			spec.Scope = v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=gone"}
		})
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("0 0 0 0 0 ")) })
		d.release(halt)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltReleased)
		Expect(bench.Halts.Done()).To(Equal([]string{unlatched(halt)}))
	})

	DescribeTable("says for whom there is no ledger, and does not wait for one",
		func(ctx SpecContext, missing func(*desk) client.Object, message string) {
			d := newDesk(ctx)
			bench.Halts.Break(nil)
			for _, object := range []client.Object{d.secret(), d.ledger(), d.account(), d.policy()} {
				if left := missing(d); object.GetName() != left.GetName() {
					d.create(object)
				}
			}
			d.create(d.agent("waits", "EUR/USD"))
			halt := d.halt("stop", nil)
			eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced)
			d.release(halt)
			eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltReleased)
			Expect(conditionOf(halt, v1alpha1.ConditionReady).Message).To(ContainSubstring("not recorded for 1 agents"))
			Expect(conditionOf(halt, v1alpha1.ConditionEnforced).Message).To(And(ContainSubstring(d.namespace+"/waits"), ContainSubstring(message)))
			Expect(bench.Client.Delete(d.ctx, halt)).To(Succeed())
		},
		Entry("without its account", func(d *desk) client.Object { return d.account() }, `TradingAccount "paper" does not exist`),
		Entry("without its Ledger", func(d *desk) client.Object { return d.ledger() }, `Ledger "main"`),
		Entry("without its Secret", func(d *desk) client.Object { return d.secret() }, `Secret "ledger"`),
	)
})
