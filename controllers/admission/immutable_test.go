package admission_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/config/crd"
)

// immutable are the fields that cannot change: an object that has each, and a
// whole spec that changes it and is right otherwise.
var immutable = []struct{ kind, field, manifest, changed string }{
	{"TradingAgent", "accountRef", agentSpec, strings.Replace(agentSpec, "{name: paper}", "{name: other}", 1)},
	{"TradingAccount", "venue", paperSpec, coinbaseSpec},
	{"TradingAccount", "ledgerRef", paperSpec, strings.Replace(paperSpec, "{name: main}", "{name: other}", 1)},
	{"TradingAccount", "paper.currency", paperSpec, strings.Replace(paperSpec, "USD", "EUR", 1)},
	{"TradingAccount", "paper.balance", paperSpec, strings.Replace(paperSpec, "10000", "20000", 1)},
	{"TradingAccount", "coinbase.environment", coinbaseSpec, strings.Replace(coinbaseSpec, "Sandbox", "Production", 1)},
	{"TradingAccount", "coinbase.currency", coinbaseSpec, strings.Replace(coinbaseSpec, "USD", "EUR", 1)},
	{"TradingAccount", "coinbase.balance", coinbaseSpec, strings.Replace(coinbaseSpec, "1000", "2000", 1)},
	{"TradingAccount", "alpaca.environment", accountAt("Alpaca"), strings.Replace(accountAt("Alpaca"), "Production", "Sandbox", 1)},
	{"TradingAccount", "alpaca.currency", accountAt("Alpaca"), strings.Replace(accountAt("Alpaca"), "USD", "EUR", 1)},
	{"TradingAccount", "alpaca.balance", accountAt("Alpaca"), strings.Replace(accountAt("Alpaca"), "1000", "2000", 1)},
	{"TradingAccount", "kraken.environment", accountAt("Kraken"), strings.Replace(accountAt("Kraken"), "Production", "Sandbox", 1)},
	{"TradingAccount", "kraken.currency", accountAt("Kraken"), strings.Replace(accountAt("Kraken"), "USD", "EUR", 1)},
	{"TradingAccount", "kraken.balance", accountAt("Kraken"), strings.Replace(accountAt("Kraken"), "1000", "2000", 1)},
	{"TradingAccount", "gemini.environment", accountAt("Gemini"), strings.Replace(accountAt("Gemini"), "Production", "Sandbox", 1)},
	{"TradingAccount", "gemini.currency", accountAt("Gemini"), strings.Replace(accountAt("Gemini"), "USD", "EUR", 1)},
	{"TradingAccount", "gemini.balance", accountAt("Gemini"), strings.Replace(accountAt("Gemini"), "1000", "2000", 1)},
	{"AssetPair", "base", pairSpec, strings.Replace(pairSpec, "EUR", "GBP", 1)},
	{"AssetPair", "quote", pairSpec, strings.Replace(pairSpec, "USD", "GBP", 1)},
	{"AssetPair", "tickSize", pairSpec, strings.Replace(pairSpec, "0.01", "0.02", 1)},
	{"AssetPair", "lotSize", pairSpec, strings.Replace(pairSpec, `"1"`, `"2"`, 1)},
}

const (
	agentSpec = `{mode: Paper, trading: Enabled, accountRef: {name: paper}, riskPolicyRef: {name: careful},
		assetPairs: [{name: eur-usd}], marketData: {source: Replay, replay: {dataset: sample/eurusd-1h}}}`
	paperSpec    = `{venue: Paper, ledgerRef: {name: main}, paper: {currency: USD, balance: "10000"}}`
	coinbaseSpec = `{venue: Coinbase, ledgerRef: {name: main},
		coinbase: {environment: Sandbox, credentialsRef: {name: key}, currency: USD, balance: "1000"}}`
	pairSpec = `{base: EUR, quote: USD, tickSize: "0.01", lotSize: "1"}`
)

// accountAt is an account at a real venue.
func accountAt(venue string) string {
	return fmt.Sprintf(`{venue: %s, ledgerRef: {name: main}, %s: {environment: Production, credentialsRef: {name: key}, currency: USD, balance: "1000"}}`,
		venue, strings.ToLower(venue))
}

