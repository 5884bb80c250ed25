// Package endpoint gives agents a verified HTTPS address: it brings the Service,
// the certificates and the route of each agent to what its spec.endpoint asks for,
// tries the address as a client would, and says in conditions how both stand.
// Nothing in it keeps an agent from trading.
package endpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	// PortName is the name of the container port that serves HTTPS.
	PortName = "https"

	// servicePort is where the agent's Service listens.
	servicePort = 443

	// routeGrace is how long a controller is given to take a route up before the
	// user is told: a load balancer's address takes a minute or two.
	routeGrace = 2 * time.Minute

	// challengeGrace is how long an ACME challenge may say that its proof is not seen
	// yet: an ingress takes seconds to serve it, and DNS to know it.
	challengeGrace = time.Minute

	// renewalGrace is how long after its renewal time a certificate may still be
	// the old one: an ACME order takes minutes where DNS is slow.
	renewalGrace = time.Hour
)

// DefaultInternalIssuer is who certifies HTTPS inside the cluster.
var DefaultInternalIssuer = v1alpha1.IssuerReference{Kind: v1alpha1.IssuerKindClusterIssuer, Name: "trading-internal"}

// Options are what the operator's user sets for all endpoints.
type Options struct {
	// Issuer of certificates where spec.endpoint names none; nil if it must.
	Issuer *v1alpha1.IssuerReference
	// IngressClass where spec.endpoint names neither a class nor a gateway; the
	// cluster's default if empty.
	IngressClass string
	// InternalIssuer certifies the agents' HTTPS inside the cluster.
	// DefaultInternalIssuer if empty.
	InternalIssuer v1alpha1.IssuerReference
	// ClientCertificates is a directory with tls.crt and tls.key, by which the
	// operator shows agents who it is, and ca.crt, by which it knows them. The
	// files may come later; without them agents are not tried from inside.
	ClientCertificates string
	// Roots are PEM files of certification authorities that clients of the
	// endpoints trust beside those of the system.
	Roots []string
	// Resolve gives hosts addresses that DNS does not give inside the cluster.
	Resolve Resolve
}

// ParseIssuer reads an issuer as flags name it: ClusterIssuer/letsencrypt.
func ParseIssuer(text string) (v1alpha1.IssuerReference, error) {
	kind, name, ok := strings.Cut(text, "/")
	issuer := v1alpha1.IssuerReference{Kind: v1alpha1.IssuerKind(kind), Name: name}
	known := issuer.Kind == v1alpha1.IssuerKindClusterIssuer || issuer.Kind == v1alpha1.IssuerKindIssuer
	if !ok || !known || name == "" || strings.Contains(name, "/") {
		return v1alpha1.IssuerReference{}, fmt.Errorf("%q is no issuer; write ClusterIssuer/NAME or Issuer/NAME", text)
	}
	return issuer, nil
}

// Resolve maps hosts to addresses. A host that begins with *. stands for all names
// below it; the longest match counts. It is a flag.Value.
type Resolve map[string]netip.Addr

// String lists the pairs as Set takes them.
func (r Resolve) String() string {
	pairs := make([]string, 0, len(r))
	for host, address := range r {
		pairs = append(pairs, host+"="+address.String())
	}
	return strings.Join(pairs, ",")
}

// Set adds HOST=ADDRESS.
func (r Resolve) Set(text string) error {
	host, value, ok := strings.Cut(text, "=")
	if !ok || host == "" {
		return errors.New("write HOST=ADDRESS, such as *.desk.example.com=10.0.0.7")
	}
	address, err := netip.ParseAddr(value)
	if err != nil {
		return fmt.Errorf("the address of %s: %w", host, err)
	}
	r[strings.ToLower(host)] = address
	return nil
}

// Find is the address of a host; ok is false if DNS shall tell.
func (r Resolve) Find(host string) (address netip.Addr, ok bool) {
	if address, ok = r[host]; ok {
		return address, true
	}
	for {
		_, parent, below := strings.Cut(host, ".")
		if !below {
			return netip.Addr{}, false
		}
		if address, ok = r["*."+parent]; ok {
			return address, true
		}
		host = parent
	}
}

// Names of an agent's children.

// InternalSecret is the Secret with the certificate by which the agent serves
// HTTPS inside the cluster.
func InternalSecret(agent metav1.Object) string { return agent.GetName() + "-internal-tls" }

// Secret is the Secret with the certificate of the agent's host.
func Secret(agent metav1.Object) string { return agent.GetName() + "-endpoint-tls" }

func internalName(agent metav1.Object) string { return agent.GetName() + "-internal" }
func endpointName(agent metav1.Object) string { return agent.GetName() + "-endpoint" }
func redirectName(agent metav1.Object) string { return agent.GetName() + "-redirect" }
func caName(agent metav1.Object) string       { return agent.GetName() + "-internal-ca" }

// internalHost is the DNS name of the agent's Service.
func internalHost(agent metav1.Object) string {
	return agent.GetName() + "." + agent.GetNamespace() + ".svc"
}

func childMeta(agent *v1alpha1.TradingAgent, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:      name,
		Namespace: agent.Namespace,
		Labels:    reconcile.Owned(agent),
		OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(agent, v1alpha1.GroupVersion.WithKind("TradingAgent")),
		},
	}
}
