//go:build faults

package faults

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// maxDrawn bounds the lists that are drawn, and unbounded numbers.
const (
	maxDrawnItems  = 3
	maxDrawnNumber = 10_000
)

// chosenFrom are the values of fields that refer to something: any other would
// only ever be one more thing that does not exist. Each holds one that does not.
var chosenFrom = map[string][]string{
	"riskPolicyRef.name":        {"careful", "bold", "absent"},
	"accountRef.name":           {"paper"},
	"assetPairs.name":           {"EUR/USD", "gbp_usd", "XAU-USD"},
	"marketData.replay.dataset": {"prices/{pair}.csv", "other/{pair}.csv", "sample/nothing"},
	"image":                     {nextImage, newest.agentImage, brokenImage},
	"currency":                  {"USD", "USD", "USD", "EUR"},
}

// matchRule is a rule that says no more than a pattern does.
var matchRule = regexp.MustCompile(`^self\.matches\('(.*)'\)$`)

// specSchema is the schema of a kind's spec, as it is installed.
func specSchema(t *testing.T, plural string) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	bases := os.DirFS(filepath.Join("..", "..", "config", "crd", "bases"))
	content, err := fs.ReadFile(bases, "trading.three-rivers-tech.com_"+plural+".yaml")
	if err != nil {
		t.Fatal(err)
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(content, definition); err != nil {
		t.Fatal(err)
	}
	spec, found := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	if !found {
		t.Fatalf("%s have no spec", plural)
	}
	return &spec
}

// fromSchema draws values that a schema allows, but for its rules across fields:
// about those the API server is asked.
func fromSchema(schema *apiextensionsv1.JSONSchemaProps, path string) *rapid.Generator[any] {
	switch {
	case chosenFrom[path] != nil:
		return rapid.SampledFrom(chosenFrom[path]).AsAny()
	case len(schema.Enum) > 0:
		return fromEnum(schema).AsAny()
	}
	switch schema.Type {
	case "object":
		return rapid.Custom(func(t *rapid.T) any { return drawObject(t, schema, path) })
	case "array":
		least, most := 0, maxDrawnItems
		if schema.MinItems != nil {
			least = int(*schema.MinItems)
		}
		if schema.MaxItems != nil {
			most = min(most, int(*schema.MaxItems))
		}
		return rapid.Custom(func(t *rapid.T) any { return drawList(t, schema, path, least, most) })
	case "integer":
		least, most := int64(0), int64(maxDrawnNumber)
		if schema.Minimum != nil {
			least = int64(*schema.Minimum)
		}
		if schema.Maximum != nil {
			most = int64(*schema.Maximum)
		}
		return rapid.Int64Range(least, most).AsAny()
	case "boolean":
		return rapid.Bool().AsAny()
	}
	return fromPatterns(schema).AsAny()
}

func fromEnum(schema *apiextensionsv1.JSONSchemaProps) *rapid.Generator[string] {
	words := make([]string, 0, len(schema.Enum))
	for _, word := range schema.Enum {
		words = append(words, strings.Trim(string(word.Raw), `"`))
	}
	return rapid.SampledFrom(words)
}

func drawObject(t *rapid.T, schema *apiextensionsv1.JSONSchemaProps, path string) any {
	object := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property := schema.Properties[name]
		if slices.Contains(schema.Required, name) || rapid.Bool().Draw(t, "has "+name) {
			object[name] = fromSchema(&property, strings.TrimPrefix(path+"."+name, ".")).Draw(t, name)
		}
	}
	if schema.MinProperties != nil && len(object) == 0 {
		name := rapid.SampledFrom(slices.Sorted(maps.Keys(schema.Properties))).Draw(t, "one property")
		property := schema.Properties[name]
		object[name] = fromSchema(&property, strings.TrimPrefix(path+"."+name, ".")).Draw(t, name)
	}
	return object
}

// drawList draws a list, without two entries of one key where it is a map.
func drawList(t *rapid.T, schema *apiextensionsv1.JSONSchemaProps, path string, least, most int) any {
	seen := map[string]bool{}
	list := []any{}
	for range rapid.IntRange(max(least, 1), max(most, 1)).Draw(t, "items") {
		item := fromSchema(schema.Items.Schema, path).Draw(t, "item")
		if identity := fmt.Sprint(item); !seen[identity] {
			seen[identity] = true
			list = append(list, item)
		}
	}
	return list
}

// fromPatterns draws text that matches every pattern of a schema.
func fromPatterns(schema *apiextensionsv1.JSONSchemaProps) *rapid.Generator[string] {
	var patterns []string
	if schema.Pattern != "" {
		patterns = append(patterns, schema.Pattern)
	}
	for _, rule := range schema.XValidations {
		if match := matchRule.FindStringSubmatch(rule.Rule); match != nil {
			patterns = append(patterns, match[1])
		}
	}
	anchored := slices.IndexFunc(patterns, func(pattern string) bool { return strings.HasPrefix(pattern, "^") })
	drawn := rapid.StringMatching(`[a-z]{1,8}`)
	if anchored >= 0 {
		drawn = rapid.StringMatching(patterns[anchored])
	}
	return drawn.Filter(func(text string) bool {
		if schema.MaxLength != nil && len(text) > int(*schema.MaxLength) || schema.MinLength != nil && len(text) < int(*schema.MinLength) {
			return false
		}
		return !slices.ContainsFunc(patterns, func(pattern string) bool { return !regexp.MustCompile(pattern).MatchString(text) })
	})
}
