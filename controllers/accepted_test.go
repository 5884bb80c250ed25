package controllers_test

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase/coinbasetest"
)

// follower follows the market at Coinbase Exchange.
func (d *desk) follower() *v1alpha1.TradingAgent {
	agent := d.agent("coin", "coin")
	agent.Spec.MarketData = v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceCoinbase}
	return agent
}

// eventuallyPhase waits until a phase of an agent has a status and a reason, and
// says how the agent is then.
func (d *desk) eventuallyPhase(name, phase string, wanted metav1.ConditionStatus, reason string) *v1alpha1.TradingAgent {
	GinkgoHelper()
	var found *v1alpha1.TradingAgent
	d.eventually(name, func(g Gomega, agent *v1alpha1.TradingAgent) {
		condition := conditionOf(agent, phase)
		g.Expect(condition).NotTo(BeNil())
		g.Expect(condition.Reason).To(Equal(reason), condition.Message)
		g.Expect(condition.Status).To(Equal(wanted))
		found = agent
	})
	return found
}

func (d *desk) expectNoPod() {
	GinkgoHelper()
	var pods corev1.PodList
	Expect(bench.Client.List(d.ctx, &pods, client.InNamespace(d.namespace))).To(Succeed())
	Expect(pods.Items).To(BeEmpty())
}

