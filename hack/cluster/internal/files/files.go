// Package files makes directories and replaces files, each below a directory
// that it holds open, so that no link in between leads elsewhere.
package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeDir makes dir and its missing parents, for everybody to read: what root
// builds once is used by tests that run as somebody else.
func MakeDir(dir string) error {
	base := Existing(dir)
	below, err := filepath.Rel(base, dir)
	if err != nil || below == "." {
		return err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(below, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}

// Existing is path or the nearest parent of it that is there.
func Existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// Replace writes path in one step: a crash leaves the old file or the new.
// Its directory must be there.
func Replace(path string, data []byte, mode fs.FileMode) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	name := filepath.Base(path)
	temp := name + ".new"
	if err := root.WriteFile(temp, data, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := root.Rename(temp, name); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}
