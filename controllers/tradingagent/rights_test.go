package tradingagent

import (
	"os"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// The operator's role is generated from the markers. Whatever they come to say,
// it never lists Secrets and never holds a wildcard. It may watch them only to be
// able to grant each agent the watch of its own API keys.
func TestOperatorHoldsNoMoreThanItNeeds(t *testing.T) {
	content, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal(content, &role); err != nil {
		t.Fatal(err)
	}
	if len(role.Rules) == 0 {
		t.Fatal("the role is empty")
	}
	for _, rule := range role.Rules {
		for _, words := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
			if slices.Contains(words, "*") {
				t.Errorf("a wildcard in %+v", rule)
			}
		}
		if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.Verbs, []string{"get", "watch"}) {
			t.Errorf("Secrets may be used by %v, want get and watch alone", rule.Verbs)
		}
	}
}

// An agent's own role shows it of the Secrets only that of its API keys, and lets
// it write on itself alone.
func TestAgentHoldsNoMoreThanItNeeds(t *testing.T) {
	agent := whole().agent
	for _, rule := range desiredRole(agent).Rules {
		if slices.Contains(rule.APIGroups, "") && !keysOnly(rule, agent.Name+"-api-keys") {
			t.Errorf("more of the core group than the API keys in %+v", rule)
		}
		for _, verb := range rule.Verbs {
			reads := slices.Contains([]string{"get", "list", "watch"}, verb)
			halts := verb == "create" && slices.Equal(rule.Resources, []string{"tradinghalts"})
			if !reads && !halts && !slices.Equal(rule.ResourceNames, []string{agent.Name}) {
				t.Errorf("%s on others in %+v", verb, rule)
			}
		}
	}
}

func keysOnly(rule rbacv1.PolicyRule, secret string) bool {
	return slices.Equal(rule.APIGroups, []string{""}) && slices.Equal(rule.Resources, []string{"secrets"}) &&
		slices.Equal(rule.ResourceNames, []string{secret}) && slices.Equal(rule.Verbs, []string{"get", "watch"})
}
