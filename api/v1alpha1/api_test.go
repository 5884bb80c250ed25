package v1alpha1

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNormalizePair(t *testing.T) {
	for _, spelling := range []string{"BTC-USD", "btcusd", "BTC/USD", "BTC USD", "btc_usd", "bTc-UsD"} {
		if got, err := NormalizePair(spelling); err != nil || got != "BTCUSD" {
			t.Errorf("NormalizePair(%q) = %q, %v; want BTCUSD", spelling, got, err)
		}
	}
	refused := map[string]string{
		"":                           "must not be empty",
		"BTC-":                       "one-sided",
		"/USD":                       "one-sided",
		"бTC-USD":                    "not ASCII",
		"BTC€USD":                    "not ASCII",
		"EUR_USD;DROP":               "would have to drop",
		"BTC--USD":                   "would have to drop",
		"BTC/USDT:USDT":              "derivatives",
		"BTC":                        "a pair has 4 to 24",
		"ABCDEFGHIJKLM-NOPQRSTUVWXY": "a pair has 4 to 24",
	}
	for spelling, want := range refused {
		if got, err := NormalizePair(spelling); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NormalizePair(%q) = %q, %v; want an error with %q", spelling, got, err, want)
		}
	}
}

func FuzzNormalizePair(f *testing.F) {
	for _, seed := range []string{"BTC-USD", "btc_usd", "бTC", "BTC/USDT:USDT", "a-b-c", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		normal, err := NormalizePair(name)
		if err != nil {
			return
		}
		if strings.Trim(normal, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			t.Fatalf("normal form %q of %q has other characters than A to Z and 0 to 9", normal, name)
		}
		again, err := NormalizePair(normal)
		if err != nil || again != normal {
			t.Fatalf("normal form %q of %q is not stable: %q, %v", normal, name, again, err)
		}
	})
}

func pair(name, base, quote string, age time.Duration, aliases ...string) AssetPair {
	return AssetPair{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "desk", CreationTimestamp: metav1.NewTime(time.Unix(1_700_000_000, 0).Add(-age))},
		Spec:       AssetPairSpec{Base: Currency(base), Quote: Currency(quote), Aliases: aliases, TickSize: "0.01", LotSize: "0.0001"},
	}
}

