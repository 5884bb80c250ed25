package cli

import (
	"os"
	"slices"
	"testing"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/parts"
)

func names(all []parts.Part) (names []string) {
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names
}

// The ordinary cluster must not build what only the tests of the TLS chain need.
func TestOnlyTLSAddsItsParts(t *testing.T) {
	if got, want := names(options{}.parts()), names(parts.All); !slices.Equal(got, want) {
		t.Errorf("without --tls: %q, want %q", got, want)
	}
	got := names(options{tls: true}.parts())
	for _, name := range []string{"kubernetes", "traefik", "pebble", "acmesolver", "cert-manager-acme"} {
		if !slices.Contains(got, name) {
			t.Errorf("--tls lacks %s", name)
		}
	}
	if slices.Contains(got, "cert-manager") {
		t.Error("--tls builds cert-manager twice")
	}
	if plain, tls := len((options{}).packages()), len((options{tls: true}).packages()); tls <= plain {
		t.Errorf("%d packages of the system with --tls, %d without", tls, plain)
	}
}

func TestEveryProgramInAPodHasAnImage(t *testing.T) {
	for _, o := range []options{{}, {tls: true}} {
		images := (&localCluster{options: o}).partImages()
		for _, p := range o.parts() {
			for program := range p.Programs {
				if part, ok := images[program]; ok != p.InPod || ok && part != p.Name {
					t.Errorf("%s of %s has an image: %v, of %q", program, p.Name, ok, part)
				}
			}
		}
	}
}

func TestTokenAndAuthorityAreKept(t *testing.T) {
	c := &localCluster{app: &app{layout: box.Layout{Dir: t.TempDir()}}}
	if err := c.layout.Make(); err != nil {
		t.Fatal(err)
	}
	first, err := c.openToken()
	if err != nil || len(first) != 40 {
		t.Fatalf("token of %d characters, %v", len(first), err)
	}
	if again, err := c.openToken(); err != nil || again != first {
		t.Errorf("another token the second time, %v", err)
	}
	if info, err := os.Stat(c.layout.Etc("cloudflare.token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info, err)
	}
	c.authority = c.openAuthority
	pair, err := c.certificate("server", "b.example", "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.certificate("server", "a.example", "b.example"); err != nil || again != pair {
		t.Errorf("another certificate the second time, %v", err)
	}
}
