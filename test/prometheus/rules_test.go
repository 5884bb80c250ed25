// Package prometheus_test holds the alerts of config/prometheus to what they shall
// say, by Prometheus's own engine and in the form of "promtool test rules".
package prometheus_test

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"
)

// manifests are the rules, each with its cases in a file of this folder:
// endpoint-rules.yaml has endpoint_test.yaml.
const manifests = "../../config/prometheus/*-rules.yaml"

// suite is a file of promtool's tests, as far as it is used.
type suite struct {
	RuleFiles          []string       `json:"rule_files"`
	EvaluationInterval model.Duration `json:"evaluation_interval"`
	Tests              []group        `json:"tests"`
}

type group struct {
	Name   string         `json:"name"`
	Step   model.Duration `json:"interval"`
	Series []struct {
		Series string `json:"series"`
		Values string `json:"values"`
	} `json:"input_series"`
	Cases []struct {
		At     model.Duration `json:"eval_time"`
		Alert  string         `json:"alertname"`
		Firing []struct {
			Labels map[string]string `json:"exp_labels"`
		} `json:"exp_alerts"`
	} `json:"alert_rule_test"`
}

// prometheusRule is the manifest, as far as it is read.
type prometheusRule struct {
	Spec struct {
		Groups []struct {
			Name  string           `json:"name"`
			Rules []map[string]any `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	content, err := fs.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func readManifest(t *testing.T, manifest string) prometheusRule {
	t.Helper()
	var read prometheusRule
	if err := yaml.Unmarshal(contentOf(t, manifest), &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// ruleFile writes the rules as Prometheus itself reads them.
func ruleFile(t *testing.T, manifest string) string {
	t.Helper()
	content, err := yaml.Marshal(readManifest(t, manifest).Spec)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAlerts(t *testing.T) {
	files, err := filepath.Glob(manifests)
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules found: %v", err)
	}
	for _, manifest := range files {
		name := strings.TrimSuffix(filepath.Base(manifest), "-rules.yaml")
		t.Run(name, func(t *testing.T) { testAlerts(t, manifest, name+"_test.yaml") })
	}
}

func testAlerts(t *testing.T, manifest, file string) {
	t.Helper()
	var cases suite
	if err := yaml.UnmarshalStrict(contentOf(t, file), &cases); err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, group := range cases.Tests {
		t.Run(group.Name, func(t *testing.T) {
			run(t, manifest, group, time.Duration(cases.EvaluationInterval))
		})
		for _, one := range group.Cases {
			tried[one.Alert] = tried[one.Alert] || len(one.Firing) > 0
		}
	}
	for _, group := range readManifest(t, manifest).Spec.Groups {
		for _, rule := range group.Rules {
			if name, _ := rule["alert"].(string); !tried[name] {
				t.Errorf("no case has %s firing", name)
			}
		}
	}
}

// run evaluates the rules step by step, and compares what fires.
func run(t *testing.T, manifest string, group group, every time.Duration) {
	t.Helper()
	var series strings.Builder
	series.WriteString("load " + group.Step.String() + "\n")
	for _, one := range group.Series {
		series.WriteString("  " + one.Series + " " + one.Values + "\n")
	}
	loaded, err := promqltest.NewLazyLoader(series.String(), promqltest.LazyLoaderOpts{StartTime: time.Unix(0, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := loaded.Close(); err != nil {
			t.Error(err)
		}
	}()
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:    rules.EngineQueryFunc(loaded.QueryEngine(), loaded.Storage()),
		AppendableV2: loaded.Storage(),
		Context:      t.Context(),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Logger:       promslog.NewNopLogger(),
		Parser:       parser.NewParser(parser.Options{}),
	})
	groups, errs := manager.LoadGroups(every, labels.EmptyLabels(), "", nil, false, ruleFile(t, manifest))
	if errs != nil {
		t.Fatal(errs)
	}
	last := time.Duration(0)
	for _, one := range group.Cases {
		last = max(last, time.Duration(one.At))
	}
	for at := time.Duration(0); at <= last; at += every {
		now := time.Unix(0, 0).UTC().Add(at)
		loaded.WithSamplesTill(now, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, group := range groups {
				group.Eval(loaded.Context(), now)
			}
		})
		for _, one := range group.Cases {
			if time.Duration(one.At) != at {
				continue
			}
			wanted := make([]string, 0, len(one.Firing))
			for _, alert := range one.Firing {
				wanted = append(wanted, text(alert.Labels))
			}
			if got := firing(groups, one.Alert); !slices.Equal(got, wanted) {
				t.Errorf("after %s, %s fires for %q, want %q", at, one.Alert, got, wanted)
			}
		}
	}
}

// firing are the labels of an alert's instances that fire.
func firing(groups map[string]*rules.Group, name string) []string {
	var found []string
	for _, group := range groups {
		for _, rule := range group.Rules() {
			alert, ok := rule.(*rules.AlertingRule)
			if !ok || alert.Name() != name {
				continue
			}
			for _, active := range alert.ActiveAlerts() {
				if active.State == rules.StateFiring {
					told := active.Labels.Map()
					delete(told, model.AlertNameLabel)
					found = append(found, text(told))
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

func text(of map[string]string) string {
	pairs := make([]string, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		pairs = append(pairs, name+"="+of[name])
	}
	return strings.Join(pairs, " ")
}

// Every alert leads to a runbook that exists and names it.
func TestRunbooks(t *testing.T) {
	files, err := filepath.Glob(manifests)
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules found: %v", err)
	}
	for _, manifest := range files {
		testRunbooks(t, manifest)
	}
}

func testRunbooks(t *testing.T, manifest string) {
	t.Helper()
	const base = "https://github.com/three-rivers-tech/trading-operator/blob/main/docs/runbooks/"
	for _, group := range readManifest(t, manifest).Spec.Groups {
		for _, rule := range group.Rules {
			annotations, _ := rule["annotations"].(map[string]any)
			address, _ := annotations["runbook_url"].(string)
			file, ok := strings.CutPrefix(address, base)
			if !ok {
				t.Errorf("%v has no runbook below %s", rule["alert"], base)
				continue
			}
			content, err := os.ReadFile(filepath.Join("../../docs/runbooks", filepath.Base(file)))
			if err != nil {
				t.Error(err)
				continue
			}
			if !strings.Contains(string(content), rule["alert"].(string)) {
				t.Errorf("%s does not name %v", file, rule["alert"])
			}
		}
	}
}
