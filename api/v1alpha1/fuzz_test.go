package v1alpha1

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"
)

// The validators are called with whatever is stored, also by releases that knew
// other rules. None may panic, change what it judges, or answer differently when
// it is asked again, and every objection names the field that it is about.

func FuzzValidateTradingAgent(f *testing.F)   { fuzz(f, agentIsJudged) }
func FuzzValidateRiskPolicy(f *testing.F)     { fuzz(f, policyIsJudged) }
func FuzzValidateAssetPair(f *testing.F)      { fuzz(f, pairIsJudged) }
func FuzzValidateTradingAccount(f *testing.F) { fuzz(f, accountIsJudged) }
func FuzzValidateReferences(f *testing.F)     { fuzz(f, referencesAreJudged) }
func FuzzValidateTighter(f *testing.F)        { fuzz(f, tighterIsJudged) }
func FuzzValidateRisk(f *testing.F)           { fuzz(f, riskIsJudged) }
func FuzzResolve(f *testing.F)                { fuzz(f, strictestBinds) }
func FuzzFindPair(f *testing.F)               { fuzz(f, foundPairHasTheName) }

func fuzz(f *testing.F, property func(*rapid.T)) {
	f.Helper()
	f.Add(bytes.Repeat([]byte{1}, 4096))
	f.Fuzz(rapid.MakeFuzz(property))
}

// TestAnythingIsJudged is what the fuzz targets test, on a few draws.
func TestAnythingIsJudged(t *testing.T) {
	properties := map[string]func(*rapid.T){
		"TradingAgent": agentIsJudged, "RiskPolicy": policyIsJudged, "AssetPair": pairIsJudged, "TradingAccount": accountIsJudged,
		"references": referencesAreJudged, "tighter": tighterIsJudged, "risk": riskIsJudged, "resolve": strictestBinds, "find": foundPairHasTheName,
	}
	for name, property := range properties {
		t.Run(name, func(t *testing.T) { rapid.Check(t, property) })
	}
}

func agentIsJudged(t *rapid.T) {
	agent := drawAgent(t, "agent")
	judged(t, agent.DeepCopy(), agent, func() field.ErrorList { return ValidateTradingAgent(agent) })
}

func policyIsJudged(t *rapid.T) {
	policy := drawPolicy(t)
	judged(t, policy.DeepCopy(), policy, func() field.ErrorList { return ValidateRiskPolicy(policy) })
	if remarks := RiskPolicyRemarks(policy); len(ValidateRiskPolicy(policy)) == 0 && slices.ContainsFunc(remarks, func(r RiskFinding) bool { return r.Reason == "" || r.Message == "" }) {
		t.Fatalf("a remark without words: %+v", remarks)
	}
}

func pairIsJudged(t *rapid.T) {
	pairs := drawPairs(t)
	pair := &pairs[0]
	for _, onlyOlder := range []bool{false, true} {
		judged(t, pair.DeepCopy(), pair, func() field.ErrorList { return ValidateAssetPair(pair, pairs, onlyOlder) })
	}
	if len(ValidateAssetPair(pair, pairs, true)) > len(ValidateAssetPair(pair, pairs, false)) {
		t.Fatal("fewer others object to more")
	}
}

func accountIsJudged(t *rapid.T) {
	account := drawAccount(t)
	judged(t, account.DeepCopy(), account, func() field.ErrorList { return ValidateTradingAccount(account) })
}

func referencesAreJudged(t *rapid.T) {
	agent, other, account, policy, pairs := drawAgent(t, "agent"), drawAgent(t, "other"), drawAccount(t), drawPolicy(t), drawPairs(t)
	judged(t, agent.DeepCopy(), agent, func() field.ErrorList {
		errs := append(ValidateMode(agent, account), ValidateCurrencies(agent, account, policy, pairs)...)
		errs = append(errs, ValidateDistinctPairs(agent, pairs)...)
		return append(errs, ValidateUniquePairs(agent, []TradingAgent{*other}, pairs)...)
	})
	if agent.Spec.Mode == ModeLive && !account.IsLive() && len(ValidateMode(agent, account)) == 0 {
		t.Fatal("a live agent may use a paper account")
	}
	if errs := ValidateUniquePairs(agent, []TradingAgent{*agent}, pairs); len(errs) > 0 {
		t.Fatalf("an agent is in its own way: %v", errs)
	}
}

