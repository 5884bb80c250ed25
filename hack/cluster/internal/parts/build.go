package parts

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/program"
)

const (
	// needBytes is what all parts take from empty caches: modules, compiled packages, programs.
	needBytes = 12 << 30
	tailLines = 30
)

// Build returns the directory of the part's programs, building them if needed.
// Two callers share: the second waits for the first. An interrupted build
// leaves only a temporary directory that the next build removes.
func (s Store) Build(ctx context.Context, p Part, detail func(string)) (string, error) {
	dir, built, err := s.Path(p)
	if err != nil || built {
		return dir, err
	}
	cache, err := s.open()
	if err != nil {
		return "", fmt.Errorf("create the cache, set TRADING_OPERATOR_CACHE to a writable directory: %w", err)
	}
	defer func() { _ = cache.Close() }()
	unlock, err := lock(cache, p.Name+".lock", detail)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, built, err = s.Path(p); err != nil || built {
		return dir, err
	}
	temp := ".building-" + p.Name
	if err := cache.RemoveAll(temp); err != nil {
		return "", err
	}
	if err := cache.Mkdir(temp, 0o755); err != nil {
		return "", err
	}
	for _, program := range sortedKeys(p.Programs) {
		if err := s.compile(ctx, cache, p, p.Programs[program], filepath.Join(temp, program), detail); err != nil {
			return "", err
		}
	}
	for _, link := range p.Links {
		if err := cache.Symlink(sortedKeys(p.Programs)[0], filepath.Join(temp, link)); err != nil {
			return "", err
		}
	}
	if err := s.copyFiles(ctx, cache, p, temp); err != nil {
		return "", err
	}
	if err := cache.Rename(temp, filepath.Base(dir)); err != nil {
		return "", fmt.Errorf("move the finished part into the cache: %w", err)
	}
	if p.Alone {
		return dir, cache.RemoveAll(p.ownCache())
	}
	return dir, nil
}

// ownCache is where the packages of a part that is built alone are compiled to;
// an interrupted build goes on with what is there.
func (p Part) ownCache() string { return ".go-build-" + p.Name }

// open opens the cache, made where it is missing.
func (s Store) open() (*os.Root, error) {
	if err := files.MakeDir(s.Dir); err != nil {
		return nil, err
	}
	return os.OpenRoot(s.Dir)
}

// compile runs go build for pkg, with out below the cache as its result, and
// shows the end of its log when it fails.
func (s Store) compile(ctx context.Context, cache *os.Root, p Part, pkg, out string, detail func(string)) error {
	if err := cache.MkdirAll("logs", 0o755); err != nil {
		return err
	}
	logName := filepath.Join("logs", p.Name+".log")
	log, err := cache.Create(logName)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// No -trimpath: with the same flags the operator and its tests reuse what is compiled here.
	args := []string{"build", "-v", "-mod=readonly", "-buildvcs=false", "-ldflags", strings.TrimSpace("-s -w " + p.LDFlags), "-o", filepath.Join(s.Dir, out)}
	if p.Tags != "" {
		args = append(args, "-tags", p.Tags)
	}
	total, err := s.count(ctx, p, pkg, detail)
	if err != nil {
		return err
	}
	cmd := s.goCommand(ctx, p, append(args, pkg)...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run go build (is Go installed?): %w", err)
	}
	follow(io.TeeReader(pipe, log), total, detail)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("build %s of part %s: %w\n%s\nthe whole log: %s", pkg, p.Name, err, tail(cache, logName), filepath.Join(s.Dir, logName))
	}
	return nil
}

// goCommand runs go in the part's module.
func (s Store) goCommand(ctx context.Context, p Part, args ...string) *exec.Cmd {
	cmd := program.Command(ctx, "go", args...)
	cmd.Dir = p.module(s.Modules)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED="+map[bool]string{true: "1", false: "0"}[p.CGO])
	if p.Alone {
		cmd.Env = append(cmd.Env, "GOCACHE="+filepath.Join(s.Dir, p.ownCache()))
	}
	// On Ctrl-C the terminal signals the whole group; go build then removes its work directory itself.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	return cmd
}

