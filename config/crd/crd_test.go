package crd_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/three-rivers-tech/trading-operator/config/crd"
)

var release = flag.Bool("release", false, "add the present schemas to released.yaml")

const (
	revisionAnnotation = "trading.three-rivers-tech.com/schema-revision"
	releasedFile       = "released.yaml"
)

// released is the schema of one definition as a release had it.
type released struct {
	Name     string `json:"name"`
	Revision int    `json:"revision"`
	SHA256   string `json:"sha256"`
}

func TestReleasedSchemasKeepTheirRevision(t *testing.T) {
	text, err := fs.ReadFile(os.DirFS("."), releasedFile)
	if err != nil {
		t.Fatal(err)
	}
	var history []released
	if err := yaml.UnmarshalStrict(text, &history); err != nil {
		t.Fatal(err)
	}
	found := definitions(t)
	present := make([]released, 0, len(found))
	for _, definition := range found {
		state, err := stateOf(definition)
		if err != nil {
			t.Fatal(err)
		}
		present = append(present, state)
	}
	for _, problem := range compare(history, present) {
		t.Error(problem)
	}
	if *release && !t.Failed() {
		addRelease(t, string(text), history, present)
	}
}

// addRelease appends the present schemas to released.yaml, below its comment.
func addRelease(t *testing.T, text string, history, present []released) {
	t.Helper()
	grown := slices.Clone(history)
	for _, state := range present {
		if !slices.Contains(history, state) {
			grown = append(grown, state)
		}
	}
	lines, err := yaml.Marshal(grown)
	if err != nil {
		t.Fatal(err)
	}
	var comment strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			comment.WriteString(line)
		}
	}
	if err := os.WriteFile(releasedFile, []byte(comment.String()+string(lines)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// compare says how the present schemas break with the newest released one of
// each definition.
func compare(history, present []released) []string {
	var problems []string
	for _, now := range present {
		last := released{}
		for _, then := range history {
			if then.Name == now.Name && then.Revision > last.Revision {
				last = then
			}
		}
		switch {
		case now.Revision < last.Revision:
			problems = append(problems, fmt.Sprintf("%s has schema-revision %d, and %d is released: a revision never sinks", now.Name, now.Revision, last.Revision))
		case now.Revision == last.Revision && now.SHA256 != last.SHA256:
			problems = append(problems, fmt.Sprintf("the schema of %s has changed: raise its schema-revision", now.Name))
		}
	}
	for _, then := range history {
		if !slices.ContainsFunc(present, func(now released) bool { return now.Name == then.Name }) {
			problems = append(problems, then.Name+" was released and is gone: objects of it would be lost")
		}
	}
	return problems
}

// stateOf is a definition's revision and the hash of all that decides what may be
// stored. Descriptions do not.
func stateOf(definition *apiextensionsv1.CustomResourceDefinition) (released, error) {
	revision, err := strconv.Atoi(definition.Annotations[revisionAnnotation])
	if err != nil || revision < 1 {
		return released{}, fmt.Errorf("%s: annotation %s must be a number from 1, not %q", definition.Name, revisionAnnotation, definition.Annotations[revisionAnnotation])
	}
	text, err := json.Marshal(definition.Spec.Versions)
	if err != nil {
		return released{}, err
	}
	var versions []map[string]any
	if err := json.Unmarshal(text, &versions); err != nil {
		return released{}, err
	}
	schemas := map[string]any{}
	for _, version := range versions {
		name := version["name"].(string)
		schemas[name] = withoutDescriptions(version["schema"])
	}
	if text, err = json.Marshal(schemas); err != nil {
		return released{}, err
	}
	sum := sha256.Sum256(text)
	return released{Name: definition.Name, Revision: revision, SHA256: hex.EncodeToString(sum[:])}, nil
}

// withoutDescriptions drops the texts; a property that is itself called
// "description" is a map and stays.
func withoutDescriptions(node any) any {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			if _, text := value.(string); text && key == "description" {
				delete(node, key)
				continue
			}
			node[key] = withoutDescriptions(value)
		}
	case []any:
		for i, value := range node {
			node[i] = withoutDescriptions(value)
		}
	}
	return node
}

func definitions(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions: %v", err)
	}
	found := make([]*apiextensionsv1.CustomResourceDefinition, 0, len(files))
	for _, file := range files {
		text, err := crd.Bases.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, definition); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		found = append(found, definition)
	}
	return found
}

func TestCompare(t *testing.T) {
	history := []released{{"agents", 2, "b"}, {"agents", 1, "a"}, {"pairs", 1, "p"}}
	for name, c := range map[string]struct {
		present []released
		want    string
	}{
		"as released":                      {[]released{{"agents", 2, "b"}, {"pairs", 1, "p"}}, ""},
		"changed under a new revision":     {[]released{{"agents", 3, "c"}, {"pairs", 1, "p"}}, ""},
		"changed under the same":           {[]released{{"agents", 2, "c"}, {"pairs", 1, "p"}}, "the schema of agents has changed: raise its schema-revision"},
		"back to an older one":             {[]released{{"agents", 1, "a"}, {"pairs", 1, "p"}}, "agents has schema-revision 1, and 2 is released: a revision never sinks"},
		"never released, whatever it says": {[]released{{"agents", 2, "b"}, {"pairs", 1, "p"}, {"halts", 1, "h"}}, ""},
		"gone":                             {[]released{{"agents", 2, "b"}}, "pairs was released and is gone: objects of it would be lost"},
	} {
		if got := strings.Join(compare(history, c.present), "; "); got != c.want {
			t.Errorf("%s: want %q, got %q", name, c.want, got)
		}
	}
}

func TestHashTellsWhatMayBeStored(t *testing.T) {
	given := definitions(t)[0]
	state := func(edit func(*apiextensionsv1.JSONSchemaProps)) string {
		changed := given.DeepCopy()
		edit(changed.Spec.Versions[0].Schema.OpenAPIV3Schema)
		now, err := stateOf(changed)
		if err != nil {
			t.Fatal(err)
		}
		return now.SHA256
	}
	same := state(func(*apiextensionsv1.JSONSchemaProps) {})
	if same != state(func(s *apiextensionsv1.JSONSchemaProps) { s.Description = "said otherwise" }) {
		t.Error("a description changes the hash")
	}
	for name, edit := range map[string]func(*apiextensionsv1.JSONSchemaProps){
		"a new property": func(s *apiextensionsv1.JSONSchemaProps) {
			s.Properties["description"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
		},
		"a rule": func(s *apiextensionsv1.JSONSchemaProps) {
			s.XValidations = append(s.XValidations, apiextensionsv1.ValidationRule{Rule: "true"})
		},
		"a requirement": func(s *apiextensionsv1.JSONSchemaProps) { s.Required = append(s.Required, "status") },
	} {
		if same == state(edit) {
			t.Errorf("%s does not change the hash", name)
		}
	}
	given.Annotations = nil
	if _, err := stateOf(given); err == nil {
		t.Error("a definition without a revision was taken")
	}
}
