package market

import (
	"embed"
	"io/fs"
	"strings"
)

// samplePrefix marks the data sets inside the binary.
const samplePrefix = "sample/"

// samples are real prices from openly licensed packages; sample/SOURCES.md
// names them.
//
//go:embed sample/*.csv.gz
var samples embed.FS

// Samples are the names of the data sets inside the binary, sorted.
func Samples() []string {
	entries, err := fs.ReadDir(samples, strings.TrimSuffix(samplePrefix, "/"))
	if err != nil {
		panic("market: the embedded samples are missing: " + err.Error())
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = samplePrefix + strings.TrimSuffix(entry.Name(), ".csv.gz")
	}
	return names
}
