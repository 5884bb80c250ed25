package admission_test

import (
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const revisionAnnotation = "trading.three-rivers-tech.com/schema-revision"

func TestSchemaNeverGoesBack(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	definitions, err := client.New(server.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	revise := func(name, revision string, options ...client.PatchOption) error {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, revisionAnnotation, revision)
		definition := &apiextensionsv1.CustomResourceDefinition{}
		definition.Name = name
		return definitions.Patch(t.Context(), definition, client.RawPatch(types.MergePatchType, []byte(patch)), options...)
	}
	for _, plural := range []string{"assetpairs", "ledgers", "riskpolicies", "tradingaccounts", "tradingagents"} {
		name := plural + ".trading.three-rivers-tech.com"
		if err := revise(name, `"10"`, client.DryRunAll); err != nil {
			t.Errorf("%s: a newer schema was refused: %v", plural, err)
		}
		for revision, want := range map[string]string{
			`"1"`:    "would go back from schema revision",
			`null`:   "and this one has none",
			`"2x"`:   "and this one has none",
			`"-2"`:   "and this one has none",
			`"1.5"`:  "and this one has none",
			`"0001"`: "would go back from schema revision",
		} {
			err := revise(name, revision, client.DryRunAll)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) ||
				!strings.Contains(err.Error(), "upgrade the operator instead; or, to go back nevertheless, first delete all "+plural) {
				t.Errorf("%s to %s: want a refusal with %q and what to do, got %v", plural, revision, want, err)
			}
		}
	}
	// Revisions are numbers: 10 is more than 9.
	if err := revise("ledgers.trading.three-rivers-tech.com", `"9"`); err != nil {
		t.Fatal(err)
	}
	if err := revise("ledgers.trading.three-rivers-tech.com", `"10"`, client.DryRunAll); err != nil {
		t.Error(err)
	}
	foreign := &apiextensionsv1.CustomResourceDefinition{}
	foreign.Name = "widgets.example.com"
	foreign.Annotations = map[string]string{revisionAnnotation: "9"}
	foreign.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
		Group: "example.com", Scope: apiextensionsv1.ClusterScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
			OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"},
		}}},
	}
	if err := definitions.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	if err := revise(foreign.Name, `"1"`, client.DryRunAll); err != nil {
		t.Errorf("somebody else's definition is none of ours: %v", err)
	}
}
