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
