// Package node writes the configuration of the cluster's daemons and lists how
// the supervisor runs them.
package node

import (
	"bytes"
	"embed"
	"fmt"
	"net"
	"net/netip"
	"text/template"
	"time"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/box"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/kube"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/pki"
)

// Name is the node's name and the hostname of the box.
const Name = "desk"

// Namespace is where containerd keeps the kubelet's images and containers.
const Namespace = "k8s.io"

// Options are what differs from one cluster to the next.
type Options struct {
	Layout  box.Layout
	Network network.Plan
	// Pause is the reference of the image that holds a pod's namespaces.
	Pause string
	// UnsafeNoFsync lets etcd lose the last writes in a crash of the machine; for tests.
	UnsafeNoFsync bool
}

//go:embed templates
var templates embed.FS

// Prepare issues certificates, writes every configuration file, and returns the
// configuration of the box and the administrator's kubeconfig.
func Prepare(o Options) (box.Config, []byte, error) {
	authority, err := certificates(o)
	if err != nil {
		return box.Config{}, nil, err
	}
	for _, user := range []string{"controller-manager", "scheduler", "kube-proxy", "kubelet"} {
		config, err := kubeconfig(o, authority, user)
		if err != nil {
			return box.Config{}, nil, err
		}
		if err := files.Replace(o.Layout.Etc(user+".kubeconfig"), config, 0o600); err != nil {
			return box.Config{}, nil, err
		}
	}
	if err := render(o); err != nil {
		return box.Config{}, nil, err
	}
	admin, err := kubeconfig(o, authority, "admin")
	if err != nil {
		return box.Config{}, nil, err
	}
	ca, _ := authority.Path("ca")
	cert, key := authority.Path("admin")
	return box.Config{
		Hostname:  Name,
		Network:   o.Network,
		Processes: processes(o),
		Client:    box.Credentials{CA: ca, Cert: cert, Key: key},
	}, admin, nil
}

// Server is the API server's URL, from the host and from the box.
func Server(plan network.Plan) string {
	return "https://" + netip.AddrPortFrom(plan.Box(), 6443).String()
}

func certificates(o Options) (*pki.Authority, error) {
	now := time.Now()
	authority, err := pki.Open(o.Layout.PKI(), now)
	if err != nil {
		return nil, err
	}
	if err := authority.EnsureTokenKey("sa"); err != nil {
		return nil, err
	}
	address := net.IP(o.Network.Box().AsSlice())
	for _, c := range []pki.Certificate{
		{
			Name: "apiserver", CommonName: "kube-apiserver",
			DNSNames: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"},
			IPs:      []net.IP{address, o.Network.APIService().AsSlice(), net.IPv4(127, 0, 0, 1)},
		},
		{Name: "kubelet-serving", CommonName: "system:node:" + Name, DNSNames: []string{Name}, IPs: []net.IP{address}},
		{Name: "apiserver-kubelet", CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}},
		{Name: "kubelet", CommonName: "system:node:" + Name, Organizations: []string{"system:nodes"}},
		{Name: "controller-manager", CommonName: "system:kube-controller-manager"},
		{Name: "scheduler", CommonName: "system:kube-scheduler"},
		{Name: "kube-proxy", CommonName: "system:kube-proxy"},
		{Name: "admin", CommonName: "admin", Organizations: []string{"system:masters"}},
	} {
		if err := authority.Ensure(c, now); err != nil {
			return nil, fmt.Errorf("certificate %s: %w", c.Name, err)
		}
	}
	return authority, nil
}

func kubeconfig(o Options, authority *pki.Authority, user string) ([]byte, error) {
	ca, _, err := authority.Read("ca")
	if err != nil {
		return nil, fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	cert, key, err := authority.Read(user)
	if err != nil {
		return nil, fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return kube.Config(Server(o.Network), ca, cert, key), nil
}

// render writes each template to the file of the same name.
func render(o Options) error {
	all, err := template.ParseFS(templates, "templates/*")
	if err != nil {
		return err
	}
	for _, t := range all.Templates() {
		var out bytes.Buffer
		if err := t.Execute(&out, o); err != nil {
			return fmt.Errorf("render %s: %w", t.Name(), err)
		}
		if err := files.Replace(o.Layout.Etc(t.Name()), out.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}
