package instrument

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, root, path, text string) string {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const marked = `package core

func step() int {
	// gofail: var stepTaken struct{}
	return 1
}
`

func TestRewrite(t *testing.T) {
	root := t.TempDir()
	path := write(t, root, "internal/core/step.go", marked)
	write(t, root, "internal/core/plain.go", "package core\n")
	write(t, root, "cmd/agent/main.go", strings.Replace(marked, "stepTaken", "begun", 1))
	write(t, root, "internal/core/step_test.go", strings.Replace(marked, "stepTaken", "tested", 1))
	files, names, err := rewrite(root)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, []string{"begun", "stepTaken"}) {
		t.Errorf("the failpoints are %v", names)
	}
	if len(files) != 4 || !bytes.Contains(files[path], []byte("__fp_stepTaken.Acquire()")) ||
		!bytes.Contains(files[filepath.Join(root, "internal/core", binding)], []byte("package core")) {
		t.Errorf("rewritten is %q", files)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != marked { //nolint:gosec // in the test's own directory
		t.Errorf("the source is %q now, %v", text, err)
	}
	before := key(files)
	files[path] = append(files[path], '\n')
	if key(files) == before {
		t.Error("another content has the same key")
	}
}

func TestRewriteRefuses(t *testing.T) {
	root := t.TempDir()
	write(t, root, "cmd/agent/main.go", "package main\n")
	write(t, root, "internal/core/plain.go", "package core\n")
	if _, _, err := rewrite(root); err == nil {
		t.Error("sources without failpoints were rewritten")
	}
	write(t, root, "internal/core/step.go", marked)
	write(t, root, "cmd/agent/main.go", marked)
	if _, _, err := rewrite(root); err == nil {
		t.Error("two failpoints of one name were rewritten")
	}
}

func TestPatch(t *testing.T) {
	root := t.TempDir()
	write(t, root, "cmd/agent/main.go", "package main\n")
	write(t, root, "internal/core/plain.go", "package core\n")
	whole := map[string]string{}
	for _, p := range patches {
		whole[p.file] += p.from
	}
	for file, text := range whole {
		write(t, root, file, "package p\n\n"+text)
	}
	files, names, err := rewrite(root)
	if err != nil || !slices.Equal(names, []string{"clockAhead"}) {
		t.Fatalf("the failpoints are %v, %v", names, err)
	}
	for _, p := range patches {
		if text := files[filepath.Join(root, p.file)]; len(text) == 0 || bytes.Contains(text, []byte(p.from)) {
			t.Errorf("%s became %q", p.file, text)
		}
		write(t, root, p.file, strings.Replace("package p\n\n"+whole[p.file], p.from, "", 1))
		if _, _, err := rewrite(root); err == nil {
			t.Errorf("%s was patched where %q is not", p.file, p.from)
		}
		write(t, root, p.file, "package p\n\n"+whole[p.file])
	}
	if text := files[filepath.Join(root, patches[0].file)]; !bytes.Contains(text, []byte("clockAhead, __fpTypeOK")) {
		t.Errorf("the clock became %s", text)
	}
}
