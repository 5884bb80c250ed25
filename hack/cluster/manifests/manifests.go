// Package manifests holds what the local cluster runs besides the operator:
// cluster DNS, cert-manager and PostgreSQL, and for tests of the TLS chain
// Traefik and as much of an internet as that chain needs.
package manifests

import (
	"bytes"
	"embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed *.yaml
var files embed.FS

// DNS fills dns.yaml. Outside is the address of the DNS server that is asked for
// names in Zone; without one, every name outside the cluster is refused.
type DNS struct{ Image, Address, Outside, Zone string }

// CertManager fills cert-manager.yaml.
type CertManager struct {
	Image string
	ACME  *ACME
}

// ACME says how cert-manager answers challenges.
type ACME struct {
	// Solver is the image that answers HTTP-01 challenges.
	Solver string
	// Nameserver is asked whether a challenge can be seen; Cloudflare is where
	// api.cloudflare.com leads to. Both are addresses.
	Nameserver, Cloudflare string
	// CA in base64 signs for the hosts of the internet, and is the only one trusted.
	CA string
}

// Traefik fills traefik.yaml.
type Traefik struct{ Image, Address string }

// Internet fills internet.yaml.
type Internet struct {
	DNSImage, PebbleImage, RefuserImage, CloudflareImage string
	// Addresses of the Services of Traefik, the DNS server and Cloudflare's API.
	Traefik, DNS, API string
	// Zone is what the account at Cloudflare holds, Token what opens it.
	Zone, Token string
	// Certificates of the servers, and of who signed them, in base64.
	Pebble, Cloudflare KeyPair
	CA                 string
}

// KeyPair is a certificate and its private key, in base64 of PEM.
type KeyPair struct{ Certificate, Key string }

// Issuers fills issuers.yaml.
type Issuers struct {
	// HTTP01 are the authorities' names; so are those of their issuers.
	HTTP01 []string
	// CA in base64 of PEM is what the authorities' own servers are certified by.
	CA, Token string
}

// Postgres fills postgres.yaml.
type Postgres struct {
	Image string
	// Node and Path place the data on the local node; without them the cluster's
	// default storage class does.
	Node, Path string
}

// Credentials fills credentials.yaml.
type Credentials struct{ PostgresPassword, AgentPassword string }

// Render returns the manifest that belongs to the type of data.
func Render(data any) ([]byte, error) {
	var name string
	switch data.(type) {
	case DNS:
		name = "dns.yaml"
	case CertManager:
		name = "cert-manager.yaml"
	case Traefik:
		name = "traefik.yaml"
	case Internet:
		name = "internet.yaml"
	case Issuers:
		name = "issuers.yaml"
	case Postgres:
		name = "postgres.yaml"
	case Credentials:
		name = "credentials.yaml"
	default:
		return nil, fmt.Errorf("no manifest for %T", data)
	}
	t, err := template.New(name).Option("missingkey=error").ParseFS(files, name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// Join joins manifests into one.
func Join(docs ...[]byte) []byte {
	texts := make([]string, 0, len(docs))
	for _, d := range docs {
		texts = append(texts, strings.TrimSpace(string(d)))
	}
	return []byte(strings.Join(texts, "\n---\n") + "\n")
}
