package testbench

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Definitions reads CRDs of a Go module, by the files' names in one of its folders.
func Definitions(ctx context.Context, module, folder string, names ...string) ([]*unstructured.Unstructured, error) {
	found, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output() //nolint:gosec // the tests name the module
	if err != nil {
		return nil, fmt.Errorf("find module %s: %w", module, err)
	}
	files := make([]string, len(names))
	for i, name := range names {
		files[i] = filepath.Join(strings.TrimSpace(string(found)), folder, name)
	}
	return Objects(files...)
}

// Install creates CRDs.
func (s *Server) Install(ctx context.Context, definitions []*unstructured.Unstructured) error {
	for _, definition := range definitions {
		if err := s.Client.Create(ctx, definition.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// Remove deletes CRDs, and with them every object of theirs.
func (s *Server) Remove(ctx context.Context, definitions []*unstructured.Unstructured) error {
	for _, definition := range definitions {
		if err := s.Client.Delete(ctx, definition.DeepCopy()); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
