package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestChainsFollowTheirObject(t *testing.T) {
	recorded := []request{
		{verb: "patch", resource: "tradingagents", name: "eur", code: 200, body: []byte(`{"metadata":{"finalizers":["x"]}}`)},
		{verb: "patch", resource: "serviceaccounts", name: "eur-trader", code: 201, uri: "?force=true",
			body: []byte(`{"metadata":{"name":"eur-trader","ownerReferences":[{"name":"eur"}]}}`)},
		{verb: "create", resource: "events", code: 201, body: []byte(`{"metadata":{"name":"eur.18"},"regarding":{"name":"eur"}}`)},
		{verb: "patch", resource: "riskpolicies", sub: "status", name: "careful", code: 200, body: []byte(`{"status":{}}`)},
		{verb: "patch", resource: "tradingagents", sub: "status", name: "eur", code: 409, body: []byte(`{"status":{}}`)},
		{verb: "patch", resource: "tradingagents", name: "eur", code: 200, body: []byte(`[{"op":"remove"}]`)},
		{verb: "update", resource: "leases", name: "trading-operator", code: 200, body: []byte(`{}`)},
		{verb: "delete", resource: "pods", name: "eur-trader", code: 200, body: []byte(`{}`)},
		{verb: "get", resource: "pods", name: "eur-trader", code: 200},
	}
	got := chains(recorded)
	if len(got) != 2 || len(got["careful"]) != 1 || len(got["eur"]) != 4 {
		t.Fatalf("chains are %+v", got)
	}
	for i, want := range []string{"patch tradingagents", "apply serviceaccounts", "create events", "patch tradingagents"} {
		if kind := got["eur"][i].kind(); kind != want {
			t.Errorf("write %d is %q, want %q", i, kind, want)
		}
	}
}

// server answers every write with an object, and keeps what it was sent.
type server struct {
	mu   sync.Mutex
	seen []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := r.Header.Get("Content-Type")
	if r.URL.Path == "/api/v1/namespaces/desk/pods" {
		body = []byte("a pod") // Its encoding is not this test's.
		kind = ""
	}
	s.seen = append(s.seen, r.Method+" "+r.URL.RequestURI()+" "+kind+" "+string(body))
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"eur-trader","namespace":"desk","uid":"pod-new"}}`)
}

func newTestClient(t *testing.T, handler http.Handler) *bareClient {
	t.Helper()
	listener := httptest.NewServer(handler)
	t.Cleanup(listener.Close)
	config := &rest.Config{Host: listener.URL}
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	mapper := podMapper()
	typed, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &bareClient{typed: typed, rest: set.CoreV1().RESTClient(), admin: typed}
}

func TestFollowWritesAsRecorded(t *testing.T) {
	s := &server{}
	bare := newTestClient(t, s)
	const at = "/apis/g/v1/namespaces/desk/"
	chain := []request{
		{verb: "patch", resource: "tradingagents", uri: at + "tradingagents/eur?fieldManager=o", body: []byte(`{"metadata":{"finalizers":["x"],"resourceVersion":"7"}}`)},
		{verb: "patch", resource: "roles", uri: at + "roles/r?fieldManager=o&force=true", body: []byte(`{"metadata":{"ownerReferences":[{"uid":"agent-old"}]}}`)},
		{verb: "create", resource: "pods", uri: "/api/v1/namespaces/desk/pods", body: []byte(`{"metadata":{"name":"eur-trader","namespace":"desk"}}`)},
		{verb: "patch", resource: "tradingagents", sub: "status", uri: at + "tradingagents/eur/status", body: []byte(`{"metadata":{"resourceVersion":"8"},"status":{"podUID":"pod-old"}}`)},
		{verb: "create", resource: "events", uri: at + "events", body: []byte(`{"regarding":{"uid":"agent-old"}}`)},
		{verb: "patch", resource: "events", uri: at + "events/e", body: []byte(`{"series":{"count":2}}`)},
	}
	if err := bare.follow(t.Context(), chain, "agent-old", "agent-new"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PATCH " + at + `tradingagents/eur?fieldManager=o application/merge-patch+json {"metadata":{"finalizers":["x"]}}`,
		"PATCH " + at + `roles/r?fieldManager=o&force=true application/apply-patch+yaml {"metadata":{"ownerReferences":[{"uid":"agent-new"}]}}`,
		"POST /api/v1/namespaces/desk/pods  a pod",
		"PATCH " + at + `tradingagents/eur/status application/merge-patch+json {"metadata":{},"status":{"podUID":"pod-new"}}`,
		"POST " + at + `events application/json {"regarding":{"uid":"agent-new"}}`,
		"PATCH " + at + `events/e application/strategic-merge-patch+json {"series":{"count":2}}`,
	}
	if len(s.seen) != len(want) {
		t.Fatalf("the server saw %q", s.seen)
	}
	for i := range want {
		if s.seen[i] != want[i] {
			t.Errorf("write %d:\n got %s\nwant %s", i, s.seen[i], want[i])
		}
	}
}

func TestFollowFailsWithTheServer(t *testing.T) {
	bare := newTestClient(t, http.NotFoundHandler())
	chain := []request{{verb: "patch", resource: "roles", name: "r", uri: "/apis/g/v1/roles/r", body: []byte(`{}`)}}
	if err := bare.follow(t.Context(), chain, "", ""); err == nil {
		t.Error("a refused write is no error")
	}
	if err := bare.do(t.Context(), &request{verb: "deletecollection"}, ""); err == nil {
		t.Error("a verb that cannot be done again is no error")
	}
}

func TestRunNeedsEveryAgent(t *testing.T) {
	bare := newTestClient(t, http.NotFoundHandler())
	err := bare.run(t.Context(), shape{agents: 1, pairs: 1, policies: 1}, map[string][]request{}, map[string]types.UID{})
	if err == nil {
		t.Error("an agent that cannot be created is no error")
	}
}
