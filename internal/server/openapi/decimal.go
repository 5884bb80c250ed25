package openapi

import "github.com/danielgtaylor/huma/v2"

// Decimal is a number as a decimal string, so that nothing is lost on its way.
type Decimal string

// Schema implements huma.SchemaProvider.
func (Decimal) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "decimal", Pattern: `^-?[0-9]+([.][0-9]+)?$`, Examples: []any{"1234.5"}}
}
