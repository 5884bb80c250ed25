// Package crd carries the generated CustomResourceDefinitions, so that the agent
// judges manifests in files by the very schema that the API server uses.
package crd

import "embed"

// Bases holds the generated definitions below "bases".
//
//go:embed bases/*.yaml
var Bases embed.FS
