package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	embedded "github.com/fergusstrange/embedded-postgres"
)

const (
	// least is the oldest major version that the ledger supports.
	least = 15
	// prefix of the directories that servers live in; the process id follows.
	prefix = "trading-postgres-"
)

// binaries finds the directory of initdb and postgres: in $PATH, then where
// distributions put them, newest first, then as an embedded download.
func binaries() (string, error) {
	var candidates []string
	if path, err := exec.LookPath("initdb"); err == nil {
		// Distributions link programs into $PATH one by one.
		if target, err := filepath.EvalSymlinks(path); err == nil {
			candidates = append(candidates, filepath.Dir(target))
		}
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern)
		candidates = append(candidates, found...)
	}
	best, newest := "", least-1
	for i, dir := range candidates {
		major, err := majorOf(dir)
		if err != nil || major < least {
			continue
		}
		if i == 0 && candidates[0] == dir {
			return dir, nil
		}
		if major > newest {
			best, newest = dir, major
		}
	}
	if best != "" {
		return best, nil
	}
	return download()
}

// program runs one of PostgreSQL's programs.
func program(dir, name string, args ...string) *exec.Cmd {
	path := filepath.Join(dir, name)
	return &exec.Cmd{Path: path, Args: append([]string{path}, args...)}
}

// majorOf asks a directory's server for its major version.
func majorOf(dir string) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0, err
	}
	out, err := program(dir, "postgres", "--version").Output()
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(out))
	if len(fields) < 3 {
		return 0, fmt.Errorf("%s/postgres calls itself %q", dir, out)
	}
	major, _, _ := strings.Cut(fields[2], ".")
	return strconv.Atoi(major)
}

// download unpacks an embedded PostgreSQL into the user's cache, once.
func download() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil || os.Geteuid() == 0 {
		// Root's cache cannot be read by the user that the server runs as.
		cache = "/var/cache"
	}
	dir := filepath.Join(cache, "trading-operator", "postgresql")
	bin := filepath.Join(dir, "bin")
	if _, err := majorOf(bin); err == nil {
		return bin, nil
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	// The library only unpacks while it starts a server, which it cannot do as
	// root; what counts is what it has unpacked.
	runtime := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-download", prefix, os.Getpid()))
	server := embedded.NewDatabase(embedded.DefaultConfig().BinariesPath(dir).Port(port).RuntimePath(runtime))
	startErr := server.Start()
	if startErr == nil {
		startErr = server.Stop()
	}
	if err := os.RemoveAll(runtime); err != nil {
		return "", err
	}
	if _, err := majorOf(bin); err != nil {
		return "", fmt.Errorf("there is no PostgreSQL %d or later in $PATH or /usr/lib/postgresql (install the package postgresql), and none could be downloaded: %w",
			least, errors.Join(startErr, err))
	}
	return bin, nil
}

// sweep removes what servers of processes that were killed have left.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	inMemory, _ := filepath.Glob(filepath.Join(sharedMemory, prefix+"*"))
	for _, dir := range append(left, inMemory...) {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		pid, err := strconv.Atoi(id)
		if err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		_ = os.RemoveAll(dir)
	}
}
