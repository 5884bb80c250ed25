package link

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestUnknownFieldsAreRefusedWithTheNearestName(t *testing.T) {
	schemas, err := loadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ kind, manifest, want string }{
		"letters swapped":    {"TradingAgent", `spec: {tradnig: Enabled}`, `unknown field "spec.tradnig", did you mean "trading"?`},
		"a letter too few":   {"RiskPolicy", `spec: {order: {maxNotionl: "1"}}`, `unknown field "spec.order.maxNotionl", did you mean "maxNotional"?`},
		"an old name":        {"TradingAgent", `spec: {riskPolicy: careful}`, `unknown field "spec.riskPolicy", did you mean "riskPolicyRef"?`},
		"other capitals":     {"TradingAgent", `spec: {assetpairs: []}`, `unknown field "spec.assetpairs", did you mean "assetPairs"?`},
		"in a list":          {"TradingAgent", `spec: {assetPairs: [{namee: eur-usd}]}`, `unknown field "spec.assetPairs[0].namee", did you mean "name"?`},
		"at the top":         {"Ledger", `sepc: {}`, `unknown field "sepc", did you mean "spec"?`},
		"of the metadata":    {"Ledger", `metadata: {lables: {}}`, `unknown field "metadata.lables", did you mean "labels"?`},
		"near nothing":       {"Ledger", `spec: {colour: red}`, `unknown field "spec.colour"; known here are agentURISecretRef, uriSecretRef`},
		"no better than all": {"TradingAgent", `spec: {accountRef: {x: y}}`, `unknown field "spec.accountRef.x"; known here are name`},
	} {
		t.Run(name, func(t *testing.T) {
			object := map[string]any{}
			if err := yaml.Unmarshal([]byte(c.manifest), &object); err != nil {
				t.Fatal(err)
			}
			if err := schemas[c.kind].check(t.Context(), object); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %s, got %v", c.want, err)
			}
		})
	}
}

func TestEditDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"", "abc"}: 3, {"abc", ""}: 3, {"kitten", "sitting"}: 3, {"trading", "tradnig"}: 2, {"same", "same"}: 0,
	} {
		if got := editDistance(pair[0], pair[1]); got != want {
			t.Errorf("%q to %q: want %d, got %d", pair[0], pair[1], want, got)
		}
	}
}
