package tradingagent

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestDesiredObjects(t *testing.T) {
	s := whole()
	s.hash = "0123456789abcdef"
	venue := atVenue()
	settle(venue)
	venue.hash, venue.gateway = s.hash, "https://gateway.example/a$b"
	objects := map[string]client.Object{
		"pod.yaml":             desiredPod(s),
		"pod_at_venue.yaml":    desiredPod(venue),
		"budget.yaml":          desiredBudget(s.agent),
		"revision.yaml":        desiredRevision(s.agent, s.wanted, 3),
		"service_account.yaml": desiredServiceAccount(s.agent),
		"role.yaml":            desiredRole(s.agent),
		"role_binding.yaml":    desiredRoleBinding(s.agent),
	}
	for name, object := range objects {
		t.Run(name, func(t *testing.T) {
			got, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := fs.ReadFile(os.DirFS("testdata"), name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s; if that is meant, run go test -update\n%s", file, got)
			}
		})
	}
}

func TestTemplateHash(t *testing.T) {
	reference := whole().hash
	for _, test := range []struct {
		name     string
		change   func(*scope)
		restarts bool
	}{
		{"nothing", func(*scope) {}, false},
		{"limits", func(s *scope) {
			s.agent.Spec.Limits = &v1alpha1.Limits{Agent: &v1alpha1.AgentLimits{MaxTradesPerDay: new(int32(1))}}
		}, false},
		{"trading", func(s *scope) { s.agent.Spec.Trading = v1alpha1.TradingHalted }, false},
		{"deletionPolicy", func(s *scope) { s.agent.Spec.DeletionPolicy = v1alpha1.DeletionKeep }, false},
		{"riskPolicyRef", func(s *scope) { s.agent.Spec.RiskPolicyRef.Name = "other" }, false},
		{"the policy's limits", func(s *scope) { s.policy.Spec.Order.MaxNotional = "1" }, false},
		{"annotations", func(s *scope) { s.agent.Annotations = map[string]string{"a": "b"} }, false},
		{"an alias of the pair", func(s *scope) { s.pairs[0].Spec.Aliases = []string{"FIBER"} }, false},
		{"mode", func(s *scope) { s.agent.Spec.Mode = v1alpha1.ModeLive }, true},
		{"assetPairs", func(s *scope) { s.agent.Spec.AssetPairs[0].Name = "eurusd" }, true},
		{"decision", func(s *scope) { s.agent.Spec.Decision = &v1alpha1.DecisionSpec{IntervalSeconds: 60} }, true},
		{"sizing", func(s *scope) { s.agent.Spec.Sizing = &v1alpha1.SizingSpec{RiskFraction: "0.02"} }, true},
		{"marketData", func(s *scope) { s.agent.Spec.MarketData.Replay.Speed = 60 }, true},
		{"image", func(s *scope) { s.agent.Spec.Image = "registry.example/trading-agent:2" }, true},
		{"how it is rolled back", func(s *scope) { s.agent.Spec.Rollback = v1alpha1.RollbackManual }, false},
		{"its deadlines", func(s *scope) { s.agent.Spec.ProgressDeadlineSeconds, s.agent.Spec.DrainDeadlineSeconds = 60, 60 }, false},
		{"another account of that name", func(s *scope) { s.account.UID = "other" }, true},
		{"the account's fees", func(s *scope) { s.account.Spec.Paper.TakerFeeFraction = "0.001" }, true},
		{"another ledger of that name", func(s *scope) { s.ledger.UID = "other" }, true},
		{"the ledger's secret", func(s *scope) { s.ledger.Spec.URISecretRef.Name = "other" }, true},
		{"a secret of the agents' own", func(s *scope) {
			s.ledger.Spec.AgentURISecretRef = &v1alpha1.SecretKeyReference{Name: "agents", Key: "uri"}
		}, true},
		{"another pair of that name", func(s *scope) { s.pairs[0].UID = "other" }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := whole()
			test.change(s)
			settle(s)
			if (s.hash != reference) != test.restarts {
				t.Errorf("restarts: %v, want %v", s.hash != reference, test.restarts)
			}
		})
	}
}

// A key that is rotated in its Secret restarts nobody; another Secret does, and
// how the operator reaches the venue does not.
func TestTemplateHashAtAVenue(t *testing.T) {
	reference := atVenue()
	settle(reference)
	for name, test := range map[string]struct {
		change   func(*scope)
		restarts bool
	}{
		"another Secret":  {func(s *scope) { s.account.Spec.Coinbase.CredentialsRef.Name = "other" }, true},
		"another gateway": {func(s *scope) { s.gateway = "https://gateway.example" }, false},
		"a total limit": {func(s *scope) {
			s.account.Spec.Total = &v1alpha1.TotalLimits{MaxGrossNotional: "1"}
		}, false},
	} {
		s := atVenue()
		test.change(s)
		settle(s)
		if (s.hash != reference.hash) != test.restarts {
			t.Errorf("%s: restarts: %v, want %v", name, s.hash != reference.hash, test.restarts)
		}
	}
}

// Names of children must fit where the longest allowed agent name goes.
func TestChildNameFits(t *testing.T) {
	agent := whole().agent
	agent.Name = string(bytes.Repeat([]byte("a"), 52))
	if name := ChildName(agent); len(name) > 63 {
		t.Errorf("%s has %d characters", name, len(name))
	}
}
