package admission_test

import (
	"context"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

const namespace = "desk"

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }

func agent(name string) *v1alpha1.TradingAgent {
	return &v1alpha1.TradingAgent{ObjectMeta: meta(name), Spec: v1alpha1.TradingAgentSpec{
		Mode: v1alpha1.ModePaper, Trading: v1alpha1.TradingEnabled,
		AccountRef:    v1alpha1.ObjectReference{Name: "paper"},
		RiskPolicyRef: v1alpha1.ObjectReference{Name: "careful"},
		AssetPairs:    []v1alpha1.AssetPairSelector{{Name: "EUR-USD"}},
		MarketData:    v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceReplay, Replay: &v1alpha1.ReplaySpec{Dataset: "sample/eurusd-1h"}},
		Limits: &v1alpha1.Limits{
			Order: &v1alpha1.OrderLimits{MaxNotional: "100"},
			Agent: &v1alpha1.AgentLimits{MaxTradesPerDay: new(int32(3)), MaxDrawdownFraction: "0.1"},
		},
	}}
}

func policy(name string) *v1alpha1.RiskPolicy {
	return &v1alpha1.RiskPolicy{ObjectMeta: meta(name), Spec: v1alpha1.RiskPolicySpec{
		Currency: "USD",
		Order:    v1alpha1.OrderLimits{MaxNotional: "1000"},
		Agent:    v1alpha1.AgentLimits{MaxTradesPerDay: new(int32(5))},
	}}
}

func pair(name string, base v1alpha1.Currency, aliases ...string) *v1alpha1.AssetPair {
	return &v1alpha1.AssetPair{ObjectMeta: meta(name), Spec: v1alpha1.AssetPairSpec{
		Base: base, Quote: "USD", TickSize: "0.00001", LotSize: "1", Aliases: aliases,
	}}
}

// While the operator is away, whatever makes the desk safer still works, and
// what needs a judge waits for one.
func TestOperatorAway(t *testing.T) {
	log.SetLogger(logr.Discard())
	bench, err := testbench.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bench.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		policy("careful"), pair("eur-usd", "EUR", "EUROUSD"), agent("eur"),
	} {
		if err := bench.Client.Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
	if err := bench.StopOperator(); err != nil {
		t.Fatal(err)
	}
	for _, step := range away(bench.Client) {
		t.Run(step.name, func(t *testing.T) {
			err := step.do(t.Context())
			refused := err != nil && strings.Contains(err.Error(), "failed calling webhook")
			if step.needsJudge && !refused {
				t.Errorf("want a refusal for want of a judge, got %v", err)
			}
			if !step.needsJudge && err != nil {
				t.Errorf("must not need the webhook: %v", err)
			}
		})
	}
}

type step struct {
	name       string
	needsJudge bool
	do         func(context.Context) error
}

// away are changes in the order in which they are made.
func away(c client.Client) []step {
	change := func(edit func(*v1alpha1.TradingAgent)) func(context.Context) error {
		return func(ctx context.Context) error {
			live := agent("eur")
			if err := c.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
				return err
			}
			edit(live)
			return c.Update(ctx, live)
		}
	}
	return []step{
		{"create an agent", true, func(ctx context.Context) error { return c.Create(ctx, agent("other")) }},
		{"create a pair", true, func(ctx context.Context) error { return c.Create(ctx, pair("gbp-usd", "GBP")) }},
		{"create a policy", false, func(ctx context.Context) error { return c.Create(ctx, policy("stricter")) }},
		{"create an account", false, func(ctx context.Context) error {
			return c.Create(ctx, &v1alpha1.TradingAccount{ObjectMeta: meta("paper"), Spec: v1alpha1.TradingAccountSpec{
				Venue: v1alpha1.VenuePaper, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
				Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"},
			}})
		}},
		{"create a ledger", false, func(ctx context.Context) error {
			return c.Create(ctx, &v1alpha1.Ledger{ObjectMeta: meta("main"), Spec: v1alpha1.LedgerSpec{URISecretRef: v1alpha1.SecretKeyReference{Name: "ledger", Key: "uri"}}})
		}},
		{"halt the agent", false, change(func(a *v1alpha1.TradingAgent) { a.Spec.Trading = v1alpha1.TradingHalted })},
		{"tighten a limit", false, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "50" })},
		{"tighten a fraction", false, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Agent.MaxDrawdownFraction = "0.05" })},
		{"tighten a count", false, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Agent.MaxTradesPerDay = new(int32(0)) })},
		{"loosen a limit", true, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "50.01" })},
		{"loosen a count", true, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Agent.MaxTradesPerDay = new(int32(1)) })},
		{"tighten one limit and loosen another", true, change(func(a *v1alpha1.TradingAgent) {
			a.Spec.Limits.Order.MaxNotional = "1"
			a.Spec.Limits.Agent.MaxDrawdownFraction = "0.06"
		})},
		{"set a limit", true, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Data = &v1alpha1.DataLimits{MaxAgeSeconds: 60} })},
		{"tighten and go live", true, change(func(a *v1alpha1.TradingAgent) {
			a.Spec.Limits.Order.MaxNotional = "1"
			a.Spec.Mode = v1alpha1.ModeLive
		})},
		{"take another pair", true, change(func(a *v1alpha1.TradingAgent) { a.Spec.AssetPairs[0].Name = "GBP-USD" })},
		{"take another policy", true, change(func(a *v1alpha1.TradingAgent) { a.Spec.RiskPolicyRef.Name = "stricter" })},
		{"remove every limit of its own", false, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits = nil })},
		{"annotate", false, change(func(a *v1alpha1.TradingAgent) { a.Annotations = map[string]string{"note": "by hand"} })},
		{"tighten the policy", false, func(ctx context.Context) error {
			live := policy("careful")
			if err := c.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
				return err
			}
			live.Spec.Order.MaxNotional = "1"
			return c.Update(ctx, live)
		}},
		{"remove an alias", false, func(ctx context.Context) error {
			live := pair("eur-usd", "EUR")
			if err := c.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
				return err
			}
			live.Spec.Aliases = nil
			return c.Update(ctx, live)
		}},
		{"set a finalizer", false, change(func(a *v1alpha1.TradingAgent) { a.Finalizers = []string{v1alpha1.AgentFinalizer} })},
		{"delete", false, func(ctx context.Context) error { return c.Delete(ctx, agent("eur")) }},
		{"take the finalizer off", false, change(func(a *v1alpha1.TradingAgent) { a.Finalizers = nil })},
	}
}