func TestFindPair(t *testing.T) {
	pairs := []AssetPair{
		pair("younger", "XBT", "USD", time.Minute, "BTCUSD"),
		pair("btc-usd", "BTC", "USD", time.Hour, "XBT-USDX"),
	}
	cases := map[string]string{
		"btc-usd": "btc-usd", // the object's own name
		"BTC/USD": "btc-usd", // the older of two that claim the spelling
		"xbtusd":  "younger",
		"XBTUSDX": "btc-usd", // an alias
		"ETH-USD": "",
		"бTC-USD": "",
	}
	for name, want := range cases {
		got := ""
		if found := FindPair(pairs, name); found != nil {
			got = found.Name
		}
		if got != want {
			t.Errorf("FindPair(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestStrictest(t *testing.T) {
	cases := []struct {
		states []TradingState
		want   TradingState
	}{
		{nil, TradingEnabled},
		{[]TradingState{"", TradingEnabled}, TradingEnabled},
		{[]TradingState{TradingEnabled, TradingReduceOnly}, TradingReduceOnly},
		{[]TradingState{TradingHalted, TradingReduceOnly}, TradingHalted},
		{[]TradingState{TradingEnabled, "Frozen"}, TradingHalted},
	}
	for _, c := range cases {
		if got := Strictest(c.states...); got != c.want {
			t.Errorf("Strictest(%v) = %s, want %s", c.states, got, c.want)
		}
	}
}

func agentWith(mutate func(*TradingAgentSpec)) *TradingAgent {
	agent := &TradingAgent{
		ObjectMeta: metav1.ObjectMeta{Name: "eur-trend", Namespace: "desk"},
		Spec: TradingAgentSpec{
			Mode: ModePaper, Trading: TradingEnabled,
			AccountRef: ObjectReference{Name: "paper"}, RiskPolicyRef: ObjectReference{Name: "careful"},
			AssetPairs: []AssetPairSelector{{Name: "eur-usd"}},
			MarketData: MarketDataSpec{Source: DataSourceReplay, Replay: &ReplaySpec{Dataset: "sample/eurusd-1h"}},
		},
	}
	if mutate != nil {
		mutate(&agent.Spec)
	}
	return agent
}

func TestResolve(t *testing.T) {
	policy := &RiskPolicy{Spec: RiskPolicySpec{
		Trading: TradingReduceOnly, Currency: "USD",
		Order: OrderLimits{MaxNotional: "1000", MinNotional: "20"},
		Agent: AgentLimits{MaxTradesPerDay: new(int32(3)), MaxDrawdownFraction: "0.10", StopCoolDownSeconds: 600},
		Total: &TotalLimits{MaxGrossNotional: "5000"}, RestrictedPairs: []string{"BTC-USD", "ETH-USD"},
	}}
	agent := agentWith(func(spec *TradingAgentSpec) {
		spec.Limits = &Limits{
			Order: &OrderLimits{MaxNotional: "999.99", MinNotional: "30"},
			Agent: &AgentLimits{MaxTradesPerDay: new(int32(9)), MaxDailyLossFraction: "0.01", StopCoolDownSeconds: 60},
		}
	})
	settings, values := Resolve(agent, policy)

	want := map[string]EffectiveValue{
		"trading":                           {Value: "ReduceOnly", Source: SourceRiskPolicy},
		"decision.intervalSeconds":          {Value: "300", Source: SourceDefault},
		"limits.order.maxNotional":          {Value: "999.99", Source: SourceSpec},
		"limits.agent.maxTradesPerDay":      {Value: "3", Source: SourceRiskPolicy},
		"limits.agent.maxDrawdownFraction":  {Value: "0.10", Source: SourceRiskPolicy},
		"limits.agent.maxDailyLossFraction": {Value: "0.01", Source: SourceSpec},
		"limits.agent.maxPositionFraction":  {Value: "0.25", Source: SourceDefault},
		"limits.data.maxAgeSeconds":         {Value: "5400", Source: SourceDefault},
		"marketData.replay.speed":           {Value: "1", Source: SourceDefault},
		"decision.debate.judge.model":       {Value: "builtin/quorum", Source: SourceDefault},
		"decision.minConfidenceFraction":    {Value: "0.70", Source: SourceDefault},
		"limits.order.priceCollarFraction":  {Value: "0.02", Source: SourceDefault},
		"limits.order.maxPerSecond":         {Value: "5", Source: SourceDefault},
		"limits.agent.maxPositions":         {Value: "2", Source: SourceDefault},
		"sizing.stopFraction":               {Value: "0.02", Source: SourceDefault},
		"deletionPolicy":                    {Value: "Keep", Source: SourceDefault},
		"rollback":                          {Value: "Automatic", Source: SourceDefault},
		"progressDeadlineSeconds":           {Value: "300", Source: SourceDefault},
		"drainDeadlineSeconds":              {Value: "600", Source: SourceDefault},
		"controlPlane.staleAfterSeconds":    {Value: "60", Source: SourceDefault},
		"controlPlane.onLoss":               {Value: "Continue", Source: SourceDefault},
		"decision.direction":                {Value: "LongOnly", Source: SourceDefault},
		"decision.debate.bull.model":        {Value: "builtin/trend", Source: SourceDefault},
		"decision.debate.bear.model":        {Value: "builtin/reversion", Source: SourceDefault},
		"sizing.riskFraction":               {Value: "0.01", Source: SourceDefault},

		"limits.order.minNotional":                {Value: "30", Source: SourceSpec},
		"limits.agent.maxLeverage":                {Value: "5", Source: SourceDefault},
		"limits.agent.stopCoolDownSeconds":        {Value: "600", Source: SourceRiskPolicy},
		"limits.agent.maxCorrelatedPositions":     {Value: "2", Source: SourceDefault},
		"limits.agent.correlationFraction":        {Value: "0.7", Source: SourceDefault},
		"limits.agent.maxValueAtRiskFraction":     {Value: "0.05", Source: SourceDefault},
		"limits.agent.maxVolatilityFraction":      {Value: "0.05", Source: SourceDefault},
		"limits.agent.volatileConfidenceFraction": {Value: "0.80", Source: SourceDefault},
		"limits.agent.automaticExitWindowSeconds": {Value: "86400", Source: SourceDefault},
		"total.maxGrossNotional":                  {Value: "5000", Source: SourceRiskPolicy},
		"restrictedPairs":                         {Value: "BTC-USD, ETH-USD", Source: SourceRiskPolicy},
	}
	if len(values) != len(want) {
		t.Errorf("%d values resolved, want %d", len(values), len(want))
	}
	for _, value := range values {
		if expected := want[value.Field]; expected.Value != value.Value || expected.Source != value.Source {
			t.Errorf("%s = %s from %s, want %s from %s", value.Field, value.Value, value.Source, expected.Value, expected.Source)
		}
	}
	if settings.Limits.MaxNotional != "999.99" || settings.Trading != TradingReduceOnly {
		t.Errorf("settings are %+v", settings)
	}
	if without, _ := Resolve(agent, nil); without.Trading != TradingReduceOnly {
		t.Errorf("without a policy the agent may trade %s, want ReduceOnly", without.Trading)
	}
}

func TestResolvePairs(t *testing.T) {
	first, second := pair("eur-usd", "EUR", "USD", 0), pair("btc-usd", "BTC", "USD", 0)
	second.Spec.MinNotional = "10"
	got := ResolvePairs([]*AssetPair{&first, nil, &second})
	want := []EffectiveValue{
		{Field: "pairs[EUR-USD].tickSize", Value: "0.01", Source: SourceAssetPair},
		{Field: "pairs[EUR-USD].lotSize", Value: "0.0001", Source: SourceAssetPair},
		{Field: "pairs[BTC-USD].tickSize", Value: "0.01", Source: SourceAssetPair},
		{Field: "pairs[BTC-USD].lotSize", Value: "0.0001", Source: SourceAssetPair},
		{Field: "pairs[BTC-USD].minNotional", Value: "10", Source: SourceAssetPair},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

// A status that resolves everything for as many pairs as an agent may have must
// be one that the schema lets through.
func TestEffectiveFitsTheSchema(t *testing.T) {
	agent := agentWith(func(spec *TradingAgentSpec) {
		spec.MarketData = MarketDataSpec{Source: DataSourceCoinbase}
		spec.Sizing = &SizingSpec{TargetFraction: "0.1"}
	})
	policy := &RiskPolicy{Spec: RiskPolicySpec{Order: OrderLimits{MaxNotional: "1"}, Agent: AgentLimits{MaxDailyLossFraction: "0.1"}}}
	_, values := Resolve(agent, policy)
	const pairs, perPair, bound = 16, 3, 96
	if most := len(values) + pairs*perPair; most > bound {
		t.Errorf("status.effective may have %d entries, and its MaxItems is %d", most, bound)
	}
}

func TestValidators(t *testing.T) {
	policy := &RiskPolicy{ObjectMeta: metav1.ObjectMeta{Name: "careful"}, Spec: RiskPolicySpec{Currency: "USD", Order: OrderLimits{MaxNotional: "1000"}, Agent: AgentLimits{MaxTradesPerDay: new(int32(5))}}}
	paper := &TradingAccount{ObjectMeta: metav1.ObjectMeta{Name: "paper"}, Spec: TradingAccountSpec{Venue: VenuePaper, Paper: &PaperAccountSpec{Currency: "USD", Balance: "10000"}}}
	pairs := []AssetPair{pair("eur-usd", "EUR", "USD", time.Hour), pair("btc-eur", "BTC", "EUR", time.Hour)}
	other := agentWith(func(spec *TradingAgentSpec) { spec.AssetPairs = []AssetPairSelector{{Name: "EURUSD"}} })
	other.Name = "other"

	cases := map[string]struct {
		got  string
		want string
	}{
		"same pair twice": {ValidateTradingAgent(agentWith(func(s *TradingAgentSpec) {
			s.AssetPairs = []AssetPairSelector{{Name: "eur-usd"}, {Name: "EUR/USD"}}
		})).ToAggregate().Error(), `spec.assetPairs[1].name: Invalid value: "EUR/USD": is the same pair as "eur-usd"`},
		"fraction above one": {ValidateTradingAgent(agentWith(func(s *TradingAgentSpec) {
			s.Decision = &DecisionSpec{MinConfidenceFraction: "1.5"}
		})).ToAggregate().Error(), "spec.decision.minConfidenceFraction"},
		"zero stop": {ValidateTradingAgent(agentWith(func(s *TradingAgentSpec) {
			s.Sizing = &SizingSpec{StopFraction: "0.0"}
		})).ToAggregate().Error(), "spec.sizing.stopFraction"},
		"live on paper": {ValidateMode(agentWith(func(s *TradingAgentSpec) { s.Mode = ModeLive }), paper).ToAggregate().Error(), "spec.mode"},
		"looser notional": {ValidateTighter(&Limits{Order: &OrderLimits{MaxNotional: "1000.01"}}, policy).ToAggregate().Error(),
			`spec.limits.order.maxNotional: Invalid value: "1000.01": would loosen RiskPolicy "careful", which allows 1000`},
		"looser count":  {ValidateTighter(&Limits{Agent: &AgentLimits{MaxTradesPerDay: new(int32(6))}}, policy).ToAggregate().Error(), "spec.limits.agent.maxTradesPerDay"},
		"quote differs": {ValidateCurrencies(agentWith(func(s *TradingAgentSpec) { s.AssetPairs = []AssetPairSelector{{Name: "BTC-EUR"}} }), paper, policy, pairs).ToAggregate().Error(), "quoted in EUR"},
		"pair taken":    {ValidateUniquePairs(agentWith(nil), []TradingAgent{*other}, pairs).ToAggregate().Error(), `is traded by agent "other"`},
		"alias taken":   {ValidateAssetPair(new(pair("new", "XBT", "USD", 0, "EUR/USD")), pairs, false).ToAggregate().Error(), `spec.aliases[0]: Invalid value: "EUR/USD": is a name of AssetPair "eur-usd"`},
		"zero tick": {ValidateAssetPair(func() *AssetPair {
			p := pair("new", "XBT", "USD", 0)
			p.Spec.TickSize = "0.00"
			return &p
		}(), pairs, false).ToAggregate().Error(), "spec.tickSize"},
	}
	for name, c := range cases {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%s: %q does not contain %q", name, c.got, c.want)
		}
	}

	if errs := ValidateTradingAgent(agentWith(nil)); len(errs) != 0 {
		t.Errorf("a correct agent is refused: %v", errs)
	}
	if errs := ValidateTighter(&Limits{Order: &OrderLimits{MaxNotional: "1000.00"}}, policy); len(errs) != 0 {
		t.Errorf("an equal limit is refused: %v", errs)
	}
	older := pair("older", "XBT", "USD", 2*time.Hour, "BTC-USD")
	younger := pair("younger", "BTC", "USD", time.Hour)
	if errs := ValidateAssetPair(&older, []AssetPair{younger}, true); len(errs) != 0 {
		t.Errorf("the older of two colliding pairs is refused: %v", errs)
	}
	if errs := ValidateAssetPair(&younger, []AssetPair{older}, true); len(errs) == 0 {
		t.Error("the younger of two colliding pairs is accepted")
	}
}

func TestReasonsAreUniqueWords(t *testing.T) {
	seen := map[string]bool{}
	for _, reason := range Reasons() {
		if seen[reason.Word] {
			t.Errorf("reason %s stands twice", reason.Word)
		}
		seen[reason.Word] = true
		if reason.Meaning == "" || strings.Trim(reason.Word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("reason %q needs a meaning and must be one PascalCase word", reason.Word)
		}
	}
}
