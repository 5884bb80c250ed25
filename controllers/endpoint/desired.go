package endpoint

import (
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	// renewBeforePercentage of a certificate's lifetime is left when it is renewed:
	// two thirds are used.
	renewBeforePercentage int32 = 34

	caKey = "ca.crt"
)

// part of an endpoint that a child belongs to, for whom its trouble is told.
type part int

const (
	partCertificate part = iota
	partRoute
)

// child is one object that an endpoint may need.
type child struct {
	// api that has the kind; empty for Kubernetes' own.
	api  API
	part part
	name func(metav1.Object) string
	// empty object of the kind, to be read into.
	empty func() client.Object
	// desired is nil while the object is not needed.
	desired func(*Scope) client.Object
}

// children are all objects that an endpoint may have. What is not desired any more
// is deleted.
var children = []child{
	{"", partRoute, metav1.Object.GetName, func() client.Object { return &corev1.Service{} }, desiredService},
	{"", partRoute, endpointName, func() client.Object { return &networkingv1.Ingress{} }, desiredIngress},
	{"", partRoute, redirectName, func() client.Object { return &networkingv1.Ingress{} }, desiredPlainIngress},
	{"", partRoute, caName, func() client.Object { return &corev1.ConfigMap{} }, desiredCA},
	{CertManager, partRoute, internalName, func() client.Object { return &certmanagerv1.Certificate{} }, desiredInternalCertificate},
	{CertManager, partCertificate, endpointName, func() client.Object { return &certmanagerv1.Certificate{} }, desiredCertificate},
	{GatewayAPI, partRoute, endpointName, func() client.Object { return &gatewayv1.HTTPRoute{} }, desiredRoute},
	{GatewayAPI, partRoute, redirectName, func() client.Object { return &gatewayv1.HTTPRoute{} }, desiredRedirect},
	{GatewayAPI, partCertificate, endpointName, func() client.Object { return &gatewayv1beta1.ReferenceGrant{} }, desiredGrant},
	{BackendTLS, partRoute, internalName, func() client.Object { return &gatewayv1.BackendTLSPolicy{} }, desiredBackendPolicy},
	{Traefik, partRoute, internalName, func() client.Object { return newTransport() }, desiredTransport},
}

// served reports whether the agent has a Service and an internal certificate: it
// needs both for its endpoint, and has them without one where there is an issuer.
func (s *Scope) served() bool { return s.agent.Spec.Endpoint != nil || s.internalIssuer }

// exposed reports whether the agent's host is its own.
func (s *Scope) exposed() bool {
	return s.agent.Spec.Endpoint != nil && s.invalid == "" && s.rival == nil
}

func desiredService(s *Scope) client.Object {
	if !s.served() {
		return nil
	}
	meta := childMeta(s.agent, s.agent.Name)
	if d := s.dialect(); d.service != nil {
		meta.Annotations = d.service(s.agent, s.apis[Traefik])
	}
	return &corev1.Service{
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: reconcile.Owned(s.agent),
			Ports: []corev1.ServicePort{{
				Name:        PortName,
				Protocol:    corev1.ProtocolTCP,
				AppProtocol: new("https"),
				Port:        servicePort,
				TargetPort:  intstr.FromString(PortName),
			}},
		},
	}
}

// dialect of the ingress controller that serves the agent's host.
func (s *Scope) dialect() dialect {
	if s.class == nil || !s.exposed() {
		return dialect{}
	}
	return dialects[s.class.Spec.Controller]
}

