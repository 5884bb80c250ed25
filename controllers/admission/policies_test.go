package admission_test

import (
	"path/filepath"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"

	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// policies are those of config/admission.
func policies(t *testing.T) []*admissionregistrationv1.ValidatingAdmissionPolicy {
	t.Helper()
	files, err := filepath.Glob("../../config/admission/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := testbench.Objects(files...)
	if err != nil {
		t.Fatal(err)
	}
	var found []*admissionregistrationv1.ValidatingAdmissionPolicy
	for _, object := range objects {
		if object.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		policy := &admissionregistrationv1.ValidatingAdmissionPolicy{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, policy, true); err != nil {
			t.Fatalf("%s: %v", object.GetName(), err)
		}
		found = append(found, policy)
	}
	if len(found) < 4 {
		t.Fatalf("only %d policies in config/admission", len(found))
	}
	return found
}

// A field that is misspelt, or renamed in the API, would make an expression pass
// over it in silence; the types of the schemas tell.
func TestPoliciesFitTheSchemas(t *testing.T) {
	installCertManager(t)
	client, err := discovery.NewDiscoveryClientForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		t.Fatal(err)
	}
	checker := &validating.TypeChecker{
		SchemaResolver: &resolver.ClientDiscoveryResolver{Discovery: client},
		RestMapper:     restmapper.NewDiscoveryRESTMapper(groups),
	}
	for _, policy := range policies(t) {
		// A subresource has no kind of its own; it shows its parent's object.
		for i, resource := range policy.Spec.MatchConstraints.ResourceRules[0].Resources {
			policy.Spec.MatchConstraints.ResourceRules[0].Resources[i], _, _ = strings.Cut(resource, "/")
		}
		for _, warning := range checker.Check(policy) {
			t.Errorf("%s: %s: %s", policy.Name, warning.FieldRef, warning.Warning)
		}
		// An expression that speaks of no such field must not pass the check.
		broken := policy.DeepCopy()
		broken.Spec.Validations[0].Expression = "object.spec.nonsense == 1"
		if len(checker.Check(broken)) == 0 {
			t.Errorf("%s: nothing is checked", policy.Name)
		}
	}
}
