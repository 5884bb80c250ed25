package admission_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// Halts and the operator's lead are taken before the rest of what a desk wants of
// its API server. It says in each answer which FlowSchema a request was taken by.
func TestWhatIsTakenFirst(t *testing.T) {
	schemas, err := testbench.Objects("../../config/flowcontrol/halts.yaml", "../../config/flowcontrol/leader_election.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, schema := range schemas {
		create(t, schema)
		names[string(schema.GetUID())] = schema.GetName()
		level, _, _ := unstructured.NestedString(schema.Object, "spec", "priorityLevelConfiguration", "name")
		if err := server.Client.Get(t.Context(), client.ObjectKey{Name: level}, &flowcontrolv1.PriorityLevelConfiguration{}); err != nil {
			t.Errorf("%s names a level that Kubernetes does not come with: %v", schema.GetName(), err)
		}
	}
	const (
		halts    = "/apis/trading.three-rivers-tech.com/v1alpha1/"
		leases   = "/apis/coordination.k8s.io/v1/namespaces/trading-system/leases/"
		operator = "system:serviceaccount:trading-system:trading-operator"
		agent    = "system:serviceaccount:desk:alice-trader"
	)
	for name, c := range map[string]struct{ user, method, path, want string }{
		"a person's halt":                 {"alice", http.MethodPost, halts + "namespaces/desk/tradinghalts", "trading-halts"},
		"the release of one":              {"alice", http.MethodPatch, halts + "clustertradinghalts/stop", "trading-halts"},
		"an agent that asks for halts":    {agent, http.MethodGet, halts + "clustertradinghalts", "trading-halts"},
		"an agent that asks for itself":   {agent, http.MethodGet, halts + "namespaces/desk/tradingagents/alice", ""},
		"the operator's lead":             {operator, http.MethodPut, leases + "trading-operator", "trading-operator-leader-election"},
		"somebody else who wants to lead": {agent, http.MethodPut, leases + "trading-operator", ""},
		"the operator's other work":       {operator, http.MethodGet, "/api/v1/namespaces/desk/pods", ""},
	} {
		// The API server takes schemas up some time after it has accepted them.
		got, deadline := "never asked", time.Now().Add(patience)
		for got != c.want && time.Now().Before(deadline) {
			got = names[takenBy(t, c.user, c.method, c.path)]
		}
		if got != c.want {
			t.Errorf("%s is taken by %q, want %q", name, got, c.want)
		}
	}
}

// takenBy is the UID of the FlowSchema that a user's request is taken by, whatever
// its answer is.
func takenBy(t *testing.T, user, method, path string) string {
	t.Helper()
	config := rest.CopyConfig(server.Config)
	config.Impersonate.UserName = user
	config.Impersonate.Groups = []string{"system:authenticated"}
	caller, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("%s%s", config.Host, path), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := caller.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
}
