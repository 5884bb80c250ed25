package market

import (
	"embed"
	"io/fs"
	"strings"
)

// samplePrefix marks the data sets inside the binary; sampleEnding is left out
// of their names.
const (
	samplePrefix = "sample/"
	sampleEnding = ".csv.gz"
)

// samples are real prices from openly licensed packages; sample/SOURCES.md
// names them.
//
//go:embed sample/*.csv.gz
var samples embed.FS

// Samples are the names of the data sets inside the binary, sorted.
func Samples() []string {
	names, err := fs.Glob(samples, samplePrefix+"*"+sampleEnding)
	if err != nil {
		return nil // not with a well-formed pattern
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, sampleEnding)
	}
	return names
}
