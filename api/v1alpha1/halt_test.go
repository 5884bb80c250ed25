package v1alpha1

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func haltWith(scope HaltScope, edit func(*TradingHaltSpec)) *TradingHalt {
	halt := &TradingHalt{
		ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "stop"},
		Spec:       TradingHaltSpec{State: HaltHalted, Scope: scope, Reason: "a test", RequestedBy: "ada"},
	}
	if edit != nil {
		edit(&halt.Spec)
	}
	return halt
}

func TestHaltBinds(t *testing.T) {
	account := &TradingAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "paper"}, Spec: TradingAccountSpec{Venue: VenuePaper}}
	pairs := []AssetPair{pair("eur-usd", "EUR", "USD", time.Hour, "EURO-DOLLAR"), pair("gbp-usd", "GBP", "USD", time.Hour)}
	agent := agentWith(func(spec *TradingAgentSpec) {
		spec.AssetPairs = []AssetPairSelector{{Name: "EUR/USD"}, {Name: "xau-usd"}}
	})
	agent.Labels = map[string]string{"team": "eur", "tier": "1"}
	for name, c := range map[string]struct {
		scope HaltScope
		want  bool
		pairs string
	}{
		"everything":                  {HaltScope{Type: HaltEverything}, true, ""},
		"the agent":                   {HaltScope{Type: HaltAgent, Name: "eur-trend"}, true, ""},
		"another agent":               {HaltScope{Type: HaltAgent, Name: "eur"}, false, ""},
		"its labels":                  {HaltScope{Type: HaltAgent, Selector: "team=eur,tier=1"}, true, ""},
		"labels of which it has some": {HaltScope{Type: HaltAgent, Selector: "team=eur,tier=2"}, false, ""},
		"labels that cannot be read":  {HaltScope{Type: HaltAgent, Selector: "team=(eur"}, true, ""},
		"its policy":                  {HaltScope{Type: HaltRiskPolicy, Name: "careful"}, true, ""},
		"another policy":              {HaltScope{Type: HaltRiskPolicy, Name: "bold"}, false, ""},
		"its account":                 {HaltScope{Type: HaltTradingAccount, Name: "paper"}, true, ""},
		"another account":             {HaltScope{Type: HaltTradingAccount, Name: "live"}, false, ""},
		"its venue":                   {HaltScope{Type: HaltVenue, Name: "Paper"}, true, ""},
		"its venue in small letters":  {HaltScope{Type: HaltVenue, Name: "paper"}, true, ""},
		"another venue":               {HaltScope{Type: HaltVenue, Name: "Coinbase"}, false, ""},
		"its pair":                    {HaltScope{Type: HaltAssetPair, Name: "eur-usd"}, true, "EUR-USD"},
		"its pair by an alias":        {HaltScope{Type: HaltAssetPair, Name: "eurodollar"}, true, "EUR-USD"},
		"its pair joined":             {HaltScope{Type: HaltAssetPair, Name: "EURUSD"}, true, "EUR-USD"},
		"another's pair":              {HaltScope{Type: HaltAssetPair, Name: "GBP-USD"}, false, ""},
		"a pair nobody declares":      {HaltScope{Type: HaltAssetPair, Name: "XAUUSD"}, true, ""},
		"a model by default":          {HaltScope{Type: HaltModel, Name: "builtin/trend"}, true, ""},
		"a model it does not use":     {HaltScope{Type: HaltModel, Name: "gpt"}, false, ""},
		"a kind of a later release":   {HaltScope{Type: "Galaxy", Name: "andromeda"}, true, ""},
	} {
		got := HaltBinds(haltWith(c.scope, nil), agent, account, pairs)
		if got.Bound != c.want || strings.Join(got.Pairs, ",") != c.pairs {
			t.Errorf("%s: %+v, want %v %s", name, got, c.want, c.pairs)
		}
	}
}

// A manifest that is gone makes no halt miss the agent: by its references it is
// found all the same, and at which venue it trades is not known.
func TestHaltBindsWithoutAnAccount(t *testing.T) {
	agent := agentWith(nil)
	for name, c := range map[string]struct {
		scope HaltScope
		want  bool
	}{
		"a venue":         {HaltScope{Type: HaltVenue, Name: "Coinbase"}, true},
		"its account":     {HaltScope{Type: HaltTradingAccount, Name: "paper"}, true},
		"another account": {HaltScope{Type: HaltTradingAccount, Name: "live"}, false},
		"its policy":      {HaltScope{Type: HaltRiskPolicy, Name: "careful"}, true},
		"its pair":        {HaltScope{Type: HaltAssetPair, Name: "EUR/USD"}, true},
		"its model":       {HaltScope{Type: HaltModel, Name: "builtin/trend"}, true},
	} {
		if got := HaltBinds(haltWith(c.scope, nil), agent, nil, nil); got.Bound != c.want {
			t.Errorf("%s: %+v, want %v", name, got, c.want)
		}
	}
}

