package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

var (
	apiServer  *rest.Config
	kubeconfig string
)

func TestMain(m *testing.M) {
	code, err := withAPIServer(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubectl-trading:", err)
		code = 1
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "goroutines were left:", err)
		code = 1
	}
	os.Exit(code)
}

func withAPIServer(run func() int) (code int, err error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return 1, errors.New("KUBEBUILDER_ASSETS is not set; run the tests with make test")
	}
	ctrllog.SetLogger(logr.Discard())
	environment := &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd/bases"}, ErrorIfCRDPathMissing: true}
	if apiServer, err = environment.Start(); err != nil {
		return 1, fmt.Errorf("start the API server: %w", err)
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	user, err := environment.AddUser(envtest.User{Name: "keeper", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return 1, err
	}
	text, err := user.KubeConfig()
	if err != nil {
		return 1, err
	}
	directory, err := os.MkdirTemp("", "kubectl-trading")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	kubeconfig = filepath.Join(directory, "config")
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		return 1, err
	}
	return run(), nil
}

// trading runs the plugin's own command and returns what it prints.
func trading(t *testing.T, arguments ...string) (output, told string, err error) {
	t.Helper()
	var out, beside bytes.Buffer
	root := newRootCommand()
	root.SetArgs(append([]string{"--kubeconfig", kubeconfig, "--namespace", "default"}, arguments...))
	root.SetOut(&out)
	root.SetErr(&beside)
	err = root.ExecuteContext(t.Context())
	return out.String(), beside.String(), err
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	made, err := client.New(apiServer, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// newAgent puts the sample agent into the namespace "default".
func newAgent(t *testing.T, admin client.Client, name string) *v1alpha1.TradingAgent {
	t.Helper()
	manifests, err := link.LoadFiles(t.Context(), []string{"../../config/samples"})
	if err != nil {
		t.Fatal(err)
	}
	agent := &manifests.Agents[0]
	agent.Namespace, agent.Name = "default", name
	if err := admin.Create(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: link.KeysSecret(name)}}
		for _, object := range []client.Object{agent, secret} {
			if err := client.IgnoreNotFound(admin.Delete(context.Background(), object)); err != nil {
				t.Error(err)
			}
		}
	})
	return agent
}

func secretOf(t *testing.T, admin client.Client, agent string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := admin.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: link.KeysSecret(agent)}, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// opens is whether a key is let in by what the Secret holds.
func opens(t *testing.T, admin client.Client, agent, key string) bool {
	t.Helper()
	keyring := keys.NewKeyring(keys.Options{})
	defer keyring.Stop()
	if err := keyring.Load(secretOf(t, admin, agent).Data); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://host/", nil)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(key))
	_, err := keyring.Authenticate(r)
	return err == nil
}

func TestKeysFromCreationToRevocation(t *testing.T) {
	admin := newClient(t)
	agent := newAgent(t, admin, "keyed")
	first, told, err := trading(t, "keys", "create", "keyed", "--name", "dashboard", "--expires-in", "24h")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first, "ta_") || strings.Count(first, "\n") != 1 || !strings.Contains(told, "not shown again") || strings.Contains(told, strings.TrimSpace(first)) {
		t.Errorf("standard output has %q and beside it stands %q", first, told)
	}
	if !opens(t, admin, "keyed", first) {
		t.Error("the key does not open")
	}
	secret := secretOf(t, admin, "keyed")
	if owners := secret.OwnerReferences; len(owners) != 1 || owners[0].UID != agent.UID {
		t.Errorf("the Secret would outlive its agent: %+v", owners)
	}
	if strings.Contains(fmt.Sprintf("%s", secret.Data), strings.TrimSpace(first)[12:]) {
		t.Error("the Secret holds the key itself")
	}
	second, _, err := trading(t, "keys", "rotate", "keyed", "dashboard", "--grace", "1h")
	if err != nil || !opens(t, admin, "keyed", first) || !opens(t, admin, "keyed", second) {
		t.Errorf("during the grace both keys open: %v", err)
	}
	if third, _, err := trading(t, "keys", "create", "keyed", "--name", "closer", "--scope", "trade"); err != nil || !opens(t, admin, "keyed", third) {
		t.Errorf("a second name: %v", err)
	}
	list, told, err := trading(t, "keys", "list", "keyed")
	if err != nil || strings.Count(list, "\n") != 4 || !strings.Contains(list, "trade") || !strings.Contains(list, "unknown") || !strings.Contains(told, "the agent has no pod") {
		t.Errorf("%v\n%s%s", err, list, told)
	}
	if output, _, err := trading(t, "keys", "revoke", "keyed", "dashboard"); err != nil || strings.Count(output, ",") != 1 {
		t.Errorf("revoking: %q, %v", output, err)
	}
	if opens(t, admin, "keyed", first) || opens(t, admin, "keyed", second) {
		t.Error("a revoked key opens")
	}
	output, _, err := trading(t, "keys", "list", "keyed", "-o", "json")
	var listed []struct {
		Name string `json:"name"`
	}
	if jsonErr := json.Unmarshal([]byte(output), &listed); err != nil || jsonErr != nil || len(listed) != 1 || listed[0].Name != "closer" {
		t.Errorf("%v %v\n%s", err, jsonErr, output)
	}
}

