package link

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func stopping(uid string, scope v1alpha1.HaltScope) *v1alpha1.TradingHalt {
	return &v1alpha1.TradingHalt{
		ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: uid, UID: types.UID(uid)},
		Spec:       v1alpha1.TradingHaltSpec{State: v1alpha1.HaltHalted, Scope: scope, Reason: "a test", RequestedBy: "ada"},
	}
}

func freed(halt *v1alpha1.TradingHalt) *v1alpha1.TradingHalt {
	copied := halt.DeepCopy()
	copied.Spec.Release = &v1alpha1.HaltRelease{By: "bob", Reason: "over"}
	return copied
}

func boundBy(halts []BoundHalt) string {
	names := make([]string, len(halts))
	for i, halt := range halts {
		names[i] = halt.Name + strings.Join(halt.Pairs, "+")
	}
	return strings.Join(names, " ")
}

func labelled(labels map[string]string, halts ...v1alpha1.Halt) *Desk {
	return &Desk{Halts: halts, Agent: &v1alpha1.TradingAgent{
		ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "eur", Labels: labels},
		Spec:       v1alpha1.TradingAgentSpec{Mode: v1alpha1.ModePaper},
	}}
}

// Nothing but a release frees the agent: no deletion of the object, no edit of the
// agent, no restart, no older view of the halt.
func TestOnlyAReleaseUnlatches(t *testing.T) {
	team := map[string]string{"team": "eur"}
	stop := stopping("stop", v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=eur"})
	all := stopping("all", v1alpha1.HaltScope{Type: v1alpha1.HaltEverything})
	latch := &Latch{}
	for _, step := range []struct {
		what string
		desk *Desk
		want string
	}{
		{"nothing yet", labelled(team), ""},
		{"a halt comes", labelled(team, stop), "TradingHalt/stop"},
		{"the agent loses its label", labelled(nil, stop), "TradingHalt/stop"},
		{"the halt's object goes", labelled(nil), "TradingHalt/stop"},
		{"another comes", labelled(nil, all), "TradingHalt/stop TradingHalt/all"},
		{"the first is released", labelled(nil, freed(stop), all), "TradingHalt/all"},
		{"a slower view of the first", labelled(team, stop, all), "TradingHalt/all"},
		{"both views at once", labelled(team, stop, freed(all), all), ""},
	} {
		if got := boundBy(latch.See(step.desk)); got != step.want {
			t.Errorf("%s: bound by %q, want %q", step.what, got, step.want)
		}
	}
	restarted := &Latch{}
	restarted.Restore([]BoundHalt{{UID: "gone", Name: "TradingHalt/gone"}, {UID: "stop", Name: "TradingHalt/stop"}})
	if got := boundBy(restarted.See(labelled(nil, freed(stop)))); got != "TradingHalt/gone" {
		t.Errorf("after a restart: bound by %q", got)
	}
}

// A halt of a pair binds the pairs that it has ever bound.
func TestLatchKeepsPairs(t *testing.T) {
	latch := &Latch{}
	latch.Restore([]BoundHalt{{UID: "stop", Name: "TradingHalt/stop", Pairs: []string{"BTC-USD"}}})
	desk := labelled(nil, stopping("stop", v1alpha1.HaltScope{Type: v1alpha1.HaltAssetPair, Name: "eur-usd"}))
	desk.Agent.Spec.AssetPairs = []v1alpha1.AssetPairSelector{{Name: "EURUSD"}}
	desk.Pairs = []v1alpha1.AssetPair{{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "eur-usd"}, Spec: v1alpha1.AssetPairSpec{Base: "EUR", Quote: "USD"}}}
	if bound := latch.See(desk); len(bound) != 1 || !slices.Equal(bound[0].Pairs, []string{"BTC-USD", "EUR-USD"}) {
		t.Errorf("%+v", bound)
	}
	desk.Pairs = nil
	if bound := latch.See(desk); len(bound) != 1 || bound[0].Pairs != nil {
		t.Errorf("a pair that nobody declares binds the whole agent: %+v", bound)
	}
}

// What a former process has told binds on: the ledger may never have heard of it.
func TestAToldHaltBindsOn(t *testing.T) {
	eur := v1alpha1.AssetPair{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "eur-usd"}, Spec: v1alpha1.AssetPairSpec{Base: "EUR", Quote: "USD"}}
	team := stopping("stop", v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=eur"})
	pair := stopping("stop", v1alpha1.HaltScope{Type: v1alpha1.HaltAssetPair, Name: "eurusd"})
	for name, c := range map[string]struct {
		told     string
		halts    []v1alpha1.Halt
		declared []v1alpha1.AssetPair
		latched  []BoundHalt
		want     string
	}{
		"by its labels":                   {"stop", []v1alpha1.Halt{team}, nil, nil, "TradingHalt/stop"},
		"another halt":                    {"other", []v1alpha1.Halt{team}, nil, nil, ""},
		"released":                        {"stop", []v1alpha1.Halt{freed(team)}, nil, nil, ""},
		"released, by a slower view":      {"stop", []v1alpha1.Halt{freed(team), team}, nil, nil, ""},
		"without an object":               {"stop", nil, nil, nil, ""},
		"a pair that it trades no more":   {"stop", []v1alpha1.Halt{pair}, []v1alpha1.AssetPair{eur}, nil, "TradingHalt/stopEUR-USD"},
		"a pair that nobody declares":     {"stop", []v1alpha1.Halt{pair}, nil, nil, "TradingHalt/stop"},
		"such a pair, which is latched":   {"stop", []v1alpha1.Halt{pair}, nil, []BoundHalt{{UID: "stop", Name: "TradingHalt/stop", Pairs: []string{"EUR-USD"}}}, "TradingHalt/stopEUR-USD"},
		"a drill, after the mode changed": {"stop", []v1alpha1.Halt{drilled(stopping("stop", v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}))}, nil, nil, "TradingHalt/stop"},
	} {
		desk := labelled(nil, c.halts...)
		desk.Declared = c.declared
		desk.Agent.Spec.Mode = v1alpha1.ModeLive
		desk.Agent.Status.Trading = &v1alpha1.TradingStatus{PodUID: "of a former process", Halts: []v1alpha1.HaltAcknowledgement{{UID: c.told}}}
		latch := &Latch{}
		latch.Restore(c.latched)
		if got := boundBy(latch.See(desk)); got != c.want {
			t.Errorf("%s: bound by %q, want %q", name, got, c.want)
		}
	}
}

func drilled(halt *v1alpha1.TradingHalt) *v1alpha1.TradingHalt {
	halt.Spec.Drill = v1alpha1.DrillPaper
	return halt
}
