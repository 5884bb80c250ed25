package endpoint

import (
	"syscall"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func at(offset time.Duration) *metav1.Time { return new(metav1.NewTime(now.Add(offset))) }

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "desk", Name: name, UID: types.UID(name + "-uid"), Generation: 2, CreationTimestamp: *at(-time.Hour)}
}

// whole is a scope in which everything is there, and the endpoint works through an
// Ingress of a class with the given controller.
func whole(controller string) *Scope {
	agent := &v1alpha1.TradingAgent{ObjectMeta: named("eur"), Spec: v1alpha1.TradingAgentSpec{Endpoint: &v1alpha1.EndpointSpec{
		Host: "eur.desk.example.com", IssuerRef: &v1alpha1.IssuerReference{Kind: v1alpha1.IssuerKindClusterIssuer, Name: "letsencrypt"},
	}}}
	s := &Scope{
		agent:          agent,
		now:            now,
		apis:           map[API]bool{CertManager: true, GatewayAPI: true, BackendTLS: true, Traefik: true},
		issuerRef:      agent.Spec.Endpoint.IssuerRef,
		issuer:         &issuer{ready: true, acme: true},
		internalIssuer: true,
		internalCA:     []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
		class:          &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "edge"}, Spec: networkingv1.IngressClassSpec{Controller: controller}},
		refused:        map[part]string{},
		answer:         Answer{Known: true, Verified: true, Reason: v1alpha1.ReasonVerified, Message: "it works"},
	}
	s.certificate = desiredCertificate(s).(*certmanagerv1.Certificate)
	s.certificate.UID, s.certificate.Generation = "certificate-uid", 1
	s.certificate.Status = certmanagerv1.CertificateStatus{
		Conditions: []certmanagerv1.CertificateCondition{{Type: certmanagerv1.CertificateConditionReady, Status: cmmeta.ConditionTrue, ObservedGeneration: 1, Reason: "Ready"}},
		NotBefore:  at(-30 * day), NotAfter: at(60*day + time.Hour), RenewalTime: at(30 * day), Revision: new(1),
	}
	s.ingress = desiredIngress(s).(*networkingv1.Ingress)
	s.ingress.CreationTimestamp = *at(-time.Hour)
	s.ingress.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "203.0.113.7"}}
	return s
}

// gated is a scope whose endpoint works through a Gateway of another namespace.
func gated() *Scope {
	s := whole("")
	s.class, s.ingress = nil, nil
	s.agent.Spec.Endpoint.GatewayRef = &v1alpha1.GatewayReference{Name: "edge", Namespace: "edge-system"}
	wild, other := gatewayv1.Hostname("*.desk.example.com"), gatewayv1.Hostname("other.example.com")
	s.gateway = &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "edge-system", Name: "edge"}, Spec: gatewayv1.GatewaySpec{Listeners: []gatewayv1.Listener{
		{Name: "web", Protocol: gatewayv1.HTTPProtocolType, Port: 80},
		{Name: "desk", Protocol: gatewayv1.HTTPSProtocolType, Port: 443, Hostname: &wild},
		{Name: "other", Protocol: gatewayv1.HTTPSProtocolType, Port: 443, Hostname: &other},
		{Name: "through", Protocol: gatewayv1.TLSProtocolType, Port: 443},
	}}}
	s.secure, s.plain = listeners(s.gateway, s.agent.Spec.Endpoint.Host)
	s.route = desiredRoute(s).(*gatewayv1.HTTPRoute)
	s.route.Generation, s.route.CreationTimestamp = 1, *at(-time.Hour)
	s.route.Status.Parents = []gatewayv1.RouteParentStatus{{Conditions: []metav1.Condition{
		{Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionTrue, ObservedGeneration: 1},
		{Type: string(gatewayv1.RouteConditionResolvedRefs), Status: metav1.ConditionTrue, ObservedGeneration: 1},
	}}}
	return s
}

func TestListenersOfAHost(t *testing.T) {
	s := gated()
	if len(s.secure) != 1 || s.secure[0] != "desk" || len(s.plain) != 1 || s.plain[0] != "web" {
		t.Errorf("by HTTPS %v, plain %v", s.secure, s.plain)
	}
	name := func(text gatewayv1.Hostname) *gatewayv1.Hostname { return &text }
	for _, test := range []struct {
		listener *gatewayv1.Hostname
		host     string
		want     bool
	}{
		{nil, "eur.desk.example.com", true},
		{name("eur.desk.example.com"), "eur.desk.example.com", true},
		{name("*.example.com"), "eur.desk.example.com", true},
		{name("*.eur.desk.example.com"), "eur.desk.example.com", false},
		{name("desk.example.com"), "eur.desk.example.com", false},
	} {
		if got := serves(test.listener, test.host); got != test.want {
			t.Errorf("%v for %s: %v", test.listener, test.host, got)
		}
	}
}

const errRefused = syscall.ECONNREFUSED

func secretName() types.NamespacedName {
	return types.NamespacedName{Namespace: "desk", Name: "eur-endpoint-tls"}
}