func TestWrongCommandsSayWhatToChange(t *testing.T) {
	admin := newClient(t)
	newAgent(t, admin, "wronged")
	if _, _, err := trading(t, "keys", "create", "wronged", "--name", "taken"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"no such agent": {[]string{"create", "nobody", "--name", "a"}, `"nobody" not found`},
		"no agent":      {[]string{"create", "--name", "a"}, "accepts 1 arg"},
		"no name":       {[]string{"create", "wronged"}, `"name" not set`},
		"name in use":   {[]string{"create", "wronged", "--name", "taken"}, "rotate or revoke it"},
		"unknown scope": {[]string{"create", "wronged", "--name", "a", "--scope", "write"}, "read, trade or admin"},
		"unknown key":   {[]string{"revoke", "wronged", "another"}, `no key "another"`},
		"output":        {[]string{"list", "wronged", "-o", "yaml"}, "text or json"},
	} {
		if _, _, err := trading(t, append([]string{"keys"}, c.arguments...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error %v does not say %q", name, err, c.want)
		}
	}
}

func TestNobodysKeyIsLost(t *testing.T) {
	admin := newClient(t)
	newAgent(t, admin, "busy")
	var wait sync.WaitGroup
	var mu sync.Mutex
	var made []string
	for i := range 4 {
		wait.Go(func() {
			key, _, err := trading(t, "keys", "create", "busy", "--name", fmt.Sprintf("key-%d", i))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			made = append(made, key)
			mu.Unlock()
		})
	}
	wait.Wait()
	for _, key := range made {
		if !opens(t, admin, "busy", key) {
			t.Errorf("one of %d keys made at once is lost", len(made))
		}
	}
}

func TestEntriesOfOthersStay(t *testing.T) {
	admin := newClient(t)
	agent := newAgent(t, admin, "newer")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: link.KeysSecret("newer"), Annotations: map[string]string{"team": "desk"}},
		Data:       map[string][]byte{"abcdefgh": []byte(`{"of":"a later release"}`)},
	}
	if err := admin.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if _, _, err := trading(t, "keys", "create", "newer", "--name", "mine"); err != nil {
		t.Fatal(err)
	}
	kept := secretOf(t, admin, "newer")
	if len(kept.Data) != 2 || string(kept.Data["abcdefgh"]) != `{"of":"a later release"}` || kept.Annotations["team"] != "desk" || len(kept.OwnerReferences) != 0 {
		t.Errorf("the Secret became %+v", kept)
	}
	_, told, err := trading(t, "keys", "list", "newer")
	if err != nil || !strings.Contains(told, `these keys let nobody in: key "abcdefgh"`) {
		t.Errorf("%v: %s", err, told)
	}
	// What an earlier agent of the name has left is not built upon.
	kept.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TradingAgent", Name: agent.Name, UID: "earlier"}}
	if err := admin.Update(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if _, _, err := trading(t, "keys", "create", "newer", "--name", "another"); err == nil || !strings.Contains(err.Error(), "earlier agent") {
		t.Errorf("the Secret of an earlier agent: %v", err)
	}
}

// The agent's pod tells when its keys were used; the API server passes it on.
func TestListTellsLastUses(t *testing.T) {
	at := time.Now().Add(-3 * time.Minute).Truncate(time.Second)
	asked := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		_, _ = fmt.Fprintf(w, "# TYPE %s gauge\n%s{id=\"abcdefgh\",name=\"desk\",scope=\"read\"} %d\n", keys.LastUseMetric, keys.LastUseMetric, at.Unix())
	}))
	defer proxy.Close()
	store := &secretStore{config: &rest.Config{Host: proxy.URL}, agent: &v1alpha1.TradingAgent{
		ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "eur-trend"}, Status: v1alpha1.TradingAgentStatus{PodName: "eur-trend-trader"},
	}}
	uses, err := store.LastUses(t.Context())
	if err != nil || len(uses) != 1 || !uses["abcdefgh"].Equal(at) {
		t.Errorf("last uses %v, %v; want %s", uses, err, at)
	}
	if want := "/api/v1/namespaces/desk/pods/eur-trend-trader:8080/proxy/metrics"; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
}