func certificate(agent *v1alpha1.TradingAgent, name, secret, host string, issuer v1alpha1.IssuerReference, usages ...certmanagerv1.KeyUsage) *certmanagerv1.Certificate {
	return &certmanagerv1.Certificate{
		ObjectMeta: childMeta(agent, name),
		Spec: certmanagerv1.CertificateSpec{
			SecretName: secret,
			DNSNames:   []string{host},
			IssuerRef:  cmmeta.IssuerReference{Group: certmanagerv1.SchemeGroupVersion.Group, Kind: string(issuer.Kind), Name: issuer.Name},
			Usages:     append([]certmanagerv1.KeyUsage{certmanagerv1.UsageDigitalSignature}, usages...),
			PrivateKey: &certmanagerv1.CertificatePrivateKey{
				Algorithm:      certmanagerv1.ECDSAKeyAlgorithm,
				Size:           256,
				RotationPolicy: certmanagerv1.RotationPolicyAlways,
			},
			RenewBeforePercentage: new(renewBeforePercentage),
			RevisionHistoryLimit:  new(int32(1)),
		},
	}
}

func desiredCertificate(s *Scope) client.Object {
	if !s.exposed() || s.issuerRef == nil {
		return nil
	}
	return certificate(s.agent, endpointName(s.agent), Secret(s.agent), s.agent.Spec.Endpoint.Host, *s.issuerRef, certmanagerv1.UsageServerAuth)
}

func desiredInternalCertificate(s *Scope) client.Object {
	if !s.served() {
		return nil
	}
	return certificate(s.agent, internalName(s.agent), InternalSecret(s.agent), internalHost(s.agent), s.options.internalIssuer(),
		certmanagerv1.UsageServerAuth, certmanagerv1.UsageClientAuth)
}

func desiredIngress(s *Scope) client.Object {
	if !s.exposed() || s.class == nil {
		return nil
	}
	ingress := ingress(s, endpointName(s.agent))
	ingress.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{s.agent.Spec.Endpoint.Host}, SecretName: Secret(s.agent)}}
	if d := s.dialect(); d.ingress != nil {
		ingress.Annotations = d.ingress(s.agent)
	}
	return ingress
}

// desiredPlainIngress brings plain HTTP to the agent, which answers it with a
// redirect, where the controller would not do either.
func desiredPlainIngress(s *Scope) client.Object {
	if !s.exposed() || s.class == nil || !s.dialect().plainApart {
		return nil
	}
	return ingress(s, redirectName(s.agent))
}

func ingress(s *Scope, name string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: childMeta(s.agent, name),
		Spec: networkingv1.IngressSpec{
			IngressClassName: new(s.class.Name),
			Rules: []networkingv1.IngressRule{{
				Host: s.agent.Spec.Endpoint.Host,
				IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
					Paths: []networkingv1.HTTPIngressPath{{
						Path:     "/",
						PathType: new(networkingv1.PathTypePrefix),
						Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
							Name: s.agent.Name, Port: networkingv1.ServiceBackendPort{Name: PortName},
						}},
					}},
				}},
			}},
		},
	}
}

// desiredCA holds the internal CA's certificate for Gateways, which look for it in
// no Secret.
func desiredCA(s *Scope) client.Object {
	if !routed(s) || len(s.internalCA) == 0 || !s.apis[BackendTLS] {
		return nil
	}
	return &corev1.ConfigMap{
		ObjectMeta: childMeta(s.agent, caName(s.agent)),
		Data:       map[string]string{caKey: string(s.internalCA)},
	}
}

// routed reports whether the agent's host is served by a Gateway that exists.
func routed(s *Scope) bool { return s.exposed() && s.gateway != nil }

func route(s *Scope, name string, listeners []gatewayv1.SectionName, rule gatewayv1.HTTPRouteRule) *gatewayv1.HTTPRoute {
	gateway := gatewayOf(s.agent)
	parents := make([]gatewayv1.ParentReference, 0, len(listeners))
	for _, listener := range listeners {
		parents = append(parents, gatewayv1.ParentReference{
			Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("Gateway")),
			Namespace: new(gatewayv1.Namespace(gateway.Namespace)), Name: gatewayv1.ObjectName(gateway.Name),
			SectionName: new(listener),
		})
	}
	rule.Matches = []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchPathPrefix), Value: new("/")}}}
	return &gatewayv1.HTTPRoute{
		ObjectMeta: childMeta(s.agent, name),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: parents},
			Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname(s.agent.Spec.Endpoint.Host)},
			Rules:           []gatewayv1.HTTPRouteRule{rule},
		},
	}
}

