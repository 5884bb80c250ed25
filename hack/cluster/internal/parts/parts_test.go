package parts

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hello")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var hello = Part{Name: "hello", Version: "1.0.0", Programs: map[string]string{"hello": "."}, Links: []string{"greet"}}

var helloFiles = map[string]string{
	"go.mod":  "module example.com/hello\n\ngo 1.26.0\n",
	"main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
}

func key(t *testing.T, p Part, dir string) string {
	t.Helper()
	k, err := p.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyFollowsContentAndFlags(t *testing.T) {
	base := key(t, hello, module(t, helloFiles))
	if again := key(t, hello, module(t, helloFiles)); again != base {
		t.Errorf("the same content has keys %s and %s", base, again)
	}
	changed := map[string]string{"go.mod": helloFiles["go.mod"], "main.go": "package main\n\nfunc main() {}\n"}
	if key(t, hello, module(t, changed)) == base {
		t.Error("a changed file keeps the key")
	}
	tagged := hello
	tagged.Tags = "seccomp"
	if key(t, tagged, module(t, helloFiles)) == base {
		t.Error("a changed build tag keeps the key")
	}
	withTest := map[string]string{"x_test.go": "package main\n"}
	maps.Copy(withTest, helloFiles)
	if key(t, hello, module(t, withTest)) != base {
		t.Error("a test file changes the key")
	}
}

func TestBuildIsCachedAndAtomic(t *testing.T) {
	store := Store{Dir: t.TempDir(), Modules: filepath.Dir(module(t, helloFiles))}
	// What an interrupted build leaves must not be in the way.
	if err := os.MkdirAll(filepath.Join(store.Dir, ".building-hello", "junk"), 0o750); err != nil {
		t.Fatal(err)
	}
	dir, err := store.Build(t.Context(), hello, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hello", "greet"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if missing, err := store.Missing([]Part{hello}); err != nil || len(missing) != 0 {
		t.Errorf("missing after the build: %v, %v", missing, err)
	}
	t.Setenv("PATH", "") // a second build would need go
	if again, err := store.Build(t.Context(), hello, func(string) {}); err != nil || again != dir {
		t.Errorf("second build: %s, %v", again, err)
	}
}

func TestPartBuiltAloneLeavesNoCompiledPackages(t *testing.T) {
	store := Store{Dir: t.TempDir(), Modules: filepath.Dir(module(t, helloFiles))}
	part := hello
	part.Name, part.Module, part.Alone = "other", hello.Name, true
	dir, err := store.Build(t.Context(), part, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "hello")); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(filepath.Join(store.Dir, "logs", "other.log"))
	if err != nil || !strings.Contains(string(log), "runtime\n") {
		t.Errorf("it was not compiled apart from the others: %s, %v", log, err)
	}
	if _, err := os.Stat(filepath.Join(store.Dir, part.ownCache())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its compiled packages are left: %v", err)
	}
}

func TestFailedBuildShowsItsLogAndLeavesNoPart(t *testing.T) {
	files := map[string]string{"go.mod": helloFiles["go.mod"], "main.go": "package main\n\nfunc main() { missing() }\n"}
	store := Store{Dir: t.TempDir(), Modules: filepath.Dir(module(t, files))}
	_, err := store.Build(t.Context(), hello, func(string) {})
	if err == nil {
		t.Fatal("a program that does not compile was built")
	}
	if want := "undefined: missing"; !strings.Contains(err.Error(), want) {
		t.Errorf("error does not show %q: %v", want, err)
	}
	if _, built, _ := store.Path(hello); built {
		t.Error("the failed part is in the cache")
	}
}

func TestPartTakesFilesOfItsModule(t *testing.T) {
	files := maps.Clone(helloFiles)
	files["one.yaml"], files["two.yaml"] = "a: 1\n", "b: 2\n"
	store := Store{Dir: filepath.Join(t.TempDir(), "new", "cache"), Modules: filepath.Dir(module(t, files))}
	part := hello
	part.Files = map[string][2]string{"crds": {"example.com/hello", "*.yaml"}}
	dir, err := store.Build(t.Context(), part, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one.yaml", "two.yaml"} {
		if got, err := fs.ReadFile(os.DirFS(dir), "crds/"+name); err != nil || string(got) != files[name] {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	part.Files = map[string][2]string{"crds": {"example.com/hello", "*.json"}}
	if _, err := store.Build(t.Context(), part, func(string) {}); err == nil {
		t.Error("a module without the wanted files was accepted")
	}
}

func TestAssetsLeadToTheParts(t *testing.T) {
	store := Store{Dir: t.TempDir()}
	kubernetes, etcd := filepath.Join(store.Dir, "kubernetes-1"), filepath.Join(store.Dir, "etcd-1")
	var first string
	for range 2 {
		dir, err := store.Assets(kubernetes, etcd)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = dir
		}
		if dir != first {
			t.Errorf("the same parts have assets in %s and %s", first, dir)
		}
		for name, want := range map[string]string{"kube-apiserver": kubernetes, "kubectl": kubernetes, "etcd": etcd} {
			if to, err := os.Readlink(filepath.Join(dir, name)); err != nil || to != filepath.Join(want, name) {
				t.Errorf("%s leads to %q, %v", name, to, err)
			}
		}
	}
	if entries, err := os.ReadDir(store.Dir); err != nil || len(entries) != 1 {
		t.Errorf("the cache holds %v, %v", entries, err)
	}
}

// The version in a part's name is a promise about its go.mod.
func TestVersionsMatchTheModules(t *testing.T) {
	modules := map[string]string{
		"kubernetes":   "k8s.io/kubernetes",
		"etcd":         "go.etcd.io/etcd/server/v3",
		"containerd":   "github.com/containerd/containerd/v2",
		"runc":         "github.com/opencontainers/runc",
		"coredns":      "github.com/coredns/coredns",
		"cert-manager": "github.com/cert-manager/cert-manager",
		"kwok":         "sigs.k8s.io/kwok",

		"traefik":           "github.com/traefik/traefik/v3",
		"cert-manager-acme": "github.com/cert-manager/cert-manager",
		"acmesolver":        "github.com/cert-manager/cert-manager",
		"pebble":            "github.com/letsencrypt/pebble/v2",
	}
	for _, p := range slices.Concat(All, Apart, TLS) {
		mod, err := os.ReadFile(filepath.Join(p.module(filepath.Join("..", "..", "parts")), "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if want := modules[p.Name] + " v" + p.Version; !strings.Contains(string(mod), want) {
			t.Errorf("parts/%s/go.mod does not require %s", p.Name, want)
		}
	}
}
