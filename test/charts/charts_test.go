// Package charts_test holds the Helm chart against config/default: whoever
// installs by one or by the other gets the same objects.
package charts_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	chartDirectory = "../../charts/trading-operator"
	namespace      = "trading-system"
)

func TestChartRendersWhatKustomizeRenders(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"default": nil,
		"self-managed": {
			"webhook": map[string]any{"certificate": "self-managed"}, "certManager": map[string]any{"present": false},
		},
	} {
		t.Run(name, func(t *testing.T) { compare(t, renderChart(t, values), renderKustomize(t, name)) })
	}
}

func compare(t *testing.T, fromChart, fromKustomize map[string]map[string]any) {
	t.Helper()
	// Helm creates no namespace: helm install --create-namespace does.
	delete(fromKustomize, "Namespace/"+namespace)

	for _, name := range slices.Sorted(maps.Keys(fromKustomize)) {
		rendered, ok := fromChart[name]
		if !ok {
			t.Errorf("the chart lacks %s", name)
			continue
		}
		if !reflect.DeepEqual(rendered, fromKustomize[name]) {
			t.Errorf("%s differs\n chart:\n%s\n kustomize:\n%s", name, text(t, rendered), text(t, fromKustomize[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fromChart)) {
		if _, ok := fromKustomize[name]; !ok {
			t.Errorf("kustomize lacks %s", name)
		}
	}
}

func TestChartTakesItsValues(t *testing.T) {
	objects := renderChart(t, map[string]any{
		"replicas":         3,
		"imagePullSecrets": []any{map[string]any{"name": "registry"}},
		"manager":          map[string]any{"image": "registry.example/manager:1", "venueGateways": map[string]any{"Kraken": "https://gateway.example"}},
		"agent":            map[string]any{"image": "registry.example/agent:1"},
	})
	deployment := text(t, objects["Deployment/trading-operator"])
	for _, wanted := range []string{"replicas: 3", "image: registry.example/manager:1", "value: registry.example/agent:1", "- name: registry", "- --venue-gateway=Kraken=https://gateway.example"} {
		if !strings.Contains(deployment, wanted) {
			t.Errorf("the Deployment lacks %q:\n%s", wanted, deployment)
		}
	}
}

func TestChartTakesTheValuesOfEndpoints(t *testing.T) {
	objects := renderChart(t, map[string]any{
		"endpoint": map[string]any{
			"issuer": "ClusterIssuer/letsencrypt", "ingressClass": "traefik",
			"resolve": map[string]any{"*.desk.example.com": "10.0.0.7"},
			"roots":   map[string]any{"configMap": "company-roots", "key": "ca.pem"},
		},
		"prometheusRules": map[string]any{"create": true, "labels": map[string]any{"release": "monitoring"}},
		"internalIssuer":  map[string]any{"name": "company-internal", "create": false},
		"issuers":         map[string]any{"letsencrypt": map[string]any{"create": true, "email": "desk@example.com", "solver": "DNS01"}},
	})
	for name, wanted := range map[string][]string{
		"Deployment/trading-operator": {
			"- --endpoint-issuer=ClusterIssuer/letsencrypt", "- --endpoint-ingress-class=traefik", "- --endpoint-roots=/etc/trading/roots/ca.pem",
			"- --endpoint-resolve=*.desk.example.com=10.0.0.7", "- --internal-issuer=ClusterIssuer/company-internal", "name: company-roots",
		},
		"Certificate/trading-operator-client":                                     {"name: company-internal"},
		"ValidatingAdmissionPolicy/internal-issuer.trading.three-rivers-tech.com": {"== 'company-internal'"},
		"PrometheusRule/trading-endpoints":                                        {"release: monitoring", "alert: TradingEndpointUnverified", "{{ $labels.host }}"},
		"ClusterIssuer/letsencrypt":                                               {"acme-v02.api", "cloudflare:", "key: api-token"},
		"ClusterIssuer/letsencrypt-staging":                                       {"acme-staging-v02.api", "email: desk@example.com"},
	} {
		rendered := text(t, objects[name])
		for _, part := range wanted {
			if !strings.Contains(rendered, part) {
				t.Errorf("%s lacks %q:\n%s", name, part, rendered)
			}
		}
	}
	for _, name := range []string{"ClusterIssuer/trading-internal", "ClusterIssuer/company-internal", "Certificate/trading-internal-ca"} {
		if objects[name] != nil {
			t.Errorf("%s is created though the values say not to", name)
		}
	}
}

func TestChartRefusesUnknownValues(t *testing.T) {
	for _, values := range []map[string]any{
		{"replica": 1},
		{"manager": map[string]any{"tag": "1"}},
		{"agent": map[string]any{"image": ""}},
		{"replicas": "two"},
		{"certManager": map[string]any{"present": false}},
		{"webhook": map[string]any{"certificate": "vault"}},
		{"endpoint": map[string]any{"issuer": "letsencrypt"}},
		{"endpoint": map[string]any{"roots": map[string]any{"configMap": "company-roots"}}},
		{"issuers": map[string]any{"letsencrypt": map[string]any{"create": true}}},
	} {
		if _, err := chartValues(loadChart(t), values); err == nil {
			t.Errorf("%v was taken", values)
		}
	}
}

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	loaded, err := loader.LoadDir(chartDirectory)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func chartValues(loaded *chart.Chart, values map[string]any) (common.Values, error) {
	release := common.ReleaseOptions{Name: "trading-operator", Namespace: namespace, IsInstall: true, Revision: 1}
	return util.ToRenderValues(loaded, values, release, common.DefaultCapabilities)
}

// renderChart renders the chart with its CRDs, by "Kind/name".
func renderChart(t *testing.T, values map[string]any) map[string]map[string]any {
	t.Helper()
	loaded := loadChart(t)
	filled, err := chartValues(loaded, values)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(loaded, filled)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]map[string]any{}
	for name, content := range files {
		if strings.HasSuffix(name, ".yaml") {
			collect(t, objects, content)
		}
	}
	for _, crd := range loaded.CRDObjects() {
		collect(t, objects, string(crd.File.Data))
	}
	return objects
}

func renderKustomize(t *testing.T, folder string) map[string]map[string]any {
	t.Helper()
	directory, err := filepath.Abs("../../config/" + folder)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := resources.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]map[string]any{}
	collect(t, objects, string(rendered))
	return objects
}

// collect adds every object of a YAML stream.
func collect(t *testing.T, objects map[string]map[string]any, stream string) {
	t.Helper()
	for document := range strings.SplitSeq("\n"+stream, "\n---") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if len(object) == 0 {
			continue
		}
		metadata, _ := object["metadata"].(map[string]any)
		name := fmt.Sprintf("%v/%v", object["kind"], metadata["name"])
		if _, twice := objects[name]; twice {
			t.Errorf("%s is rendered twice", name)
		}
		objects[name] = object
	}
}

func text(t *testing.T, object map[string]any) string {
	t.Helper()
	encoded, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// The chart's CRDs are copies, byte for byte, so that a diff of the chart shows
// what a diff of the API shows.
func TestChartCarriesTheGeneratedCRDs(t *testing.T) {
	generated, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(generated) == 0 {
		t.Fatalf("no CRDs are generated: %v", err)
	}
	for _, file := range generated {
		copied, err := os.ReadFile(filepath.Join(chartDirectory, "crds", filepath.Base(file)))
		if err != nil {
			t.Error(err)
			continue
		}
		original, err := fs.ReadFile(os.DirFS(filepath.Dir(file)), filepath.Base(file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(copied, original) {
			t.Errorf("%s is stale in the chart; run make generate", filepath.Base(file))
		}
	}
	copies, err := os.ReadDir(filepath.Join(chartDirectory, "crds"))
	if err != nil || len(copies) != len(generated) {
		t.Errorf("the chart has %d CRDs, %d are generated (%v)", len(copies), len(generated), err)
	}
}