// The prober is one for all tests and remembers, so each has a product of its own.
var _ = Describe("The market data of a TradingAgent", Ordered, func() {
	var (
		d        *desk
		exchange *coinbasetest.Exchange
	)
	BeforeAll(func() {
		exchange = &coinbasetest.Exchange{
			Products: []string{"DOWN-USD", "SLOW-USD", "OLD-USD", "NEW-USD", "RUN-USD"},
			Idle: func(product string, start time.Time) bool {
				age := time.Since(start)
				return product == "OLD-USD" && age < 2*time.Hour || product == "NEW-USD" && age > time.Hour
			},
		}
		server := httptest.NewServer(exchange)
		Expect(bench.MarketData.Connect(server.URL)).To(Succeed())
		DeferCleanup(func() {
			Expect(bench.MarketData.Connect("")).To(Succeed())
			server.Close()
		})
	})
	BeforeEach(func(ctx SpecContext) {
		d = newDesk(ctx)
		d.create(d.secret(), d.ledger(), d.account(), d.policy())
		DeferCleanup(func() { exchange.Break(nil) })
	})

	It("is waited for while the provider is down, and taken when it is up", func() {
		exchange.Break(coinbasetest.Broken(503))
		d.create(d.pair("coin", "DOWN", "USD"), d.follower())
		agent := d.eventuallyAgent("coin", metav1.ConditionFalse, v1alpha1.ReasonDataUnreachable)
		Expect(conditionOf(agent, v1alpha1.ConditionStalled)).To(BeNil(), "nobody needs to act")
		Expect(conditionOf(agent, v1alpha1.ConditionDataValid).Message).To(ContainSubstring("answers 503 Service Unavailable"))
		d.expectNoPod()

		// While nothing changes, nothing is written, however often it is asked.
		Eventually(bench.Writes).WithTimeout(patience).WithPolling(calm).Should(WithTransform(d.own, BeEmpty()))
		asked := len(exchange.Asked())
		Eventually(func() int { return len(exchange.Asked()) }).WithTimeout(patience).Should(BeNumerically(">", asked))
		Consistently(bench.Writes).WithTimeout(calm).Should(WithTransform(d.own, BeEmpty()))

		exchange.Break(nil)
		d.bringUp("coin")
		d.eventuallyPhase("coin", v1alpha1.ConditionDataValid, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	})

	It("is not known while the provider takes its time", func() {
		exchange.Break(coinbasetest.Hang)
		d.create(d.pair("coin", "SLOW", "USD"), d.follower())
		agent := d.eventuallyPhase("coin", v1alpha1.ConditionDataValid, metav1.ConditionUnknown, v1alpha1.ReasonDataChecking)
		Expect(conditionOf(agent, v1alpha1.ConditionAccepted).Status).To(Equal(metav1.ConditionUnknown))
		d.eventuallyAgent("coin", metav1.ConditionFalse, v1alpha1.ReasonDataChecking)
		d.expectNoPod()
		d.eventuallyPhase("coin", v1alpha1.ConditionDataValid, metav1.ConditionFalse, v1alpha1.ReasonDataUnreachable)
		exchange.Break(nil)
		d.pod("coin")
	})

	DescribeTable("holds the start, and says why, when the provider", func(base v1alpha1.Currency, reason string, stalls bool) {
		d.create(d.pair("coin", base, "USD"), d.follower())
		agent := d.eventuallyAgent("coin", metav1.ConditionFalse, reason)
		Expect(conditionOf(agent, v1alpha1.ConditionDataValid).Reason).To(Equal(reason))
		Expect(conditionOf(agent, v1alpha1.ConditionStalled) != nil).To(Equal(stalls))
		d.expectNoPod()
	},
		Entry("does not list the pair", v1alpha1.Currency("GONE"), v1alpha1.ReasonPairNotAtProvider, true),
		Entry("has had no trade for long", v1alpha1.Currency("OLD"), v1alpha1.ReasonDataStale, false),
		Entry("has too short a history", v1alpha1.Currency("NEW"), v1alpha1.ReasonHistoryTooShort, true),
	)

	It("is what the agent's own process says of it, once it runs", func() {
		d.create(d.pair("coin", "RUN", "USD"), d.follower())
		pod := d.bringUp("coin")
		d.report("coin", pod, func(trading map[string]any) {
			trading["data"] = map[string]any{"source": "Coinbase", "lastBarTime": "2026-11-23T09:00:00Z"}
		})
		d.eventuallyPhase("coin", v1alpha1.ConditionDataValid, metav1.ConditionTrue, v1alpha1.ReasonDataReceived)
		d.report("coin", pod, func(trading map[string]any) {
			trading["state"], trading["reason"], trading["message"] = "ReduceOnly", "DataUnavailable", "the exchange has withdrawn the product"
		})
		agent := d.eventuallyAgent("coin", metav1.ConditionFalse, v1alpha1.ReasonDataUnavailable)
		Expect(conditionOf(agent, v1alpha1.ConditionDataValid).Message).To(Equal("the exchange has withdrawn the product"))
		Consistently(func() any { return d.pod("coin").DeletionTimestamp }).WithTimeout(calm).Should(BeNil())
	})

	It("is a recording that exists, for the pair that is traded", func() {
		d.create(d.pair("eur-usd", "EUR", "USD"))
		agent := d.agent("eur", "eur-usd")
		agent.Spec.MarketData.Replay.Dataset = "sample/eurusd-5m"
		d.create(agent)
		stalled := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonDatasetNotFound)
		Expect(conditionOf(stalled, v1alpha1.ConditionStalled).Message).To(ContainSubstring("spec.marketData.replay.dataset: there is no data set"))
		d.expectNoPod()
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.MarketData.Replay.Dataset = "sample/eurusd-1h" })
		d.bringUp("eur")
		// A running agent is not moved to data that does not exist.
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.MarketData.Replay.Dataset = "sample/eurusd-5m" })
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonDatasetNotFound)
		Consistently(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(calm).Should(BeNil())
	})

	It("is unchecked where the operator cannot see it", func() {
		d.create(d.pair("eur-usd", "EUR", "USD"))
		agent := d.agent("eur", "eur-usd")
		agent.Spec.MarketData.Replay.Dataset = "forex/{pair}"
		d.create(agent)
		d.bringUp("eur")
		d.eventuallyPhase("eur", v1alpha1.ConditionDataValid, metav1.ConditionTrue, v1alpha1.ReasonDataUnchecked)
	})
})

