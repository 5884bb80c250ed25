package endpoint

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// rendered are the children that a scope asks for, as one stream of YAML.
func rendered(t *testing.T, s *Scope) string {
	t.Helper()
	var all []string
	for _, child := range children {
		if object := child.desired(s); object != nil {
			if object.GetName() != child.name(s.agent) {
				t.Errorf("%T is named %s, and would be deleted as %s", object, object.GetName(), child.name(s.agent))
			}
			content, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("# %T\n%s", object, content))
		}
	}
	return strings.Join(all, "---\n")
}

func TestChildren(t *testing.T) {
	scopes := map[string]*Scope{"gateway": gated(), "unknown-ingress": whole("example.com/controller")}
	for controller := range dialects {
		scopes["ingress-"+strings.NewReplacer("/", "-", ".", "-").Replace(controller)] = whole(controller)
	}
	for name, s := range scopes {
		t.Run(name, func(t *testing.T) {
			got := []byte(rendered(t, s))
			file := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := fs.ReadFile(os.DirFS("testdata"), name+".yaml")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s; if that is meant, run go test -update\n%s", file, got)
			}
		})
	}
}

// Which children there are, by what there is to build them from.
func TestChildrenAsFarAsTheyAreNeeded(t *testing.T) {
	const traefik = "traefik.io/ingress-controller"
	for _, test := range []struct {
		name  string
		scope func() *Scope
		want  string
	}{
		{"an endpoint", func() *Scope { return whole(traefik) }, "Service Ingress-endpoint Ingress-redirect Certificate-internal Certificate-endpoint Unstructured-internal"},
		{"a gateway", gated, "Service ConfigMap-internal-ca Certificate-internal Certificate-endpoint HTTPRoute-endpoint HTTPRoute-redirect ReferenceGrant-endpoint BackendTLSPolicy-internal"},
		{"a gateway of the same namespace", func() *Scope {
			s := gated()
			s.agent.Spec.Endpoint.GatewayRef.Namespace = ""
			return s
		}, "Service ConfigMap-internal-ca Certificate-internal Certificate-endpoint HTTPRoute-endpoint HTTPRoute-redirect BackendTLSPolicy-internal"},
		{"a gateway without a CA", func() *Scope {
			s := gated()
			s.internalCA = nil
			return s
		}, "Service Certificate-internal Certificate-endpoint HTTPRoute-endpoint HTTPRoute-redirect ReferenceGrant-endpoint"},
		{"a gateway with plain HTTP alone", func() *Scope {
			s := gated()
			s.secure = nil
			return s
		}, "Service ConfigMap-internal-ca Certificate-internal Certificate-endpoint HTTPRoute-redirect ReferenceGrant-endpoint BackendTLSPolicy-internal"},
		{"no endpoint", func() *Scope {
			s := whole(traefik)
			s.agent.Spec.Endpoint = nil
			return s
		}, "Service Certificate-internal"},
		{"neither endpoint nor internal issuer", func() *Scope {
			s := whole(traefik)
			s.agent.Spec.Endpoint, s.internalIssuer = nil, false
			return s
		}, ""},
		{"a host that another agent has", func() *Scope {
			s := whole(traefik)
			s.rival = &v1alpha1.TradingAgent{ObjectMeta: named("first")}
			return s
		}, "Service Certificate-internal"},
		{"a host that is none", func() *Scope {
			s := whole(traefik)
			s.invalid = "spec.endpoint.host"
			return s
		}, "Service Certificate-internal"},
		{"no issuer", func() *Scope {
			s := whole(traefik)
			s.issuerRef = nil
			return s
		}, "Service Ingress-endpoint Ingress-redirect Certificate-internal Unstructured-internal"},
		{"no class", func() *Scope {
			s := whole(traefik)
			s.class = nil
			return s
		}, "Service Certificate-internal Certificate-endpoint"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var kinds []string
			s := test.scope()
			for _, child := range children {
				if object := child.desired(s); object != nil {
					kinds = append(kinds, kind(object)+strings.TrimPrefix(object.GetName(), "eur"))
				}
			}
			if got := strings.Join(kinds, " "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func kind(object client.Object) string {
	name := fmt.Sprintf("%T", object)
	return name[strings.LastIndex(name, ".")+1:]
}

// Nothing that a user chooses freely reaches an annotation: a host that the schema
// would refuse is in none of them.
func TestAnnotationsHoldNothingOfTheHost(t *testing.T) {
	const evil = "x;} location / { proxy_pass http://evil"
	for controller := range dialects {
		s := whole(controller)
		s.agent.Spec.Endpoint.Host = evil
		for _, child := range children {
			object := child.desired(s)
			if object == nil {
				continue
			}
			for _, value := range slices.Collect(maps.Values(object.GetAnnotations())) {
				if strings.ContainsAny(value, ";{} \n") {
					t.Errorf("%s: %T has an annotation with %q", controller, object, value)
				}
			}
		}
	}
}
