package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestMakeDirMakesWhatIsMissingAndKeepsWhatIsThere(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "a", "b")
	for range 2 {
		if err := MakeDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		t.Fatalf("got %v, %v", info, err)
	}
	if got := Existing(filepath.Join(dir, "c", "d")); got != dir {
		t.Errorf("the nearest existing directory is %s", got)
	}
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MakeDir(filepath.Join(base, "file", "c")); err == nil {
		t.Error("a directory was made below a file")
	}
}

func TestReplaceLeavesOneFileOfTheGivenMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, content := range []string{"first", "second"} {
		if err := Replace(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := fs.ReadFile(os.DirFS(dir), "file"); err != nil || string(data) != content {
			t.Errorf("got %q, %v", data, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
	if err := Replace(filepath.Join(dir, "absent", "file"), nil, 0o600); err == nil {
		t.Error("a file was written without its directory")
	}
}