var _ = Describe("The limits of a TradingAgent", func() {
	var d *desk
	BeforeEach(func(ctx SpecContext) { d = newDesk(ctx) })

	It("must let some order through before the agent starts", func() {
		d.furnish()
		pair := get(d, &v1alpha1.AssetPair{}, "eur-usd")
		change(d, pair, func(pair *v1alpha1.AssetPair) { pair.Spec.MinNotional = "50" })
		agent := d.agent("eur", "EUR/USD")
		agent.Spec.Limits = &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{MaxNotional: "49.99"}}
		d.create(agent)
		stalled := d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonLimitNeverAllows)
		Expect(conditionOf(stalled, v1alpha1.ConditionRiskValid).Message).To(SatisfyAll(
			ContainSubstring(`spec.limits.order.maxNotional: "49.99"`), ContainSubstring(`minNotional "50" of AssetPair "eur-usd"`)))
		Expect(conditionOf(stalled, v1alpha1.ConditionStalled)).NotTo(BeNil())
		d.expectNoPod()
		change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.Limits.Order.MaxNotional = "50" })
		d.bringUp("eur")
	})

	It("never stop an agent that runs, and a lost pod comes back", func() {
		pod := d.trader("eur")
		change(d, get(d, &v1alpha1.RiskPolicy{}, "careful"), func(policy *v1alpha1.RiskPolicy) { policy.Spec.Agent.MaxTradesPerDay = new(int32(0)) })
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonLimitNeverAllows)
		Consistently(func() any { return d.pod("eur").DeletionTimestamp }).WithTimeout(calm).Should(BeNil())
		d.kill(pod)
		Eventually(func() any { return d.pod("eur").UID }).WithTimeout(patience).ShouldNot(Equal(pod.UID))
		policy := get(d, &v1alpha1.RiskPolicy{}, "careful")
		Eventually(func() string {
			policy = get(d, &v1alpha1.RiskPolicy{}, "careful")
			return reconcile.StatusOf(policy).Get(v1alpha1.ConditionAccepted).Reason
		}).WithTimeout(patience).Should(Equal(v1alpha1.ReasonLimitNeverAllows))
		Expect(reconcile.StatusOf(policy).Get(v1alpha1.ConditionReady).Status).To(Equal(metav1.ConditionTrue), "tightening is never refused")
	})

	It("are named where they never bind, and nothing is withheld", func() {
		d.furnish()
		change(d, get(d, &v1alpha1.RiskPolicy{}, "careful"), func(policy *v1alpha1.RiskPolicy) { policy.Spec.Agent.MaxPositions = new(int32(7)) })
		d.create(d.agent("eur", "EUR/USD"))
		d.bringUp("eur")
		agent := d.eventuallyPhase("eur", v1alpha1.ConditionRiskValid, metav1.ConditionTrue, v1alpha1.ReasonLimitNeverBinds)
		Expect(conditionOf(agent, v1alpha1.ConditionRiskValid).Message).To(ContainSubstring(`RiskPolicy "careful" spec.agent.maxPositions: 7`))
		Expect(conditionOf(agent, v1alpha1.ConditionAccepted).Reason).To(Equal(v1alpha1.ReasonAccepted))
	})

	It("leave the stop below the target", func() {
		d.furnish()
		agent := d.agent("eur", "EUR/USD")
		agent.Spec.Sizing = &v1alpha1.SizingSpec{StopFraction: "0.05", TargetFraction: "0.05"}
		d.create(agent)
		d.eventuallyAgent("eur", metav1.ConditionFalse, v1alpha1.ReasonStopNotBelow)
		d.expectNoPod()
	})
})

var _ = Describe("The pairs of a TradingAgent", func() {
	It("are shown in their canonical spelling, with what they decide", func(ctx SpecContext) {
		d := newDesk(ctx)
		d.furnish()
		d.create(d.agent("eur", "eur_usd"))
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(agent.Status.Pairs).To(Equal("EUR-USD"))
			g.Expect(agent.Status.Effective).To(ContainElement(v1alpha1.EffectiveValue{Field: "pairs[EUR-USD].lotSize", Value: "1", Source: v1alpha1.SourceAssetPair}))
		})
	})
})

var _ = Describe("The sample desk", func() {
	It("is accepted in every phase, and nothing is remarked on", func(ctx SpecContext) {
		d := newDesk(ctx)
		files, err := filepath.Glob("../config/samples/*.yaml")
		Expect(err).NotTo(HaveOccurred())
		d.create(d.secret())
		agents := 0
		for _, file := range files {
			objects, err := testbench.Objects(file)
			Expect(err).NotTo(HaveOccurred())
			for _, object := range objects {
				if !strings.HasPrefix(object.GetAPIVersion(), v1alpha1.GroupName) {
					continue
				}
				object.SetNamespace(d.namespace)
				d.create(object)
				if object.GetKind() == "TradingAgent" {
					agents++
				}
			}
		}
		Expect(agents).To(BeNumerically(">=", 2))
		var list v1alpha1.TradingAgentList
		Eventually(func(g Gomega) {
			g.Expect(bench.Client.List(d.ctx, &list, client.InNamespace(d.namespace))).To(Succeed())
			g.Expect(list.Items).To(HaveLen(agents))
			for i := range list.Items {
				for _, phase := range append([]string{v1alpha1.ConditionAccepted}, acceptedPhases...) {
					condition := conditionOf(&list.Items[i], phase)
					g.Expect(condition).NotTo(BeNil())
					g.Expect(condition.Status).To(Equal(metav1.ConditionTrue), condition.Message)
					g.Expect(condition.Reason).To(Equal(v1alpha1.ReasonAccepted), condition.Message)
				}
			}
		}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
		d.checkInvariants()
	})
})
