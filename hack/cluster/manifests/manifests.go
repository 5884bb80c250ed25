// Package manifests holds what the local cluster runs besides the operator:
// cluster DNS, cert-manager and PostgreSQL.
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

// DNS fills dns.yaml.
type DNS struct{ Image, Address string }

// CertManager fills cert-manager.yaml.
type CertManager struct{ Image string }

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
