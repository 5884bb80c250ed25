package admission_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// at gives an agent a host.
func at(host string, agent *v1alpha1.TradingAgent) *v1alpha1.TradingAgent {
	agent.Spec.Endpoint = &v1alpha1.EndpointSpec{Host: host}
	return agent
}

// hostIsTaken asks for a host that an agent has, and for one that nobody has.
func hostIsTaken(t *testing.T, c client.Client) {
	t.Helper()
	const elsewhere = "other-desk"
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: elsewhere}}); err != nil {
		t.Fatal(err)
	}
	rival := at("eur.desk.example.com", agent("rival"))
	rival.Namespace = elsewhere
	// The webhook's cache may be a moment behind, so a dry run is asked until it is not.
	var err error
	deadline := time.Now().Add(patience)
	for err = c.Create(t.Context(), rival.DeepCopy(), client.DryRunAll); err == nil && time.Now().Before(deadline); {
		err = c.Create(t.Context(), rival.DeepCopy(), client.DryRunAll)
	}
	if err == nil || !strings.Contains(err.Error(), "is taken by an agent of another namespace") {
		t.Errorf("want a refusal that names the host, got %v", err)
	}
	rival.Spec.Endpoint.Host = "rival.desk.example.com"
	if err := c.Create(t.Context(), rival.DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("a host that nobody has: %v", err)
	}
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
		policy("careful"), pair("eur-usd", "EUR", "EUROUSD"), at("eur.desk.example.com", agent("eur")),
	} {
		if err := bench.Client.Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
	t.Run("a host that an agent of another namespace has", func(t *testing.T) { hostIsTaken(t, bench.Client) })
	t.Run("a halt that a new agent comes up under", func(t *testing.T) { haltIsWarnedOf(t, bench.Config, bench.Client) })
	if err := bench.StopOperator(); err != nil {
		t.Fatal(err)
	}
	impersonating := rest.CopyConfig(bench.Config)
	impersonating.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:deployer", Groups: []string{"system:masters"}}
	forger, err := client.New(impersonating, client.Options{Scheme: bench.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range away(bench.Client, forger) {
		t.Run(step.name, func(t *testing.T) {
			err := step.do(t.Context())
			if step.refused == passes && err != nil {
				t.Errorf("must not need the operator: %v", err)
			}
			if step.refused != passes && (err == nil || !strings.Contains(err.Error(), step.refused)) {
				t.Errorf("want a refusal with %q, got %v", step.refused, err)
			}
		})
	}
}

// What a step comes to while the operator is away.
const (
	passes = ""
	// waits for the webhook, whose judgement it needs.
	waits = "failed calling webhook"
	// loosensPolicy is what the policy on limits says.
	loosensPolicy = "would loosen RiskPolicy"
)

type step struct {
	name string
	// refused is what the refusal says.
	refused string
	do      func(context.Context) error
}

// away are changes in the order in which they are made.
func away(c, forger client.Client) []step {
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
		{"create an agent", waits, func(ctx context.Context) error { return c.Create(ctx, agent("other")) }},
		{"create a pair", waits, func(ctx context.Context) error { return c.Create(ctx, pair("gbp-usd", "GBP")) }},
		{"create a policy", passes, func(ctx context.Context) error { return c.Create(ctx, policy("stricter")) }},
		{"create an account", passes, func(ctx context.Context) error {
			return c.Create(ctx, &v1alpha1.TradingAccount{ObjectMeta: meta("paper"), Spec: v1alpha1.TradingAccountSpec{
				Venue: v1alpha1.VenuePaper, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
				Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"},
			}})
		}},
		{"create a ledger", passes, func(ctx context.Context) error {
			return c.Create(ctx, &v1alpha1.Ledger{ObjectMeta: meta("main"), Spec: v1alpha1.LedgerSpec{URISecretRef: v1alpha1.SecretKeyReference{Name: "ledger", Key: "uri"}}})
		}},
		{"halt the agent", passes, change(func(a *v1alpha1.TradingAgent) { a.Spec.Trading = v1alpha1.TradingHalted })},
		{"tighten a limit", passes, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "50" })},
		{"tighten a fraction", passes, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Agent.MaxDrawdownFraction = "0.05" })},
		{"tighten a count", passes, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Agent.MaxTradesPerDay = new(int32(0)) })},
		{"loosen within the policy", passes, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "1000" })},
		{"loosen beyond the policy", loosensPolicy, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "1000.01" })},
		{"loosen a count beyond the policy", loosensPolicy, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Agent.MaxTradesPerDay = new(int32(6)) })},
		{"tighten one limit and loosen another", loosensPolicy, change(func(a *v1alpha1.TradingAgent) {
			a.Spec.Limits.Order.MaxNotional = "1"
			a.Spec.Limits.Agent.MaxTradesPerDay = new(int32(6))
		})},
		{"set a limit", passes, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Data = &v1alpha1.DataLimits{MaxAgeSeconds: 60} })},
		{"tighten and go live", "is a paper account", change(func(a *v1alpha1.TradingAgent) {
			a.Spec.Limits.Order.MaxNotional = "1"
			a.Spec.Mode = v1alpha1.ModeLive
			a.Spec.MarketData = v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceCoinbase}
			a.Spec.ControlPlane = &v1alpha1.ControlPlaneSpec{OnLoss: v1alpha1.LossHalt}
		})},
		{"change what needs another process", passes, change(func(a *v1alpha1.TradingAgent) {
			a.Spec.Image = "registry.example/trading-agent:next"
			a.Spec.Decision = &v1alpha1.DecisionSpec{IntervalSeconds: 60}
		})},
		{"ask for another host", waits, change(func(a *v1alpha1.TradingAgent) { a.Spec.Endpoint.Host = "btc.desk.example.com" })},
		{"ask for another issuer", passes, change(func(a *v1alpha1.TradingAgent) {
			a.Spec.Endpoint.IssuerRef = &v1alpha1.IssuerReference{Kind: v1alpha1.IssuerKindIssuer, Name: "ours"}
		})},
		{"take another account", "cannot change, because open orders", change(func(a *v1alpha1.TradingAgent) { a.Spec.AccountRef.Name = "other" })},
		{"take another pair", waits, change(func(a *v1alpha1.TradingAgent) { a.Spec.AssetPairs[0].Name = "GBP-USD" })},
		{"take another policy", waits, change(func(a *v1alpha1.TradingAgent) { a.Spec.RiskPolicyRef.Name = "stricter" })},
		{"remove every limit of its own", passes, change(func(a *v1alpha1.TradingAgent) { a.Spec.Limits = nil })},
		{"annotate", passes, change(func(a *v1alpha1.TradingAgent) { a.Annotations = map[string]string{"note": "by hand"} })},
		{"tighten the policy", passes, func(ctx context.Context) error {
			live := policy("careful")
			if err := c.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
				return err
			}
			live.Spec.Order.MaxNotional = "1"
			return c.Update(ctx, live)
		}},
		{"loosen the policy", passes, func(ctx context.Context) error {
			live := policy("stricter")
			if err := c.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
				return err
			}
			live.Spec.Order.MaxNotional = "2000"
			return c.Update(ctx, live)
		}},
		{"forge a report", "the token is bound to no pod", func(ctx context.Context) error {
			live := agent("eur")
			if err := c.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
				return err
			}
			live.Status.Trading = &v1alpha1.TradingStatus{PodUID: "forged", State: v1alpha1.TradingEnabled, Reason: v1alpha1.ReasonTrading}
			return forger.Status().Update(ctx, live)
		}},
		{"remove an alias", passes, func(ctx context.Context) error {
			live := pair("eur-usd", "EUR")
			if err := c.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
				return err
			}
			live.Spec.Aliases = nil
			return c.Update(ctx, live)
		}},
		{"set a finalizer", passes, change(func(a *v1alpha1.TradingAgent) { a.Finalizers = []string{v1alpha1.AgentFinalizer} })},
		{"delete", passes, func(ctx context.Context) error { return c.Delete(ctx, agent("eur")) }},
		{"take the finalizer off", passes, change(func(a *v1alpha1.TradingAgent) { a.Finalizers = nil })},
	}
}
