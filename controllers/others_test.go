package controllers_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

var _ = Describe("A RiskPolicy", func() {
	It("counts the agents that name it, and those that come and go", func(ctx SpecContext) {
		d := newDesk(ctx)
		d.create(d.policy(), d.agent("a", "EUR/USD"), d.agent("b", "GBP/USD"))
		policy := d.policy()
		eventuallyReady(d, policy, metav1.ConditionTrue, v1alpha1.ReasonReady)
		counts := func() any { return get(d, &v1alpha1.RiskPolicy{}, policy.Name).Status.Agents }
		Eventually(counts).WithTimeout(patience).Should(HaveValue(BeEquivalentTo(2)))
		change(d, d.readAgent("a"), func(agent *v1alpha1.TradingAgent) { agent.Spec.RiskPolicyRef.Name = "other" })
		Eventually(counts).WithTimeout(patience).Should(HaveValue(BeEquivalentTo(1)))
		Expect(bench.Client.Delete(d.ctx, d.agent("b"))).To(Succeed())
		Eventually(counts).WithTimeout(patience).Should(HaveValue(BeEquivalentTo(0)))
	})
})

var _ = Describe("An AssetPair", func() {
	var d *desk
	BeforeEach(func(ctx SpecContext) { d = newDesk(ctx) })

	It("shows its canonical spelling and counts agents under any of its names", func() {
		pair := d.pair("cable", "GBP", "USD", "STERLING")
		d.create(pair, d.agent("a", "gbp_usd"), d.agent("b", "sterling"), d.agent("c", "cable"), d.agent("d", "EUR/USD"))
		eventuallyReady(d, pair, metav1.ConditionTrue, v1alpha1.ReasonReady)
		Expect(pair.Status.Canonical).To(Equal("GBP-USD"))
		Eventually(func() any { return get(d, &v1alpha1.AssetPair{}, "cable").Status.Agents }).WithTimeout(patience).Should(HaveValue(BeEquivalentTo(3)))
	})

	It("loses a name to an older pair, and gets it when that one goes", func() {
		older := d.pair("a-older", "GBP", "USD")
		d.create(older)
		eventuallyReady(d, older, metav1.ConditionTrue, v1alpha1.ReasonReady)
		younger := d.pair("b-younger", "CHF", "JPY", "GBPUSD")
		d.create(younger)
		eventuallyReady(d, younger, metav1.ConditionFalse, v1alpha1.ReasonAliasCollision)
		Expect(reconcile.StatusOf(younger).Get(v1alpha1.ConditionStalled)).NotTo(BeNil())
		eventuallyReady(d, older, metav1.ConditionTrue, v1alpha1.ReasonReady)
		Expect(bench.Client.Delete(d.ctx, older)).To(Succeed())
		eventuallyReady(d, younger, metav1.ConditionTrue, v1alpha1.ReasonReady)
	})
})

var _ = Describe("A Ledger and its TradingAccount", func() {
	var d *desk
	BeforeEach(func(ctx SpecContext) { d = newDesk(ctx) })

	It("are Ready once the database is migrated", func() {
		d.create(d.secret(), d.ledger(), d.account())
		ledger, account := d.ledger(), d.account()
		eventuallyReady(d, ledger, metav1.ConditionTrue, v1alpha1.ReasonReady)
		Expect(ledger.Status.ServerVersion).To(Equal("15.18"))
		Expect(ledger.Status.SchemaVersion).To(HaveValue(BeEquivalentTo(testbench.Latest)))
		eventuallyReady(d, account, metav1.ConditionTrue, v1alpha1.ReasonReady)
		Eventually(func() any { return get(d, &v1alpha1.Ledger{}, "main").Status.Accounts }).WithTimeout(patience).Should(HaveValue(BeEquivalentTo(1)))
	})

	It("say that the ledger does not exist, until it does", func() {
		d.create(d.secret(), d.account())
		account := d.account()
		eventuallyReady(d, account, metav1.ConditionFalse, v1alpha1.ReasonLedgerNotFound)
		d.create(d.ledger())
		eventuallyReady(d, account, metav1.ConditionTrue, v1alpha1.ReasonReady)
	})

	It("go on by themselves when a lost database answers again", func() {
		bench.Database.Fail(fmt.Errorf("%w: connection refused", database.ErrUnavailable))
		DeferCleanup(func() { bench.Database.Fail(nil) })
		d.create(d.secret(), d.ledger(), d.account())
		ledger, account := d.ledger(), d.account()
		eventuallyReady(d, ledger, metav1.ConditionFalse, v1alpha1.ReasonLedgerUnreachable)
		Expect(reconcile.StatusOf(ledger).Get(v1alpha1.ConditionStalled)).To(BeNil(), "nobody needs to act")
		eventuallyReady(d, account, metav1.ConditionFalse, v1alpha1.ReasonVenueUnreachable)
		bench.Database.Fail(nil)
		eventuallyReady(d, ledger, metav1.ConditionTrue, v1alpha1.ReasonReady)
		eventuallyReady(d, account, metav1.ConditionTrue, v1alpha1.ReasonReady)
	})

	It("tell in one Event what has changed, by the same word", func() {
		d.create(d.ledger())
		eventuallyReady(d, d.ledger(), metav1.ConditionFalse, v1alpha1.ReasonLedgerSecretNotFound)
		d.create(d.secret())
		eventuallyReady(d, d.ledger(), metav1.ConditionTrue, v1alpha1.ReasonReady)
		Eventually(d.eventReasons).WithTimeout(patience).Should(ConsistOf(v1alpha1.ReasonLedgerSecretNotFound, v1alpha1.ReasonReady))
	})
})

// eventReasons are the reasons of all Events of the namespace.
func (d *desk) eventReasons() []string {
	GinkgoHelper()
	var list eventsv1.EventList
	Expect(bench.Client.List(d.ctx, &list, client.InNamespace(d.namespace))).To(Succeed())
	reasons := make([]string, 0, len(list.Items))
	for _, event := range list.Items {
		reasons = append(reasons, event.Reason)
	}
	return reasons
}