// count downloads what pkg needs and returns how many packages that is.
func (s Store) count(ctx context.Context, p Part, pkg string, detail func(string)) (int, error) {
	detail("downloading modules")
	args := []string{"list", "-mod=readonly", "-deps"}
	if p.Tags != "" {
		args = append(args, "-tags", p.Tags)
	}
	cmd := s.goCommand(ctx, p, append(args, pkg)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("download the modules of part %s: %w\n%s", p.Name, err, stderr.String())
	}
	return bytes.Count(out, []byte("\n")), nil
}

// copyFiles takes the part's further files from the modules it is built from
// to dir below the cache.
func (s Store) copyFiles(ctx context.Context, cache *os.Root, p Part, dir string) error {
	for name, from := range p.Files {
		at, err := program.Output(s.goCommand(ctx, p, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", from[0]), "find module "+from[0])
		if err != nil {
			return err
		}
		module := os.DirFS(strings.TrimSpace(at))
		found, err := fs.Glob(module, from[1])
		if err != nil || len(found) == 0 {
			return fmt.Errorf("module %s has no %s: %w", from[0], from[1], errors.Join(err, os.ErrNotExist))
		}
		if err := cache.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
		for _, file := range found {
			data, err := fs.ReadFile(module, file)
			if err != nil {
				return fmt.Errorf("read module %s: %w", from[0], err)
			}
			if err := cache.WriteFile(filepath.Join(dir, name, path.Base(file)), data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow counts the packages that go build -v names as it compiles them; those
// in Go's cache are not named.
func follow(r io.Reader, total int, detail func(string)) {
	packages := 0
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		if strings.HasPrefix(scanner.Text(), "go: ") {
			continue
		}
		packages++
		detail(fmt.Sprintf("%d of at most %d packages compiled", packages, total))
	}
	_, _ = io.Copy(io.Discard, r) // a line too long for the scanner must not block the build
}

func tail(cache *os.Root, name string) string {
	data, err := cache.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}

// lock takes an advisory lock that ends with the process.
func lock(cache *os.Root, name string, detail func(string)) (func(), error) {
	f, err := cache.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		detail("another build of it runs, waiting for that")
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	} else if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

// CheckDisk says before a long build that there is not enough room for it.
func (s Store) CheckDisk() error {
	dir := files.Existing(s.Dir)
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("look for free space at %s: %w", dir, err)
	}
	if free := stat.Bavail * uint64(max(stat.Bsize, 0)); free < needBytes {
		return fmt.Errorf("%s has %d GiB free, building Kubernetes takes up to %d GiB (modules, build cache, programs): free some, or point TRADING_OPERATOR_CACHE, GOCACHE and GOMODCACHE elsewhere",
			dir, free>>30, needBytes>>30)
	}
	return nil
}

// Assets makes a directory with what envtest looks for and returns it.
func (s Store) Assets(kubernetes, etcd string) (string, error) {
	dir := filepath.Join(s.Dir, "assets-"+filepath.Base(kubernetes)+"-"+filepath.Base(etcd))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	cache, err := s.open()
	if err != nil {
		return "", err
	}
	defer func() { _ = cache.Close() }()
	temp := ".assets-" + rand.Text() // of this process alone
	if err := cache.Mkdir(temp, 0o755); err != nil {
		return "", err
	}
	defer func() { _ = cache.RemoveAll(temp) }()
	for name, from := range map[string]string{"kube-apiserver": kubernetes, "kubectl": kubernetes, "etcd": etcd} {
		if err := cache.Symlink(filepath.Join(from, name), filepath.Join(temp, name)); err != nil {
			return "", err
		}
	}
	if err := cache.Rename(temp, filepath.Base(dir)); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}
