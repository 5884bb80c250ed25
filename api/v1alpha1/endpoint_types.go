package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IssuerKind is the kind of a cert-manager issuer.
//
// +kubebuilder:validation:Enum=Issuer;ClusterIssuer
type IssuerKind string

const (
	// IssuerKindIssuer is an issuer of the agent's namespace.
	IssuerKindIssuer IssuerKind = "Issuer"
	// IssuerKindClusterIssuer is an issuer of the whole cluster.
	IssuerKindClusterIssuer IssuerKind = "ClusterIssuer"
)

// QueryTokenPolicy says what a WebSocket client may put into ?token=.
//
// +kubebuilder:validation:Enum=KeyOrTicket;TicketOnly
type QueryTokenPolicy string

const (
	// QueryTokenKeyOrTicket accepts an API key or a ticket.
	QueryTokenKeyOrTicket QueryTokenPolicy = "KeyOrTicket"
	// QueryTokenTicketOnly accepts tickets only, so that no key can end up in the
	// access log of a proxy.
	QueryTokenTicketOnly QueryTokenPolicy = "TicketOnly"
)

// EndpointSpec gives an agent's API a verified HTTPS address. The host is all
// that a user must write; a certificate, a route and a redirect follow from it.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.ingressClassName) && has(self.gatewayRef))",message="ingressClassName and gatewayRef exclude each other; keep the one whose controller serves this host"
type EndpointSpec struct {
	// host is the DNS name of the agent's API, in lower case, such as
	// eur.desk.example.com. It must lead to the ingress or the gateway.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$')",message="must be a DNS name in lower case with at least two labels, such as eur.desk.example.com: no scheme, port, path, underscore or wildcard"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9.]+$')",message="must be a DNS name, not an IP address: public issuers certify names"
	Host string `json:"host,omitempty"`

	// issuerRef names the cert-manager issuer of the certificate. The operator's
	// default issuer when not set.
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`

	// ingressClassName is the class of the Ingress. When neither it nor
	// gatewayRef is set, it is the operator's default, or else the cluster's.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	IngressClassName string `json:"ingressClassName,omitempty"`

	// gatewayRef names a Gateway (Gateway API v1) that serves the host. An
	// HTTPRoute takes the place of the Ingress.
	// +optional
	GatewayRef *GatewayReference `json:"gatewayRef,omitempty"`
}

// IssuerReference names a cert-manager issuer.
type IssuerReference struct {
	// kind is Issuer or ClusterIssuer.
	// +required
	Kind IssuerKind `json:"kind,omitempty"`

	// name of the issuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
}

// GatewayReference names a Gateway.
type GatewayReference struct {
	// name of the Gateway.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// namespace of the Gateway; the agent's own when not set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
}

// APISpec says how the agent's HTTP and WebSocket API lets clients in. Its keys
// are kept, hashed, in the Secret "<agent>-api-keys"; without that Secret nobody
// is let in.
//
// +kubebuilder:validation:MinProperties=1
type APISpec struct {
	// queryToken says what a WebSocket client may put into ?token=: an API key or
	// a single-use ticket (KeyOrTicket), or a ticket only (TicketOnly).
	// KeyOrTicket when not set.
	// +optional
	QueryToken QueryTokenPolicy `json:"queryToken,omitempty"`

	// allowedOrigins are the origins, beside https://<endpoint.host>, whose pages
	// may open a WebSocket or call the API from a browser, such as
	// https://desk.example.com.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=8
	// +kubebuilder:validation:items:MaxLength=270
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$')",message="must be an origin: scheme, host in lower case and, if need be, port, such as https://desk.example.com, without a path"
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`
}

// EndpointStatus is what the outside world sees of an agent's endpoint.
type EndpointStatus struct {
	// url at which the API is served.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	URL string `json:"url,omitempty"`

	// issuer of the certificate, such as ClusterIssuer/letsencrypt.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Issuer string `json:"issuer,omitempty"`

	// notAfter is when the certificate in use ends.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// renewalTime is when cert-manager will renew it.
	// +optional
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`

	// daysLeft are the whole days until notAfter, written when they change;
	// negative once it has passed.
	// +optional
	// +kubebuilder:validation:Minimum=-36500
	// +kubebuilder:validation:Maximum=36500
	DaysLeft *int32 `json:"daysLeft,omitempty"`
}
