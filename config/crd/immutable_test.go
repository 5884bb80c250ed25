package crd_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// A field that cannot change must not be removed and set anew either: nothing on
// the way to it can be removed.
func TestImmutableFieldsCannotBeEscaped(t *testing.T) {
	count := 0
	for _, definition := range definitions(t) {
		spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		fields, escapes := immutable(definition.Spec.Names.Kind+".spec", &spec, true)
		count += fields
		for _, path := range escapes {
			t.Errorf("%s cannot change, but it can be removed and set anew", path)
		}
	}
	if count < 10 {
		t.Errorf("only %d fields cannot change", count)
	}
}

// immutable walks a schema. It counts the fields that cannot change and names
// those of them that can be removed. lasting says that nothing on the way to this
// node can be.
func immutable(path string, schema *apiextensionsv1.JSONSchemaProps, lasting bool) (count int, escapes []string) {
	for name := range schema.Properties {
		property := schema.Properties[name]
		below := lasting && (slices.Contains(schema.Required, name) || chosenForGood(schema, name) || onceThere(schema, name))
		if cannotChange(property) {
			count++
			if !below {
				escapes = append(escapes, path+"."+name)
			}
		}
		deeper, more := immutable(path+"."+name, &property, below)
		count, escapes = count+deeper, append(escapes, more...)
	}
	return count, escapes
}

func cannotChange(property apiextensionsv1.JSONSchemaProps) bool {
	return hasRule(&property, "self == oldSelf")
}

func hasRule(schema *apiextensionsv1.JSONSchemaProps, rule string) bool {
	return slices.ContainsFunc(schema.XValidations, func(r apiextensionsv1.ValidationRule) bool { return r.Rule == rule })
}

// onceThere says whether an optional property stays when it has come.
func onceThere(schema *apiextensionsv1.JSONSchemaProps, name string) bool {
	return hasRule(schema, fmt.Sprintf("!has(oldSelf.%s) || has(self.%s)", name, name))
}

var oneOf = regexp.MustCompile(`^self\.(\w+) != '(\w+)' \|\| has\(self\.(\w+)\)$`)

// chosenForGood says whether an optional property is there exactly while another,
// which is required and cannot change, has one value: venue Paper and paper.
func chosenForGood(schema *apiextensionsv1.JSONSchemaProps, name string) bool {
	for _, rule := range schema.XValidations {
		parts := oneOf.FindStringSubmatch(rule.Rule)
		if parts == nil || parts[3] != name {
			continue
		}
		chooser, value := parts[1], parts[2]
		onlyThen := hasRule(schema, fmt.Sprintf("self.%s == '%s' || !has(self.%s)", chooser, value, name))
		if onlyThen && slices.Contains(schema.Required, chooser) && cannotChange(schema.Properties[chooser]) {
			return true
		}
	}
	return false
}

// The walk itself finds every way out.
func TestEscapesAreFound(t *testing.T) {
	fixed := apiextensionsv1.JSONSchemaProps{Type: "string", XValidations: apiextensionsv1.ValidationRules{{Rule: "self == oldSelf"}}}
	account := func(edit func(spec, paper *apiextensionsv1.JSONSchemaProps)) *apiextensionsv1.JSONSchemaProps {
		paper := apiextensionsv1.JSONSchemaProps{
			Required: []string{"currency"}, Properties: map[string]apiextensionsv1.JSONSchemaProps{"currency": fixed},
		}
		spec := &apiextensionsv1.JSONSchemaProps{
			Required: []string{"venue"},
			XValidations: apiextensionsv1.ValidationRules{
				{Rule: "self.venue != 'Paper' || has(self.paper)"}, {Rule: "self.venue == 'Paper' || !has(self.paper)"},
			},
			Properties: map[string]apiextensionsv1.JSONSchemaProps{"venue": fixed},
		}
		edit(spec, &paper)
		spec.Properties["paper"] = paper
		return spec
	}
	for name, c := range map[string]struct {
		edit func(spec, paper *apiextensionsv1.JSONSchemaProps)
		want []string
	}{
		"none":     {func(_, _ *apiextensionsv1.JSONSchemaProps) {}, nil},
		"optional": {func(_, paper *apiextensionsv1.JSONSchemaProps) { paper.Required = nil }, []string{"spec.paper.currency"}},
		"below what stays once it is there": {func(spec, _ *apiextensionsv1.JSONSchemaProps) {
			spec.XValidations = apiextensionsv1.ValidationRules{{Rule: "!has(oldSelf.paper) || has(self.paper)"}}
		}, nil},
		"below something optional":      {func(spec, _ *apiextensionsv1.JSONSchemaProps) { spec.XValidations = nil }, []string{"spec.paper.currency"}},
		"below what other values allow": {func(spec, _ *apiextensionsv1.JSONSchemaProps) { spec.XValidations = spec.XValidations[:1] }, []string{"spec.paper.currency"}},
		"below what a choice can take up": {func(spec, _ *apiextensionsv1.JSONSchemaProps) {
			spec.Properties["venue"] = apiextensionsv1.JSONSchemaProps{}
		}, []string{"spec.paper.currency"}},
		"below what can be left unsaid": {func(spec, _ *apiextensionsv1.JSONSchemaProps) { spec.Required = nil },
			[]string{"spec.paper.currency", "spec.venue"}},
	} {
		_, escapes := immutable("spec", account(c.edit), true)
		slices.Sort(escapes)
		if !slices.Equal(escapes, c.want) {
			t.Errorf("%s: want %v, got %v", name, c.want, escapes)
		}
	}
}
