package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/program"
)

// minPostgres is the oldest major release that the ledger supports.
const minPostgres = 15

// Postgres is the spec of an image of the distribution's own PostgreSQL: the
// newest installed release, the shared libraries that its programs name, a
// shell for initdb, the C.UTF-8 locale and the time zones. entry is the
// program that starts it.
func Postgres(ctx context.Context, entry string) (Spec, error) {
	home, err := newestPostgres("/usr/lib/postgresql")
	if err != nil {
		return Spec{}, err
	}
	files, err := Base()
	if err != nil {
		return Spec{}, err
	}
	major := filepath.Base(home)
	var binaries []string
	for _, tree := range []string{home, "/usr/share/postgresql/" + major, "/usr/share/zoneinfo", "/usr/lib/locale/C.utf8"} {
		found, err := collect(tree)
		if err != nil {
			return Spec{}, fmt.Errorf("collect PostgreSQL's files: %w", err)
		}
		files = append(files, found...)
		if tree == home {
			for _, f := range found {
				binaries = append(binaries, f.Path)
			}
		}
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		return Spec{}, err
	}
	files = append(files, File{Path: "/bin/sh", Mode: 0o755, Source: shell})
	libraries, err := libraries(ctx, append(binaries, shell))
	if err != nil {
		return Spec{}, err
	}
	files = append(files, libraries...)
	files = append(files,
		File{Path: "/postgres-init", Mode: 0o755, Source: entry},
		File{Path: "/var/lib/postgresql", Mode: 0o700, Dir: true, Owner: User},
	)
	return Spec{
		Name:       Registry + "postgres",
		Files:      files,
		Entrypoint: []string{"/postgres-init"},
		Env:        []string{"PATH=" + home + "/bin:/usr/bin:/bin", "PGBIN=" + home + "/bin", "PGDATA=/var/lib/postgresql/data", "LANG=C.UTF-8", "PGHOST=/tmp"},
	}, nil
}

func newestPostgres(dir string) (string, error) {
	matches, err := filepath.Glob(filepath.Join(dir, "*", "bin", "initdb"))
	if err != nil {
		return "", err
	}
	best := 0
	for _, m := range matches {
		if major, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(m)))); err == nil {
			best = max(best, major)
		}
	}
	if best < minPostgres {
		return "", fmt.Errorf("PostgreSQL %d or later is not installed in %s: install the package postgresql", minPostgres, dir)
	}
	return filepath.Join(dir, strconv.Itoa(best)), nil
}

// unwanted are parts, relative to a collected tree, that the ledger has no use
// for; the compiler for queries alone would bring 100 MB of LLVM.
var unwanted = []string{"/lib/bitcode", "/lib/llvmjit", "/lib/pgxs", "/man", "/posix", "/right"}

// collect lists the files below tree; symlinks become the files they lead to.
func collect(tree string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, tree)
		if slices.ContainsFunc(unwanted, func(u string) bool { return strings.HasPrefix(rel, u) }) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a link to documentation that is not installed
		}
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			files = append(files, File{Path: path, Mode: int64(info.Mode().Perm()), Source: path})
		}
		return nil
	})
	return files, err
}

// libraries returns the shared libraries, and the loader, that ldd finds for binaries.
func libraries(ctx context.Context, binaries []string) ([]File, error) {
	cmd := program.Command(ctx, "ldd", binaries...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// ldd fails when one of the files is no ELF file; what matters is what it resolves.
	_ = cmd.Run()
	paths, err := parseLDD(stdout.String())
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("ldd resolves no library of PostgreSQL: %s", strings.TrimSpace(stderr.String()))
	}
	var files []File
	for _, path := range paths {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: path, Mode: 0o755, Source: target})
	}
	return files, nil
}

// parseLDD reads lines "name => path (address)" and "path (address)".
func parseLDD(output string) ([]string, error) {
	var paths []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if strings.HasSuffix(line, "not found") {
			return nil, fmt.Errorf("a library of PostgreSQL is missing on this machine: %s", line)
		}
		if _, after, ok := strings.Cut(line, "=> "); ok {
			line = after
		}
		path, address, ok := strings.Cut(line, " (0x")
		if ok && strings.HasSuffix(address, ")") && filepath.IsAbs(path) && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths, nil
}