// What cannot change cannot be taken away either, by itself or with all that it
// is part of, so that nobody changes it in two steps.
func TestWhatCannotChangeCannotBeRemoved(t *testing.T) {
	namespace := newNamespace(t)
	for _, c := range immutable {
		t.Run(c.kind+"."+c.field, func(t *testing.T) {
			name := strings.ToLower(strings.ReplaceAll(c.field, ".", "-"))
			stored := objectOf(t, c.kind, namespace, name, c.manifest)
			apply(t, stored, "")
			changed := objectOf(t, c.kind, namespace, name, c.changed)
			apply(t, changed, "spec."+c.field+": Invalid value")
			apply(t, changed, "cannot change, because")

			steps := strings.Split(c.field, ".")
			for depth := len(steps); depth > 0; depth-- {
				path := append([]string{"spec"}, steps[:depth]...)
				without := objectOf(t, c.kind, namespace, name, c.manifest)
				unstructured.RemoveNestedField(without.Object, path...)
				// Applied, the field is given up by its only owner; patched, it is
				// erased, whoever owns it.
				apply(t, without, path[depth], "required")
				erase(t, stored, path, path[depth], "required")
			}

			live := stored.DeepCopy()
			if err := server.Client.Get(t.Context(), client.ObjectKeyFromObject(stored), live); err != nil {
				t.Fatal(err)
			}
			if want, got := text(t, stored.Object["spec"]), text(t, live.Object["spec"]); want != got {
				t.Errorf("want the spec unchanged, %s, got %s", want, got)
			}
		})
	}
}

// A field that is declared immutable later must be tried here, too.
func TestEveryImmutableFieldIsTried(t *testing.T) {
	files, err := crd.Bases.ReadDir("bases")
	if err != nil {
		t.Fatal(err)
	}
	declared, tried := make([]string, 0, len(immutable)), make([]string, 0, len(immutable))
	for _, file := range files {
		content, err := crd.Bases.ReadFile("bases/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		definition := apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(content, &definition); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(definition.Spec.Names.Kind, "TradingHalt") {
			continue // a halt as a whole cannot change: TestHaltIsLatched
		}
		spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		declared = append(declared, unchanging(definition.Spec.Names.Kind, spec)...)
	}
	for _, c := range immutable {
		tried = append(tried, c.kind+"."+c.field)
	}
	slices.Sort(declared)
	slices.Sort(tried)
	if !slices.Equal(declared, tried) {
		t.Errorf("the schemas declare %v, the table tries %v", declared, tried)
	}
}

// unchanging are the paths of the fields that a rule holds to their old value.
func unchanging(path string, schema apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	for name := range schema.Properties {
		property := schema.Properties[name]
		if slices.ContainsFunc(property.XValidations, func(rule apiextensionsv1.ValidationRule) bool { return rule.Rule == "self == oldSelf" }) {
			found = append(found, path+"."+name)
		}
		found = append(found, unchanging(path+"."+name, property)...)
	}
	return found
}

func objectOf(t *testing.T, kind, namespace, name, spec string) *unstructured.Unstructured {
	t.Helper()
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(spec, "\t", " ")), &content); err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": content}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// apply applies an object as a GitOps tool does, and wants every one of some
// words in the refusal, or none.
func apply(t *testing.T, object *unstructured.Unstructured, wants ...string) {
	t.Helper()
	applied := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
	judge(t, "applied", server.Client.Apply(t.Context(), applied, client.FieldOwner("gitops")), wants)
}

// erase sets a field to null.
func erase(t *testing.T, object *unstructured.Unstructured, path []string, wants ...string) {
	t.Helper()
	patch := map[string]any{}
	if err := unstructured.SetNestedField(patch, nil, path...); err != nil {
		t.Fatal(err)
	}
	erased := client.RawPatch(types.MergePatchType, []byte(text(t, patch)))
	judge(t, "erased", server.Client.Patch(t.Context(), object.DeepCopy(), erased), wants)
}

func judge(t *testing.T, done string, err error, wants []string) {
	t.Helper()
	if len(wants) == 1 && wants[0] == "" {
		if err != nil {
			t.Fatalf("%s: %v", done, err)
		}
		return
	}
	for _, want := range wants {
		if !apierrors.IsInvalid(err) || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("%s: want a refusal with %q, got %v", done, want, err)
		}
	}
}

func text(t *testing.T, value any) string {
	t.Helper()
	content, err := json.Marshal(runtime.DeepCopyJSONValue(value))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