// desiredRoute is bound to the listeners that serve the host by HTTPS alone: on
// one of plain HTTP the API would be open to be read.
func desiredRoute(s *Scope) client.Object {
	if !routed(s) || len(s.secure) == 0 {
		return nil
	}
	return route(s, endpointName(s.agent), s.secure, gatewayv1.HTTPRouteRule{
		BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{
				Group: new(gatewayv1.Group("")), Kind: new(gatewayv1.Kind("Service")),
				Name: gatewayv1.ObjectName(s.agent.Name), Port: new(gatewayv1.PortNumber(servicePort)),
			},
			Weight: new(int32(1)),
		}}},
	})
}

func desiredRedirect(s *Scope) client.Object {
	if !routed(s) || len(s.plain) == 0 {
		return nil
	}
	return route(s, redirectName(s.agent), s.plain, gatewayv1.HTTPRouteRule{
		Filters: []gatewayv1.HTTPRouteFilter{{
			Type: gatewayv1.HTTPRouteFilterRequestRedirect,
			RequestRedirect: &gatewayv1.HTTPRequestRedirectFilter{
				Scheme: new("https"), Port: new(gatewayv1.PortNumber(servicePort)), StatusCode: new(301),
			},
		}},
	})
}

// desiredGrant lets a Gateway of another namespace read the one Secret that its
// listener needs.
func desiredGrant(s *Scope) client.Object {
	if !routed(s) || gatewayOf(s.agent).Namespace == s.agent.Namespace {
		return nil
	}
	return &gatewayv1beta1.ReferenceGrant{
		ObjectMeta: childMeta(s.agent, endpointName(s.agent)),
		Spec: gatewayv1beta1.ReferenceGrantSpec{
			From: []gatewayv1beta1.ReferenceGrantFrom{{
				Group: gatewayv1.GroupName, Kind: "Gateway", Namespace: gatewayv1.Namespace(gatewayOf(s.agent).Namespace),
			}},
			To: []gatewayv1beta1.ReferenceGrantTo{{Kind: "Secret", Name: new(gatewayv1.ObjectName(Secret(s.agent)))}},
		},
	}
}

func desiredBackendPolicy(s *Scope) client.Object {
	if desiredCA(s) == nil {
		return nil
	}
	return &gatewayv1.BackendTLSPolicy{
		ObjectMeta: childMeta(s.agent, internalName(s.agent)),
		Spec: gatewayv1.BackendTLSPolicySpec{
			TargetRefs: []gatewayv1.LocalPolicyTargetReferenceWithSectionName{{
				LocalPolicyTargetReference: gatewayv1.LocalPolicyTargetReference{Kind: "Service", Name: gatewayv1.ObjectName(s.agent.Name)},
				SectionName:                new(gatewayv1.SectionName(PortName)),
			}},
			Validation: gatewayv1.BackendTLSPolicyValidation{
				CACertificateRefs: []gatewayv1.LocalObjectReference{{Kind: "ConfigMap", Name: gatewayv1.ObjectName(caName(s.agent))}},
				Hostname:          gatewayv1.PreciseHostname(internalHost(s.agent)),
			},
		},
	}
}

// desiredTransport is how Traefik is told which CA and which name the agent's
// certificate must have.
func desiredTransport(s *Scope) client.Object {
	if s.dialect().service == nil {
		return nil
	}
	object := newTransport()
	meta := childMeta(s.agent, internalName(s.agent))
	object.SetName(meta.Name)
	object.SetNamespace(meta.Namespace)
	object.SetLabels(meta.Labels)
	object.SetOwnerReferences(meta.OwnerReferences)
	object.Object["spec"] = map[string]any{
		"serverName": internalHost(s.agent),
		"rootCAs":    []any{map[string]any{"secret": InternalSecret(s.agent)}},
		// A WebSocket needs HTTP/1.1.
		"disableHTTP2": true,
	}
	return object
}