func tighterIsJudged(t *rapid.T) {
	policy := drawPolicy(t)
	limits := &Limits{Order: drawOrder(t), Agent: drawLimits(t), Data: drawData(t)}
	judged(t, policy.DeepCopy(), policy, func() field.ErrorList { return ValidateTighter(limits, policy) })
	if len(ValidateRiskPolicy(policy)) > 0 {
		return
	}
	same := &Limits{Order: &policy.Spec.Order, Agent: &policy.Spec.Agent, Data: policy.Spec.Data}
	if errs := ValidateTighter(same, policy); len(errs) > 0 {
		t.Fatalf("the policy's own limits would loosen it: %v", errs)
	}
}

func riskIsJudged(t *rapid.T) {
	agent, account, policy, pairs := drawAgent(t, "agent"), drawAccount(t), drawPolicy(t), drawPairs(t)
	traded := make([]*AssetPair, 0, len(pairs))
	for i := range pairs {
		traded = append(traded, &pairs[i])
	}
	objections, remarks := ValidateRisk(agent, policy, account, traded)
	again, remarked := ValidateRisk(agent, policy, account, traded)
	if !reflect.DeepEqual(objections, again) || !reflect.DeepEqual(remarks, remarked) {
		t.Fatal("asked again, it answers differently")
	}
	for _, found := range append(objections, remarks...) {
		if found.Reason == "" || found.Field == "" || found.Message == "" {
			t.Fatalf("a finding without words: %+v", found)
		}
	}
}

// strictestBinds checks that what is in force is never looser than the policy,
// whatever the agent's own limits say.
func strictestBinds(t *rapid.T) {
	agent, policy := drawAgent(t, "agent"), drawPolicy(t)
	settings, values := Resolve(agent, policy)
	again, valuesAgain := Resolve(agent, policy)
	if !reflect.DeepEqual(settings, again) || !reflect.DeepEqual(values, valuesAgain) {
		t.Fatal("asked again, it answers differently")
	}
	if Strictest(settings.Trading, policy.Spec.Trading) != Strictest(settings.Trading) {
		t.Fatalf("the policy says %q, and %q is in force", policy.Spec.Trading, settings.Trading)
	}
	if len(ValidateRiskPolicy(policy)) > 0 || len(ValidateTradingAgent(agent)) > 0 {
		return
	}
	limits := settings.Limits
	inForce := &Limits{Order: &limits.OrderLimits, Agent: &limits.AgentLimits, Data: &limits.DataLimits}
	if errs := ValidateTighter(inForce, policy); len(errs) > 0 {
		t.Fatalf("what is in force is looser than the policy: %v", errs)
	}
}

func foundPairHasTheName(t *rapid.T) {
	pairs := drawPairs(t)
	name := drawName(t, "name")
	found := FindPair(pairs, name)
	if found == nil || found.Name == name {
		return
	}
	normal, err := NormalizePair(name)
	if err != nil || !slices.Contains(found.NormalNames(), normal) {
		t.Fatalf("%q has found %q, whose names are %v", name, found.Name, found.NormalNames())
	}
}

// judged calls a validator twice and checks what must hold of every validator.
func judged[T any](t *rapid.T, before, after T, validate func() field.ErrorList) {
	errs := validate()
	if again := validate(); !reflect.DeepEqual(errs, again) {
		t.Fatalf("asked again, it answers differently: %v, %v", errs, again)
	}
	if !reflect.DeepEqual(before, after) {
		t.Fatalf("the validator has changed what it judges: %+v", after)
	}
	for _, err := range errs {
		if !strings.HasPrefix(err.Field, "spec") || err.Detail == "" {
			t.Fatalf("an objection without field or words: %v", err)
		}
	}
}

func drawAgent(t *rapid.T, name string) *TradingAgent {
	agent := &TradingAgent{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "desk"}}
	agent.Spec = rapid.Make[TradingAgentSpec]().Draw(t, name)
	agent.Spec.Mode = rapid.SampledFrom([]Mode{ModePaper, ModeLive, ""}).Draw(t, "mode")
	agent.Spec.Trading = drawState(t)
	agent.Spec.AccountRef.Name = rapid.SampledFrom([]string{"paper", "other"}).Draw(t, "account")
	agent.Spec.AssetPairs = nil
	for range rapid.IntRange(0, 3).Draw(t, "pairs") {
		agent.Spec.AssetPairs = append(agent.Spec.AssetPairs, AssetPairSelector{Name: drawName(t, "selector")})
	}
	agent.Spec.Sizing = &SizingSpec{RiskFraction: drawFraction(t), StopFraction: drawFraction(t), TargetFraction: drawFraction(t)}
	agent.Spec.Limits = &Limits{Order: drawOrder(t), Agent: drawLimits(t), Data: drawData(t)}
	return agent
}

