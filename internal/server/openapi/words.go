package openapi

import (
	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// Decimal is a number as a decimal string, so that nothing is lost on its way.
type Decimal string

// Schema implements huma.SchemaProvider.
func (Decimal) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "decimal", Pattern: `^-?[0-9]+([.][0-9]+)?$`}
}

// ID is a UUID.
type ID string

// Schema implements huma.SchemaProvider.
func (ID) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "uuid"}
}

// IDs are UUIDs in the words of the API; never nil.
func IDs(ids []uuid.UUID) []ID {
	told := make([]ID, len(ids))
	for i := range ids {
		told[i] = ID(ids[i].String())
	}
	return told
}
