package link

import (
	"context"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
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

// check returns everything that the API server would refuse in the object.
func (s *kindSchema) check(ctx context.Context, object map[string]any) field.ErrorList {
	unknown := s.unknownFields(object)
	errs := make(field.ErrorList, 0, len(unknown))
	for _, path := range unknown {
		errs = append(errs, field.Invalid(field.NewPath(path), "", "unknown field"+s.suggestion(path)))
	}
	errs = append(errs, validation.ValidateCustomResource(nil, object, s.openAPI)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	if len(errs) > 0 || s.rules == nil {
		// CEL rules assume a well-formed object; the API server skips them too.
		return errs
	}
	ruleErrs, _ := s.rules.Validate(ctx, nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return ruleErrs
}

func (s *kindSchema) unknownFields(object map[string]any) []string {
	options := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	unknown := pruning.PruneWithOptions(runtime.DeepCopyJSON(object), s.structural, true, options)
	sort.Strings(unknown)
	return unknown
}

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
	wrong, best, distance := steps[len(steps)-1], "", 4
	names := make([]string, 0, len(level.Properties))
	for name := range level.Properties {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if d := editDistance(strings.ToLower(wrong), strings.ToLower(name)); d < distance && d < len(name) {
			best, distance = name, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; known here are " + strings.Join(names, ", ")
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