func drawPolicy(t *rapid.T) *RiskPolicy {
	return &RiskPolicy{ObjectMeta: metav1.ObjectMeta{Name: "careful", Namespace: "desk"}, Spec: RiskPolicySpec{
		Trading: drawState(t), Currency: drawCurrency(t), Order: *drawOrder(t), Agent: *drawLimits(t), Data: drawData(t),
	}}
}

func drawAccount(t *rapid.T) *TradingAccount {
	account := &TradingAccount{ObjectMeta: metav1.ObjectMeta{Name: "paper", Namespace: "desk"}}
	account.Spec = rapid.Make[TradingAccountSpec]().Draw(t, "account spec")
	account.Spec.Venue = rapid.SampledFrom([]Venue{VenuePaper, "Newer"}).Draw(t, "venue")
	if account.Spec.Paper != nil {
		account.Spec.Paper.Currency, account.Spec.Paper.Balance = drawCurrency(t), PositiveDecimal(drawDecimal(t))
	}
	return account
}

func drawPairs(t *rapid.T) []AssetPair {
	pairs := make([]AssetPair, rapid.IntRange(1, 3).Draw(t, "asset pairs"))
	for i := range pairs {
		aliases := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return drawName(t, "alias") }), 0, 2).Draw(t, "aliases")
		pairs[i] = pair(string(rune('a'+i)), string(drawCurrency(t)), string(drawCurrency(t)), time.Duration(i)*time.Minute, aliases...)
		pairs[i].Spec.TickSize, pairs[i].Spec.LotSize, pairs[i].Spec.MinNotional = PositiveDecimal(drawDecimal(t)), PositiveDecimal(drawDecimal(t)), Decimal(drawDecimal(t))
	}
	return pairs
}

func drawName(t *rapid.T, label string) string {
	return rapid.OneOf(rapid.SampledFrom([]string{"BTC-USD", "btcusd", "EUR/USD", "usd-btc", "a", "b"}), rapid.StringMatching(`[A-Za-z0-9]{1,6}[-/_ ]?[A-Za-z0-9]{1,6}`), rapid.String()).Draw(t, label)
}

func drawState(t *rapid.T) TradingState {
	return rapid.SampledFrom([]TradingState{"", TradingEnabled, TradingReduceOnly, TradingHalted, "Newer"}).Draw(t, "state")
}

func drawCurrency(t *rapid.T) Currency {
	return rapid.SampledFrom([]Currency{"USD", "EUR", "BTC", ""}).Draw(t, "currency")
}

func drawDecimal(t *rapid.T) string {
	return rapid.OneOf(
		rapid.StringMatching(`(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?`),
		rapid.SampledFrom([]string{"", "0", "1", "0.0", "-1", "1e400000000", "1/3", "NaN", "0x1p-2", " 1", "١"}), rapid.String(),
	).Draw(t, "decimal")
}

func drawFraction(t *rapid.T) Fraction {
	return Fraction(rapid.OneOf(rapid.StringMatching(`0[.][0-9]{1,9}`), rapid.SampledFrom([]string{"", "0", "1", "1.0", "2"}), rapid.String()).Draw(t, "fraction"))
}

func drawOrder(t *rapid.T) *OrderLimits {
	return &OrderLimits{MaxNotional: PositiveDecimal(drawDecimal(t)), PriceCollarFraction: drawFraction(t), MaxPerSecond: rapid.Int32Range(-1, 10).Draw(t, "rate")}
}

func drawLimits(t *rapid.T) *AgentLimits {
	number := func(label string) *int32 { return rapid.Ptr(rapid.Int32Range(-1, 10), true).Draw(t, label) }
	return &AgentLimits{
		MaxDrawdownFraction: drawFraction(t), MaxDailyLossFraction: drawFraction(t), MaxPositionFraction: drawFraction(t),
		MaxTradesPerDay: number("trades"), MaxPositions: number("positions"),
	}
}

func drawData(t *rapid.T) *DataLimits {
	return rapid.Ptr(rapid.Custom(func(t *rapid.T) DataLimits {
		return DataLimits{MaxAgeSeconds: rapid.Int32Range(-1, 100).Draw(t, "age")}
	}), true).Draw(t, "data")
}
