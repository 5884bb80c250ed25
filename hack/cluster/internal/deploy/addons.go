// Package deploy installs what runs in the cluster: cluster DNS, cert-manager,
// PostgreSQL, the operator and its samples, and watches until agents trade.
package deploy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/kube"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/poll"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/manifests"
)

// readyTimeout bounds each wait for a workload; on a busy machine a first start takes a few seconds.
const readyTimeout = 3 * time.Minute

// CRDs applies every CRD manifest in dir and waits until the API server serves them.
func CRDs(ctx context.Context, k kube.Kubectl, dir string) error {
	tree := os.DirFS(dir)
	names, err := fs.Glob(tree, "*.yaml")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no CRD manifests in %s: remove that part from the cache and build it again", dir)
	}
	var docs [][]byte
	for _, name := range names {
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return fmt.Errorf("read a CRD manifest in %s: %w", dir, err)
		}
		docs = append(docs, data)
	}
	manifest := manifests.Join(docs...)
	if err := k.Apply(ctx, manifest); err != nil {
		return err
	}
	_, err = k.Feed(ctx, bytes.NewReader(manifest), "wait", "--for=condition=Established", "--timeout=60s", "-f", "-")
	return err
}

// Credentials makes the database's passwords the first time and keeps its
// Secret and the Ledger's in step: a database keeps the passwords it was made with.
func Credentials(ctx context.Context, k kube.Kubectl) error {
	out, err := k.Output(ctx, "--namespace=desk", "get", "secret/postgres", "--ignore-not-found", "-o", "json")
	if err != nil {
		return err
	}
	credentials, err := readCredentials(out)
	if err != nil {
		return err
	}
	manifest, err := manifests.Render(credentials)
	if err != nil {
		return err
	}
	return k.Apply(ctx, manifest)
}

// readCredentials takes the passwords from the Secret, or makes new ones for an empty one.
func readCredentials(secret string) (manifests.Credentials, error) {
	if strings.TrimSpace(secret) == "" {
		return manifests.Credentials{PostgresPassword: password(), AgentPassword: password()}, nil
	}
	var object struct {
		Data map[string][]byte `json:"data"`
	}
	if err := json.Unmarshal([]byte(secret), &object); err != nil {
		return manifests.Credentials{}, fmt.Errorf("read secret desk/postgres: %w", err)
	}
	c := manifests.Credentials{
		PostgresPassword: string(object.Data["postgres-password"]),
		AgentPassword:    string(object.Data["agent-password"]),
	}
	if c.PostgresPassword == "" || c.AgentPassword == "" {
		return c, errors.New("secret desk/postgres lacks postgres-password or agent-password: run down and up for a new database")
	}
	return c, nil
}

// password is hexadecimal, so that it needs quoting neither in SQL nor in a URI.
func password() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// Operator describes one deployment of the operator.
type Operator struct {
	Root    string // of the repository
	Overlay string // directory for the generated kustomization
	// Manager and Agent are image references with tags.
	Manager, Agent string
	// Roots in PEM are trusted beside those of the images; empty for none.
	Roots []byte
}

// Namespace and Deployment name the operator's own objects in config/default.
const (
	Namespace  = "trading-system"
	Deployment = "trading-operator"
)

// Install applies config/default with the images of o and waits for the manager.
func (o Operator) Install(ctx context.Context, k kube.Kubectl) error {
	if err := o.writeOverlay(); err != nil {
		return err
	}
	if _, err := k.Output(ctx, "apply", "--server-side", "--force-conflicts", "--field-manager=trading-cluster", "-k", o.Overlay); err != nil {
		return fmt.Errorf("install the operator: %w", err)
	}
	if _, err := k.Output(ctx, "rollout", "status", "--namespace", Namespace, "--timeout="+readyTimeout.String(), "deployment/"+Deployment); err != nil {
		return fmt.Errorf("%w\n%s", err, Diagnose(ctx, k, Namespace))
	}
	return nil
}

func (o Operator) writeOverlay() error {
	base, err := filepath.Rel(o.Overlay, filepath.Join(o.Root, "config", "default"))
	if err != nil {
		return err
	}
	kustomization, err := o.kustomization(base)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Overlay, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.Overlay, "roots.pem"), o.Roots, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Overlay, "kustomization.yaml"), kustomization, 0o600)
}

// trust gives the manager further roots. Those of a public authority would be in
// its image.
const trust = `- patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: ` + Deployment + `
      namespace: ` + Namespace + `
    spec:
      template:
        spec:
          containers:
          - name: manager
            env:
            - name: SSL_CERT_DIR
              value: /etc/internet
            volumeMounts:
            - name: internet
              mountPath: /etc/internet
              readOnly: true
          volumes:
          - name: internet
            configMap:
              name: internet
configMapGenerator:
- name: internet
  namespace: ` + Namespace + `
  files: [roots.pem]
`

// kustomization puts the images into config/default, which names them without a registry of this machine.
func (o Operator) kustomization(base string) ([]byte, error) {
	cut := strings.LastIndex(o.Manager, ":")
	if cut < 0 || strings.Contains(o.Manager[cut:], "/") || o.Agent == "" {
		return nil, fmt.Errorf("images %q and %q: both need a name and a tag", o.Manager, o.Agent)
	}
	name, tag := o.Manager[:cut], o.Manager[cut+1:]
	further := ""
	if len(o.Roots) > 0 {
		further = trust
	}
	return fmt.Appendf(nil, `# Written by hack/cluster: config/default with the images of this deployment.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- %s
images:
- name: ghcr.io/three-rivers-tech/trading-operator/manager
  newName: %s
  newTag: %q
patches:
- patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: %s
      namespace: %s
    spec:
      template:
        spec:
          containers:
          - name: manager
            env:
            - name: AGENT_IMAGE
              value: %s
%s`, base, name, tag, Deployment, Namespace, o.Agent, further), nil
}

// Samples applies config/samples. The webhook may need a moment until its
// certificate authority is known to the API server and its address is routed.
func (o Operator) Samples(ctx context.Context, k kube.Kubectl) error {
	var last error
	if err := poll.Until(ctx, 200*time.Millisecond, time.Minute, func() bool {
		_, last = k.Output(ctx, "apply", "--server-side", "--force-conflicts", "--field-manager=trading-cluster", "-k", filepath.Join(o.Root, "config", "samples"))
		return last == nil || !strings.Contains(last.Error(), "failed calling webhook")
	}); err != nil {
		return fmt.Errorf("the operator's webhook does not answer: %w", errors.Join(err, last))
	}
	return last
}

// Diagnose collects what a person would look at first: pods, events, last log lines.
func Diagnose(ctx context.Context, k kube.Kubectl, namespace string) string {
	var b strings.Builder
	section := func(args ...string) {
		args = append([]string{"--namespace", namespace}, args...)
		out, err := k.Output(ctx, args...)
		if err != nil {
			out += err.Error()
		}
		fmt.Fprintf(&b, "\n$ kubectl %s\n%s\n", strings.Join(args, " "), strings.TrimSpace(out))
	}
	section("get", "pods", "-o", "wide")
	section("events", "--types=Warning")
	pods, err := k.Output(ctx, "--namespace", namespace, "get", "pods", "-o", "name")
	if err == nil {
		for pod := range strings.FieldsSeq(pods) {
			section("logs", "--all-containers", "--tail=15", pod)
		}
	}
	return b.String()
}