// What has bound an agent once binds it on, in the pairs that were meant.
func TestHaltHolds(t *testing.T) {
	pairs := []AssetPair{pair("eur-usd", "EUR", "USD", time.Hour), pair("gbp-usd", "GBP", "USD", time.Hour)}
	agent := agentWith(func(spec *TradingAgentSpec) { spec.AssetPairs = []AssetPairSelector{{Name: "EUR/USD"}} })
	for name, c := range map[string]struct {
		scope HaltScope
		pairs string
	}{
		"labels that it has lost":       {HaltScope{Type: HaltAgent, Selector: "team=eur"}, ""},
		"a policy that it has left":     {HaltScope{Type: HaltRiskPolicy, Name: "bold"}, ""},
		"its pair":                      {HaltScope{Type: HaltAssetPair, Name: "eurusd"}, "EUR-USD"},
		"a pair that it trades no more": {HaltScope{Type: HaltAssetPair, Name: "gbp/usd"}, "GBP-USD"},
		"a pair that nobody declares":   {HaltScope{Type: HaltAssetPair, Name: "XAUUSD"}, ""},
	} {
		got := HaltHolds(haltWith(c.scope, nil), agent, nil, pairs)
		if !got.Bound || strings.Join(got.Pairs, ",") != c.pairs {
			t.Errorf("%s: %+v, want %q", name, got, c.pairs)
		}
	}
	halt := haltWith(HaltScope{Type: HaltEverything}, nil)
	halt.UID = "halt-uid"
	if HaltTold(halt, agent) {
		t.Error("nobody has told of the halt")
	}
	agent.Status.Trading = &TradingStatus{Halts: []HaltAcknowledgement{{UID: "other"}, {UID: "halt-uid"}}}
	if !HaltTold(halt, agent) {
		t.Error("a process has told of the halt")
	}
}

func TestHaltsReach(t *testing.T) {
	agent := agentWith(nil)
	elsewhere := haltWith(HaltScope{Type: HaltEverything}, nil)
	elsewhere.Namespace = "other"
	if HaltBinds(elsewhere, agent, nil, nil).Bound {
		t.Error("a halt binds an agent of another namespace")
	}
	cluster := &ClusterTradingHalt{Spec: elsewhere.Spec}
	if !HaltBinds(cluster, agent, nil, nil).Bound {
		t.Error("a halt of the cluster binds nobody")
	}
	drill := haltWith(HaltScope{Type: HaltEverything}, func(spec *TradingHaltSpec) { spec.Drill = DrillPaper })
	if !HaltBinds(drill, agent, nil, nil).Bound {
		t.Error("a drill binds no agent of mode Paper")
	}
	agent.Spec.Mode = ModeLive
	if HaltBinds(drill, agent, nil, nil).Bound {
		t.Error("a drill binds an agent whose orders cost money")
	}
}

func TestHaltDefaults(t *testing.T) {
	for name, c := range map[string]struct {
		edit     func(*TradingHaltSpec)
		trading  TradingState
		task     HaltTask
		deadline time.Duration
	}{
		"nothing set":   {nil, TradingHalted, HaltCancelOrders, 10 * time.Second},
		"all set":       {func(s *TradingHaltSpec) { s.State, s.Task, s.DeadlineSeconds = HaltReduceOnly, HaltFlatten, 3 }, TradingReduceOnly, HaltFlatten, 3 * time.Second},
		"orders kept":   {func(s *TradingHaltSpec) { s.Task = HaltKeep }, TradingHalted, HaltKeep, 10 * time.Second},
		"unknown words": {func(s *TradingHaltSpec) { s.State, s.Task = "Frozen", "Explode" }, TradingHalted, HaltCancelOrders, 10 * time.Second},
	} {
		spec := &haltWith(HaltScope{Type: HaltEverything}, c.edit).Spec
		if spec.Trading() != c.trading || spec.EffectiveTask() != c.task || spec.Deadline() != c.deadline {
			t.Errorf("%s: %s %s %s", name, spec.Trading(), spec.EffectiveTask(), spec.Deadline())
		}
	}
}

// The oldest halt comes first, whatever its kind, and one that is released warns
// nobody.
func TestHaltsBinding(t *testing.T) {
	older := haltWith(HaltScope{Type: HaltEverything}, nil)
	older.Name, older.UID, older.CreationTimestamp = "older", "2", metav1.NewTime(time.Unix(100, 0))
	cluster := &ClusterTradingHalt{ObjectMeta: metav1.ObjectMeta{Name: "all", UID: "1", CreationTimestamp: metav1.NewTime(time.Unix(200, 0))}, Spec: older.Spec}
	released := haltWith(HaltScope{Type: HaltEverything}, func(spec *TradingHaltSpec) { spec.Release = &HaltRelease{By: "bob", Reason: "over"} })
	halts := Halts([]TradingHalt{*released, *older}, []ClusterTradingHalt{*cluster})
	binding, sentence := HaltsBinding(halts, agentWith(nil), nil, nil)
	names := make([]string, len(binding))
	for i := range binding {
		names[i] = binding[i].Reference()
	}
	if !slices.Equal(names, []string{"TradingHalt/older", "ClusterTradingHalt/all"}) || !strings.Contains(sentence, "TradingHalt/older (Halted: a test)") {
		t.Errorf("%v: %s", names, sentence)
	}
	if _, sentence := HaltsBinding(halts[:1], agentWith(nil), nil, nil); halts[0].HaltSpec().Released() && sentence != "" {
		t.Errorf("a released halt: %s", sentence)
	}
}

func TestValidateHalt(t *testing.T) {
	for name, c := range map[string]struct {
		scope HaltScope
		want  string
	}{
		"right":           {HaltScope{Type: HaltAssetPair, Name: "BTC-USD"}, ""},
		"half a pair":     {HaltScope{Type: HaltAssetPair, Name: "BTC"}, "spec.scope.name"},
		"labels":          {HaltScope{Type: HaltAgent, Selector: "a=b"}, ""},
		"no such label":   {HaltScope{Type: HaltAgent, Selector: "/=b"}, "spec.scope.selector"},
		"no such value":   {HaltScope{Type: HaltAgent, Selector: "a=-b"}, "spec.scope.selector"},
		"the whole scope": {HaltScope{Type: HaltEverything}, ""},
	} {
		errs := ValidateHalt(&haltWith(c.scope, nil).Spec)
		if (len(errs) > 0) != (c.want != "") || c.want != "" && errs[0].Field != c.want {
			t.Errorf("%s: %v", name, errs)
		}
	}
}
