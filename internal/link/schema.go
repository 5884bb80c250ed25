package link

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/three-rivers-tech/trading-operator/config/crd"
)

// kindSchema judges one kind exactly as the API server does: OpenAPI, unknown
// fields, list keys and CEL.
type kindSchema struct {
	structural *structuralschema.Structural
	openAPI    validation.SchemaValidator
	rules      *cel.Validator
}

// loadSchemas reads the CustomResourceDefinitions that this binary carries.
var loadSchemas = sync.OnceValues(func() (map[string]*kindSchema, error) {
	files, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the embedded definitions: %w", err)
	}
	schemas := make(map[string]*kindSchema, len(files))
	for _, file := range files {
		text, err := crd.Bases.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the embedded definition %s: %w", file, err)
		}
		kind, loaded, err := newKindSchema(text)
		if err != nil {
			return nil, fmt.Errorf("compile the embedded definition %s: %w", file, err)
		}
		schemas[kind] = loaded
	}
	return schemas, nil
})

func newKindSchema(definition []byte) (string, *kindSchema, error) {
	var external apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(definition, &external); err != nil {
		return "", nil, err
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(external.Spec.Versions[0].Schema.OpenAPIV3Schema, &internal, nil); err != nil {
		return "", nil, err
	}
	structural, err := structuralschema.NewStructural(&internal)
	if err != nil {
		return "", nil, err
	}
	openAPI, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		return "", nil, err
	}
	return external.Spec.Names.Kind, &kindSchema{
		structural: structural,
		openAPI:    openAPI,
		rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

// check returns everything that the API server would refuse in the object when it
// is asked for strict validation, as kubectl does.
func (s *kindSchema) check(ctx context.Context, object map[string]any) error {
	unknown := s.unknownFields(object)
	problems := make([]error, 0, len(unknown))
	for _, path := range unknown {
		problems = append(problems, fmt.Errorf("unknown field %q%s", path, s.suggestion(path)))
	}
	errs := validation.ValidateCustomResource(nil, object, s.openAPI)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	if len(problems) == 0 && len(errs) == 0 && s.rules != nil {
		// CEL rules assume a well-formed object; the API server skips them too.
		errs, _ = s.rules.Validate(ctx, nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget)
	}
	for _, err := range errs {
		problems = append(problems, err)
	}
	return utilerrors.NewAggregate(problems)
}

func (s *kindSchema) unknownFields(object map[string]any) []string {
	options := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	unknown := pruning.PruneWithOptions(runtime.DeepCopyJSON(object), s.structural, true, options)
	// The definitions leave the metadata to the API server.
	metadata, _ := object["metadata"].(map[string]any)
	for name := range metadata {
		if !slices.Contains(metadataFields, name) {
			unknown = append(unknown, "metadata."+name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// metadataFields are the names that an object's metadata has, in order.
var metadataFields = func() []string {
	fields := reflect.TypeFor[metav1.ObjectMeta]()
	names := make([]string, fields.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(fields.Field(i).Tag.Get("json"), ",")
	}
	slices.Sort(names)
	return names
}()

// suggestion names the known field that is nearest to an unknown one, if one is
// near enough to be meant.
func (s *kindSchema) suggestion(path string) string {
	steps := strings.Split(path, ".")
	level := s.structural
	for _, step := range steps[:len(steps)-1] {
		name, _, isItem := strings.Cut(step, "[")
		next, known := level.Properties[name]
		if !known {
			return ""
		}
		level = &next
		if isItem && level.Items != nil {
			level = level.Items
		}
	}
	wrong, names := steps[len(steps)-1], slices.Sorted(maps.Keys(level.Properties))
	if steps[0] == "metadata" {
		names = metadataFields
	}
	if best := nearest(wrong, names); best != "" {
		return fmt.Sprintf(", did you mean %q?", best)
	}
	if len(names) == 0 {
		return ""
	}
	return "; known here are " + strings.Join(names, ", ")
}

// nearest is the name that a wrong one was meant to be: the first of those to
// which the fewest letters must change, and at most a third of them, but two in a
// short one. Empty if none is so near.
func nearest(wrong string, names []string) string {
	best, distance := "", max(2, len(wrong)/3)+1
	for _, name := range names {
		if d := editDistance(strings.ToLower(wrong), strings.ToLower(name)); d < distance && d < len(name) && d < len(wrong) {
			best, distance = name, d
		}
	}
	return best
}

// editDistance is the Levenshtein distance of two words.
func editDistance(a, b string) int {
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current := make([]int, len(b)+1)
		current[0] = i + 1
		for j := range len(b) {
			substitution := previous[j]
			if a[i] != b[j] {
				substitution++
			}
			current[j+1] = min(substitution, previous[j+1]+1, current[j]+1)
		}
		previous = current
	}
	return previous[len(b)]
}
