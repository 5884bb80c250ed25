// Package parts builds the programs of the cluster from Go modules into a cache
// outside the tree. Each part is a module of its own below hack/cluster/parts.
package parts

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Kubernetes is the version that every Kubernetes program reports.
const Kubernetes = "1.37.2"

// Part is one module and the programs built from it.
type Part struct {
	Name    string
	Version string
	// Module is the directory below the modules that it is built in; Name when empty.
	Module string
	// Programs maps the file built to the package it is built from.
	Programs map[string]string
	// Links are further names of the only program, which looks at how it is called.
	Links   []string
	Tags    string
	LDFlags string
	CGO     bool
	// InPod says that its programs run in pods, and not as daemons of the node.
	InPod bool
	// Alone says that no other part shares its packages: they are compiled into a
	// cache that is dropped when the part is finished.
	Alone bool
	// Files maps a directory of the finished part to files of a module it is
	// built from, as module path and glob.
	Files map[string][2]string
}

// All lists the parts of the local cluster, the longest build first.
var All = []Part{
	{
		Name: "kubernetes", Version: Kubernetes,
		Programs: map[string]string{"kubernetes": "."},
		Links:    []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"},
		LDFlags: "-X k8s.io/component-base/version.gitVersion=v" + Kubernetes +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
	},
	{Name: "etcd", Version: "3.6.16", Programs: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"}},
	{Name: "containerd", Version: "2.3.7", Programs: map[string]string{
		"containerd":              "github.com/containerd/containerd/v2/cmd/containerd",
		"containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
		"ctr":                     "github.com/containerd/containerd/v2/cmd/ctr",
	}},
	{Name: "runc", Version: "1.5.2", Programs: map[string]string{"runc": "github.com/opencontainers/runc"}, Tags: "seccomp", CGO: true},
	{Name: "coredns", Version: "1.15.0", InPod: true, Programs: map[string]string{"coredns": "."}},
	{Name: "cert-manager", Version: "1.21.2", InPod: true, Programs: map[string]string{"cert-manager": "."},
		Files: map[string][2]string{"crds": {"github.com/cert-manager/cert-manager", "deploy/crds/*.yaml"}}},
}

// Apart lists parts that the local cluster does without. They are built when
// they are asked for by name.
var Apart = []Part{
	{Name: "kwok", Version: "0.8.0", Programs: map[string]string{"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
		Files: map[string][2]string{
			"node-stages": {"sigs.k8s.io/kwok", "kustomize/stage/node/fast/node-*.yaml"},
			"pod-stages":  {"sigs.k8s.io/kwok", "kustomize/stage/pod/fast/pod-*.yaml"},
		}},
}

// TLS lists what the tests of the TLS chain add, the longest build first.
// cert-manager-acme takes the place of cert-manager.
var TLS = []Part{
	{
		Name: "traefik", Version: "3.6.12", InPod: true, Alone: true,
		Programs: map[string]string{"traefik": "github.com/traefik/traefik/v3/cmd/traefik"},
		Files:    map[string][2]string{"crds": {"github.com/traefik/traefik/v3", "docs/content/reference/dynamic-configuration/traefik.io_*.yaml"}},
	},
	{
		Name: "cert-manager-acme", Version: "1.21.2", InPod: true, Module: "cert-manager", Tags: "acme",
		Programs: map[string]string{"cert-manager": "."},
		Files: map[string][2]string{
			"crds":         {"github.com/cert-manager/cert-manager", "deploy/crds/*.yaml"},
			"gateway-crds": {"sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_[a-u]*.yaml"}, // v is a policy
		},
	},
	{Name: "acmesolver", Version: "1.21.2", InPod: true, Programs: map[string]string{"acmesolver": "."}},
	{Name: "pebble", Version: "2.10.1", InPod: true, Programs: map[string]string{
		"pebble":              "github.com/letsencrypt/pebble/v2/cmd/pebble",
		"pebble-challtestsrv": "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv",
	}},
}

// Find returns the part of that name.
func Find(name string) (Part, error) {
	var names []string
	for _, p := range slices.Concat(All, Apart, TLS) {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Part{}, fmt.Errorf("no part %q: use one of %s", name, strings.Join(names, ", "))
}

// module is the directory of the part's module below modules.
func (p Part) module(modules string) string {
	return filepath.Join(modules, cmp.Or(p.Module, p.Name))
}

// CacheDir is where finished parts live: $TRADING_OPERATOR_CACHE or the user's
// cache directory, below it trading-operator.
func CacheDir() (string, error) {
	base := os.Getenv("TRADING_OPERATOR_CACHE")
	if base == "" {
		var err error
		if base, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("find a cache directory, set TRADING_OPERATOR_CACHE: %w", err)
		}
	}
	base, err := filepath.Abs(base)
	return filepath.Join(base, "trading-operator"), err
}

// Key names the part's directory in the cache: it changes with the version, the
// part's files, the Go release, the platform and how it is built.
func (p Part) Key(module string) (string, error) {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, p.Tags, p.LDFlags, p.CGO, p.Links, p.Files)
	for _, name := range sortedKeys(p.Programs) {
		_, _ = fmt.Fprintln(h, name, p.Programs[name])
	}
	tree := os.DirFS(module)
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		return "", fmt.Errorf("read part %s: %w", p.Name, err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		data, err := fs.ReadFile(tree, entry.Name())
		if err != nil {
			return "", fmt.Errorf("read part %s: %w", p.Name, err)
		}
		_, _ = fmt.Fprintf(h, "%s %d\n%s", entry.Name(), len(data), data)
	}
	return fmt.Sprintf("%s-%s-%s", p.Name, p.Version, hex.EncodeToString(h.Sum(nil))[:12]), nil
}

// Store builds parts from the modules below Modules into the cache Dir.
type Store struct {
	Dir     string
	Modules string // hack/cluster/parts
}

// Path returns the directory of the part's programs and whether they are built.
func (s Store) Path(p Part) (dir string, built bool, err error) {
	key, err := p.Key(p.module(s.Modules))
	if err != nil {
		return "", false, err
	}
	dir = filepath.Join(s.Dir, key)
	_, err = os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return dir, false, nil
	}
	return dir, err == nil, err
}

// Missing returns those of parts that are not built.
func (s Store) Missing(all []Part) ([]Part, error) {
	var missing []Part
	for _, p := range all {
		_, built, err := s.Path(p)
		if err != nil {
			return nil, err
		}
		if !built {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
