package invalid_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/link"
)

// What the API server refuses the agent refuses in files, in the same words. An
// update has no counterpart there: nothing is stored that could change.
func TestFilesRefuseTheSame(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests found: %v", err)
	}
	tried := 0
	for _, file := range files {
		verdict, expected := expectation(t, file)
		if verdict != "refused" || isUpdate(t, file) {
			continue
		}
		tried++
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			if err := load(t, file); err == nil || !strings.Contains(err.Error(), expected) {
				t.Errorf("want a refusal with %q, got %v", expected, err)
			}
		})
	}
	if tried < 80 {
		t.Errorf("only %d manifests were tried", tried)
	}
	if err := load(t); err != nil {
		t.Errorf("the desk is right, but was refused: %v", err)
	}
}

// load reads files beside the given desk and gathers the desk of every agent.
func load(t *testing.T, files ...string) error {
	t.Helper()
	manifests, err := link.LoadFiles(t.Context(), append([]string{"given/desk.yaml"}, files...))
	if err != nil {
		return err
	}
	for i := range manifests.Agents {
		if _, err := manifests.Desk(&manifests.Agents[i]); err != nil {
			return err
		}
	}
	return nil
}
