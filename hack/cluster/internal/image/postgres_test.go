package image

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestParseLDD(t *testing.T) {
	paths, err := parseLDD(`/usr/lib/postgresql/15/bin/postgres:
	linux-vdso.so.1 (0x00007ffd3a9f2000)
	libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f0f0c000000)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0f0b000000)
	/lib64/ld-linux-x86-64.so.2 (0x00007f0f0d000000)
/usr/lib/postgresql/15/bin/psql:
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0f0b100000)
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"}
	if !slices.Equal(paths, want) {
		t.Errorf("got %v, want %v", paths, want)
	}
	if _, err := parseLDD("\tlibmissing.so.1 => not found\n"); err == nil {
		t.Error("a missing library is not reported")
	}
}

func TestNewestPostgres(t *testing.T) {
	dir := t.TempDir()
	if _, err := newestPostgres(dir); err == nil {
		t.Error("no release is accepted")
	}
	for _, major := range []string{"9.6", "15", "17"} {
		bin := filepath.Join(dir, major, "bin")
		if err := os.MkdirAll(bin, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, "initdb"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := newestPostgres(dir)
	if err != nil || filepath.Base(got) != "17" {
		t.Errorf("got %s, %v", got, err)
	}
}
