package main

import (
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func podMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, meta.RESTScopeNamespace)
	mapper.Add(v1alpha1.GroupVersion.WithKind("TradingAgent"), meta.RESTScopeNamespace)
	return mapper
}

// No two agents of one account may trade the same pair, or the operator refuses
// one of them and the benchmark waits for ever.
func TestAgentsShareNoPairOnAnAccount(t *testing.T) {
	s := shape{agents: 250, pairs: 16, policies: 10}
	accounts, taken := map[string]bool{}, map[string]bool{}
	for i := range s.agents {
		spec := agent(s, i).Spec
		account := agent(s, i).Namespace + " " + spec.AccountRef.Name
		key := account + " " + spec.AssetPairs[0].Name
		if taken[key] {
			t.Errorf("two agents trade %s", key)
		}
		taken[key] = true
		accounts[account] = true
	}
	// The last of three desks has half of its seats empty.
	if want := 2*s.accounts() + 4; len(accounts) != want {
		t.Errorf("%d accounts are used, want %d", len(accounts), want)
	}
	if want := 2 + 3 + 7 + 16; len(furniture(s, 2, "postgres://x")) != want {
		t.Errorf("the furniture is %d objects, want %d", len(furniture(s, 2, "postgres://x")), want)
	}
}

// The benchmark waits for as many agents as a policy binds.
func TestEveryAgentHasItsDesksPolicy(t *testing.T) {
	for _, s := range []shape{{agents: 30, pairs: 16, policies: 100}, {agents: 250, pairs: 16, policies: 10}, {agents: 10000, pairs: 16, policies: 100}} {
		bound := map[string]int{}
		for i := range s.agents {
			bound[agent(s, i).Spec.RiskPolicyRef.Name]++
		}
		for i := range s.allPolicies() {
			if meta := s.policyMeta(i); bound[meta.Name] != s.boundBy(i) {
				t.Errorf("%d agents: %s binds %d, counted as %d", s.agents, meta.Name, bound[meta.Name], s.boundBy(i))
			}
			delete(bound, s.policyMeta(i).Name)
		}
		if len(bound) > 0 {
			t.Errorf("%d agents: nobody created the policies %v", s.agents, bound)
		}
	}
}

func TestManifestsAreTheOperators(t *testing.T) {
	config := filepath.Join("..", "..", "config")
	found, err := manifestsIn(filepath.Join(config, "rbac"), filepath.Join(config, "nowhere"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, object := range found {
		kinds[object.GetObjectKind().GroupVersionKind().Kind]++
	}
	if kinds["ServiceAccount"] == 0 || kinds["ClusterRole"] == 0 || kinds["ClusterRoleBinding"] == 0 || kinds["Kustomization"] != 0 {
		t.Errorf("config/rbac holds %v", kinds)
	}
}

func TestSizes(t *testing.T) {
	got, err := parseSizes("100, 1000")
	if err != nil || len(got) != 2 || got[0] != 100 || got[1] != 1000 {
		t.Errorf("parsed %v, %v", got, err)
	}
	for _, wrong := range []string{"", "x", "100,", "0", "-5"} {
		if _, err := parseSizes(wrong); err == nil {
			t.Errorf("%q was accepted", wrong)
		}
	}
}
