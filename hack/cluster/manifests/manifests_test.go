package manifests

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"go.yaml.in/yaml/v3"
)

type object struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Spec     struct{ Template struct{ Spec podSpec } }
}

type podSpec struct {
	SecurityContext struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []struct {
		Name, Image     string
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
	}
}

func decode(t *testing.T, manifest []byte) []object {
	t.Helper()
	var objects []object
	for d := yaml.NewDecoder(bytes.NewReader(manifest)); ; {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, manifest)
		}
		if o.Kind == "" || o.Metadata.Name == "" {
			t.Fatalf("an object without kind or name in:\n%s", manifest)
		}
		objects = append(objects, o)
	}
}

func TestEveryPodIsRestricted(t *testing.T) {
	for name, test := range map[string]struct {
		data any
		pods int
	}{
		"dns":                    {DNS{Image: "i:1", Address: "10.0.0.10"}, 1},
		"cert-manager":           {CertManager{Image: "i:1"}, 1},
		"DNS with an outside":    {DNS{Image: "i:1", Address: "10.0.0.10", Outside: "10.0.0.21", Zone: "example.com"}, 1},
		"cert-manager with ACME": {CertManager{Image: "i:1", ACME: &ACME{Solver: "s:1", Nameserver: "10.0.0.21", Cloudflare: "10.0.0.22", CA: "YQ=="}}, 1},
		"Traefik":                {Traefik{Image: "i:1", Address: "10.0.0.20"}, 1},
		"an internet": {Internet{
			DNSImage: "i:1", PebbleImage: "i:1", RefuserImage: "i:1", CloudflareImage: "i:1", Traefik: "10.0.0.20", DNS: "10.0.0.21", API: "10.0.0.22",
			Zone: "example.com", Token: "t", CA: "YQ==", Pebble: KeyPair{"YQ==", "YQ=="}, Cloudflare: KeyPair{"YQ==", "YQ=="},
		}, 4},
		"issuers":                 {Issuers{HTTP01: []string{"one", "other"}, CA: "YQ==", Token: "t"}, 0},
		"PostgreSQL on this node": {Postgres{Image: "i:1", Node: "desk", Path: "/data"}, 1},
		"PostgreSQL elsewhere":    {Postgres{Image: "i:1"}, 1},
		"credentials":             {Credentials{PostgresPassword: "a", AgentPassword: "b"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			manifest, err := Render(test.data)
			if err != nil {
				t.Fatal(err)
			}
			pods := 0
			for _, o := range decode(t, manifest) {
				spec := o.Spec.Template.Spec
				for _, c := range spec.Containers {
					pods++
					sc := c.SecurityContext
					if !spec.SecurityContext.RunAsNonRoot || spec.SecurityContext.SeccompProfile.Type != "RuntimeDefault" ||
						sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || !sc.ReadOnlyRootFilesystem ||
						len(sc.Capabilities.Drop) != 1 || sc.Capabilities.Drop[0] != "ALL" {
						t.Errorf("container %s is not restricted: %+v", c.Name, spec)
					}
					if c.Image != "i:1" {
						t.Errorf("container %s has image %q", c.Name, c.Image)
					}
				}
			}
			if pods != test.pods {
				t.Errorf("%d containers, want %d", pods, test.pods)
			}
		})
	}
}

func TestVolumeIsPlacedOnlyOnTheLocalNode(t *testing.T) {
	count := func(data Postgres) (volumes int) {
		manifest, err := Render(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range decode(t, manifest) {
			if o.Kind == "PersistentVolume" {
				volumes++
			}
		}
		return volumes
	}
	if here, elsewhere := count(Postgres{Path: "/data"}), count(Postgres{}); here != 1 || elsewhere != 0 {
		t.Errorf("%d volumes here, %d elsewhere", here, elsewhere)
	}
}

func TestUnknownDataIsRefused(t *testing.T) {
	if _, err := Render(42); err == nil {
		t.Error("a manifest for an int")
	}
}
