// Package instrument builds the trading agent with its failpoints in force. The
// sources stay as they are: gofail's rewriting goes to a cache outside the tree,
// and the compiler is told to read it instead.
package instrument

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/gofail/code"
	// What is rewritten imports it.
	_ "go.etcd.io/gofail/runtime"
)

const (
	mark    = "// gofail:"
	program = "./cmd/trading-agent"
	binding = "zz_failpoints.go"
)

// patch is what has to be different where failpoints alone do not suffice.
type patch struct{ file, from, to string }

var patches = []patch{
	// What the clock returns matters, not when it is asked, and no test may set the
	// machine's.
	{"internal/trader/clock.go", "func (c *wallClock) Now() time.Time { return time.Now() }\n", `func (c *wallClock) Now() time.Time {
	// gofail: var clockAhead int
	// return time.Now().Add(time.Duration(clockAhead) * time.Second)
	return time.Now()
}
`},
	{"internal/trader/clock.go", "time.Until(awaited.Until)", "awaited.Until.Sub(c.Now())"},
}

// roots are where failpoints may stand.
var roots = []string{"cmd", "internal"}

// Build is an agent with failpoints.
type Build struct {
	// Path of the program.
	Path string
	// Failpoints in it, sorted. Their names are unique over all packages.
	Failpoints []string
}

// Agent builds the trading agent of the module that contains the directory. The
// directory of the build is named by what was rewritten, so that another state of
// the tree never gets this one's program.
func Agent(ctx context.Context, directory string) (Build, error) {
	root, err := moduleRoot(ctx, directory)
	if err != nil {
		return Build{}, err
	}
	rewritten, names, err := rewrite(root)
	if err != nil {
		return Build{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Build{}, fmt.Errorf("finding a place for the rewritten sources: %w", err)
	}
	home := filepath.Join(cache, "trading-operator", "crash", key(rewritten))
	overlay, err := lay(home, rewritten)
	if err != nil {
		return Build{}, err
	}
	build := Build{Path: filepath.Join(home, "trading-agent"), Failpoints: names}
	command := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", build.Path, program) //nolint:gosec // the arguments are our own
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return Build{}, fmt.Errorf("building the agent with failpoints: %w\n%s", err, out)
	}
	return build, nil
}

// Failpoints are the names of those in the module that contains the directory.
func Failpoints(ctx context.Context, directory string) ([]string, error) {
	root, err := moduleRoot(ctx, directory)
	if err != nil {
		return nil, err
	}
	_, names, err := rewrite(root)
	return names, err
}

func moduleRoot(ctx context.Context, directory string) (string, error) {
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}")
	command.Dir = directory
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("finding the module of %s: %w", directory, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// rewrite is the content of every file that the compiler shall read differently,
// by its path in the tree, and the names of the failpoints.
func rewrite(root string) (map[string][]byte, []string, error) {
	files, names := map[string][]byte{}, []string{}
	bound := map[string]*boundPackage{}
	for _, top := range roots {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			return rewriteFile(root, path, files, bound)
		})
		if err != nil {
			return nil, nil, err
		}
	}
	for _, p := range patches {
		if _, err := os.Stat(filepath.Join(root, p.file)); err == nil && files[filepath.Join(root, p.file)] == nil {
			if err := rewriteFile(root, filepath.Join(root, p.file), files, bound); err != nil {
				return nil, nil, err
			}
		}
	}
	for directory, found := range bound {
		var text bytes.Buffer
		if err := code.NewBinding(found.name, found.failpoints).Write(&text); err != nil {
			return nil, nil, err
		}
		files[filepath.Join(directory, binding)] = text.Bytes()
		for _, failpoint := range found.failpoints {
			names = append(names, failpoint.Name())
		}
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		return nil, nil, fmt.Errorf("a failpoint has the name of another; the names are %s", strings.Join(names, ", "))
	}
	if len(names) == 0 {
		return nil, nil, errors.New("the sources have no failpoints")
	}
	return files, names, nil
}

type boundPackage struct {
	name       string
	failpoints []*code.Failpoint
}

func rewriteFile(root, path string, files map[string][]byte, bound map[string]*boundPackage) error {
	source, err := os.ReadFile(path) //nolint:gosec // a source of the tree
	if err != nil {
		return err
	}
	changed := bytes.Contains(source, []byte(mark))
	for _, p := range patches {
		if path != filepath.Join(root, p.file) {
			continue
		}
		if !bytes.Contains(source, []byte(p.from)) {
			return fmt.Errorf("%s no longer holds %q; see what the agent needs there now", path, p.from)
		}
		source, changed = bytes.Replace(source, []byte(p.from), []byte(p.to), 1), true
	}
	if !changed {
		return nil
	}
	var text bytes.Buffer
	failpoints, err := code.ToFailpoints(&text, bytes.NewReader(source))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.PackageClauseOnly)
	if err != nil {
		return err
	}
	files[path] = text.Bytes()
	if len(failpoints) == 0 {
		return nil
	}
	directory := filepath.Dir(path)
	if bound[directory] == nil {
		bound[directory] = &boundPackage{name: file.Name.Name}
	}
	bound[directory].failpoints = append(bound[directory].failpoints, failpoints...)
	return nil
}

// key is a name for what was rewritten.
func key(files map[string][]byte) string {
	paths := make([]string, 0, len(files))
	for path := range files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	hash := sha256.New()
	for _, path := range paths {
		_, _ = fmt.Fprintf(hash, "%s %d\n", path, len(files[path]))
		_, _ = hash.Write(files[path])
	}
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// lay writes the rewritten files and the list that leads the compiler to them.
func lay(home string, files map[string][]byte) (string, error) {
	if err := os.MkdirAll(home, 0o750); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for path, text := range files {
		hash := sha256.Sum256([]byte(path))
		to := filepath.Join(home, hex.EncodeToString(hash[:8])+".go")
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
		replace[path] = to
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(home, "overlay.json")
	return overlay, os.WriteFile(overlay, list, 0o600)
}
