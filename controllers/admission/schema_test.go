package admission_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// specs are right manifests of every kind.
var specs = map[string]string{
	"TradingAgent":   agentSpec,
	"TradingAccount": paperSpec,
	"AssetPair":      pairSpec,
	"RiskPolicy":     `{currency: USD, order: {maxNotional: "1000"}, agent: {maxTradesPerDay: 5}}`,
	"Ledger":         `{uriSecretRef: {name: ledger, key: uri}}`,
}

// misspelt is an object with a field that its schema does not know.
func misspelt(t *testing.T, kind, namespace string) *unstructured.Unstructured {
	t.Helper()
	object := objectOf(t, kind, namespace, "misspelt", specs[kind])
	if err := unstructured.SetNestedField(object.Object, "Halted", "spec", "tradnig"); err != nil {
		t.Fatal(err)
	}
	return object
}

// Whoever asks for strict validation, as kubectl does, is refused a field that
// nobody would read.
func TestUnknownFieldsAreRefusedWhenAsked(t *testing.T) {
	namespace := newNamespace(t)
	strict := client.WithFieldValidation(server.Client, metav1.FieldValidationStrict)
	const (
		unknown    = `strict decoding error: unknown field "spec.tradnig"`
		undeclared = ".spec.tradnig: field not declared in schema"
	)
	for kind, spec := range specs {
		t.Run(kind, func(t *testing.T) {
			object := misspelt(t, kind, namespace)
			unfit(t, "create", strict.Create(t.Context(), object.DeepCopy()), unknown)
			applied := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
			unfit(t, "apply", strict.Apply(t.Context(), applied, client.FieldOwner("kubectl")), undeclared)

			stored := objectOf(t, kind, namespace, "stored", spec)
			create(t, stored)
			patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"tradnig":"Halted"}}`))
			unfit(t, "patch", strict.Patch(t.Context(), stored.DeepCopy(), patch), unknown)
			object.SetName(stored.GetName())
			object.SetResourceVersion(stored.GetResourceVersion())
			unfit(t, "update", strict.Update(t.Context(), object), unknown)
		})
	}
}

// unfit wants an answer that refuses a manifest by its fields.
func unfit(t *testing.T, done string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: want a refusal with %q, got %v", done, want, err)
	}
}

// A client that does not ask is served, and warned by the API server.
func TestUnknownFieldsAreWarnedOfUnasked(t *testing.T) {
	namespace := newNamespace(t)
	said := &hearer{}
	config := rest.CopyConfig(server.Config)
	config.WarningHandlerWithContext = said
	unasking := clientOf(t, config)
	for kind := range specs {
		t.Run(kind, func(t *testing.T) {
			said.clear()
			object := misspelt(t, kind, namespace)
			if err := unasking.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			if want := `unknown field "spec.tradnig"`; said.all() != want {
				t.Errorf("want the warning %q, got %q", want, said.all())
			}
			if _, kept, _ := unstructured.NestedString(object.Object, "spec", "tradnig"); kept {
				t.Error("a field was stored that nobody reads")
			}
		})
	}
}

// hearer collects the Warning headers of answers.
type hearer struct {
	mu       sync.Mutex
	warnings []string
}

// HandleWarningHeaderWithContext takes one warning.
func (h *hearer) HandleWarningHeaderWithContext(_ context.Context, _ int, _ string, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.warnings = append(h.warnings, message)
}

func (h *hearer) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.warnings = nil
}

func (h *hearer) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.warnings, "\n")
}

// kubectl asks for strict validation without being told to, whether it applies by
// itself or has the server do it.
func TestKubectlRefusesUnknownFields(t *testing.T) {
	namespace := newNamespace(t)
	kubectl := kubectlOf(t)
	right := manifest(t, objectOf(t, "TradingAgent", namespace, "right", agentSpec))
	wrong := manifest(t, misspelt(t, "TradingAgent", namespace))
	for name, c := range map[string]struct {
		arguments []string
		manifest  string
		want      string
	}{
		"apply":                                {[]string{"apply"}, wrong, `unknown field "spec.tradnig"`},
		"apply --server-side":                  {[]string{"apply", "--server-side"}, wrong, ".spec.tradnig: field not declared in schema"},
		"create":                               {[]string{"create"}, wrong, `unknown field "spec.tradnig"`},
		"apply of what is right":               {[]string{"apply"}, right, ""},
		"apply --server-side of what is right": {[]string{"apply", "--server-side", "--force-conflicts"}, right, ""},
		"apply --validate=warn":                {[]string{"apply", "--validate=warn"}, wrong, ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := kubectl(append(c.arguments, "--dry-run=server"), c.manifest)
			if (err != nil) != (c.want != "") || !strings.Contains(answer, c.want) {
				t.Errorf("want %q, got %s (%v)", c.want, answer, err)
			}
		})
	}
}

func manifest(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	content, err := yaml.Marshal(object.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// kubectlOf runs the kubectl that came with the API server, as an administrator.
func kubectlOf(t *testing.T) func(arguments []string, manifest string) (string, error) {
	t.Helper()
	home := t.TempDir()
	file := filepath.Join(home, "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["desk"] = &clientcmdapi.Cluster{Server: server.Config.Host, CertificateAuthorityData: server.Config.CAData}
	config.AuthInfos["desk"] = &clientcmdapi.AuthInfo{ClientCertificateData: server.Config.CertData, ClientKeyData: server.Config.KeyData}
	config.Contexts["desk"] = &clientcmdapi.Context{Cluster: "desk", AuthInfo: "desk"}
	config.CurrentContext = "desk"
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return func(arguments []string, manifest string) (string, error) {
		arguments = append(arguments, "--kubeconfig", file, "--cache-dir", filepath.Join(home, "cache"), "-f", "-")
		command := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), arguments...) //nolint:gosec // the arguments are the table's above
		command.Stdin = strings.NewReader(manifest)
		answer, err := command.CombinedOutput()
		return string(answer), err
	}
}
