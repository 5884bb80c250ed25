package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestInstalledProgramsAreKeptUntilTheyChange(t *testing.T) {
	for name, put := range map[string]func(from, to string) error{"link": install, "copy": copyProgram} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			from, to := filepath.Join(dir, "built"), filepath.Join(dir, "installed")
			build := func(content string, at time.Time) {
				t.Helper()
				_ = os.Remove(from) // a new build is a new file, as in the cache
				if err := os.WriteFile(from, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(from, at, at); err != nil {
					t.Fatal(err)
				}
			}
			check := func(content string) os.FileInfo {
				t.Helper()
				data, err := fs.ReadFile(os.DirFS(dir), "installed")
				if err != nil || string(data) != content {
					t.Fatalf("got %q, %v, want %q", data, err, content)
				}
				info, err := os.Stat(to)
				if err != nil {
					t.Fatal(err)
				}
				return info
			}
			began := time.Now().Add(-time.Hour)
			build("first", began)
			if err := put(from, to); err != nil {
				t.Fatal(err)
			}
			first := check("first")
			if err := install(from, to); err != nil {
				t.Fatal(err)
			}
			if !os.SameFile(first, check("first")) {
				t.Error("an unchanged program was installed again")
			}
			build("other", began.Add(time.Minute))
			if err := put(from, to); err != nil {
				t.Fatal(err)
			}
			check("other")
		})
	}
}

func TestCopiedProgramsCanRun(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "built"), filepath.Join(dir, "installed")
	if err := os.WriteFile(from, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyProgram(from, to); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("got %v, %v", info, err)
	}
	if err := install(filepath.Join(dir, "absent"), to); err == nil {
		t.Error("a program that is not there was installed")
	}
}
