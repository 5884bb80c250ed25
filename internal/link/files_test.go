package link

import (
	"os"
	"strings"
	"testing"
)

const samples = "../../config/samples"

func TestSamplesLoad(t *testing.T) {
	manifests, err := LoadFiles(t.Context(), []string{samples})
	if err != nil {
		t.Fatal(err)
	}
	for i := range manifests.Agents {
		desk, err := manifests.Desk(&manifests.Agents[i])
		if err != nil {
			t.Errorf("%s: %v", manifests.Agents[i].Name, err)
			continue
		}
		if desk.Account == nil || desk.Policy == nil || desk.Ledger == nil || len(desk.Pairs) != len(desk.Agent.Spec.AssetPairs) {
			t.Errorf("%s: the desk is incomplete: %+v", desk.Agent.Name, desk)
		}
	}
}

// TestWrongFilesAreRefused changes the samples in one place at a time.
func TestWrongFilesAreRefused(t *testing.T) {
	cases := map[string]struct {
		file, old, new string
		want           []string
	}{
		"unknown field, near a known one": {"riskpolicy.yaml", "maxNotional:", "maxNotionl:", []string{"spec.order.maxNotionl", `did you mean "maxNotional"`}},
		"unknown field in a list":         {"tradingagents.yaml", "- name: eur-usd", "- name: eur-usd\n    namee: x", []string{"spec.assetPairs[0].namee", `did you mean "name"`}},
		"unknown field, near nothing":     {"ledger.yaml", "  uriSecretRef:", "  colour: red\n  uriSecretRef:", []string{"spec.colour", "known here are agentURISecretRef, uriSecretRef"}},
		"per cent for a fraction":         {"riskpolicy.yaml", `"0.15"`, `"1.5"`, []string{"spec.agent.maxDrawdownFraction", `two per cent is "0.02"`}},
		"number for a decimal string":     {"riskpolicy.yaml", `"2500"`, `2500`, []string{"spec.order.maxNotional", "must be of type string"}},
		"negative limit":                  {"riskpolicy.yaml", `"2500"`, `"-5"`, []string{"spec.order.maxNotional"}},
		"Cyrillic pair":                   {"tradingagents.yaml", "- name: eur-usd", "- name: еur-usd", []string{"spec.assetPairs[0].name", "not ASCII"}},
		"derivatives notation":            {"tradingagents.yaml", "- name: eur-usd", "- name: EUR/USD:USD", []string{"spec.assetPairs[0].name", "derivatives notation"}},
		"Live on a recording":             {"tradingagents.yaml", "mode: Paper", "mode: Live", []string{"spec.marketData.source", "is a recording"}},
		"Live without a word on its loss": {"tradingagents.yaml", "mode: Paper", "mode: Live", []string{"controlPlane.onLoss is required when mode is Live"}},
		"missing policy":                  {"tradingagents.yaml", "name: careful", "name: reckless", []string{`RiskPolicy "reckless"`}},
		"missing pair":                    {"tradingagents.yaml", "- name: eur-usd", "- name: gbp-usd", []string{`AssetPair "gbp-usd"`}},
		"duplicate key":                   {"ledger.yaml", "spec:", "spec: {}\nspec:", []string{"spec"}},
		"a limit that never allows":       {"riskpolicy.yaml", `"2500"`, `"0.5"`, []string{`RiskPolicy "careful" spec.order.maxNotional`, `below the minNotional "1" of AssetPair "eur-usd"`}},
		"unknown kind":                    {"ledger.yaml", "kind: Ledger", "kind: Leger", []string{`"Leger" is not a kind`}},
		"unknown version":                 {"ledger.yaml", "/v1alpha1", "/v1", []string{"this binary knows"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(samples)); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(folder)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = root.Close() }()
			text, err := root.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(text), c.old, c.new, 1)
			if changed == string(text) {
				t.Fatalf("%s has no %q to change", c.file, c.old)
			}
			if err := root.WriteFile(c.file, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			manifests, err := LoadFiles(t.Context(), []string{folder})
			for i := range manifests.Agents {
				if err == nil {
					_, err = manifests.Desk(&manifests.Agents[i])
				}
			}
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}
