package endpoint

import (
	"cmp"
	"fmt"
	"math"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	day = 24 * time.Hour
	// refusedPause is how soon something is tried again that the API server refused:
	// a quota is raised by somebody else, and no watch tells.
	refusedPause = 30 * time.Second
	maxDays      = 36500
)

// conditionTypes are those of an agent with an endpoint.
var conditionTypes = []string{v1alpha1.ConditionCertificateReady, v1alpha1.ConditionRouteReady, v1alpha1.ConditionEndpointVerified}

// verdict is how one part of an endpoint stands. again is when it must be looked
// at once more; zero if what is watched tells.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
	again           time.Duration
}

func good(reason, message string) verdict {
	return verdict{status: metav1.ConditionTrue, reason: reason, message: message}
}

func bad(reason, format string, args ...any) verdict {
	return verdict{status: metav1.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...)}
}

func unsure(reason, format string, args ...any) verdict {
	return verdict{status: metav1.ConditionUnknown, reason: reason, message: fmt.Sprintf(format, args...)}
}

func (v verdict) within(limit time.Duration) verdict {
	v.again = sooner(v.again, limit)
	return v
}

// sooner of two times to wait, of which zero is never.
func sooner(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return max(b, 0)
	}
	return a
}

// report writes how the endpoint stands into the agent's status, and says when it
// must be looked at again. It is pure: nothing but the scope goes in.
func report(s *Scope) time.Duration {
	status := reconcile.StatusOf(s.agent)
	if s.agent.Spec.Endpoint == nil {
		for _, conditionType := range conditionTypes {
			status.Remove(conditionType)
		}
		s.agent.Status.Endpoint = nil
		if len(s.refused) > 0 {
			return refusedPause
		}
		return 0
	}
	verified := s.verified(status.Get(v1alpha1.ConditionEndpointVerified))
	again := time.Duration(0)
	for condition, told := range map[string]verdict{
		v1alpha1.ConditionCertificateReady: s.judgeCertificate(),
		v1alpha1.ConditionRouteReady:       s.judgeRoute(verified),
		v1alpha1.ConditionEndpointVerified: verified,
	} {
		status.Set(condition, told.status, told.reason, told.message, s.now)
		again = sooner(again, told.again)
	}
	return sooner(again, s.reportEndpoint())
}

// unusable is why an endpoint gets neither certificate nor route.
func (s *Scope) unusable() (verdict, bool) {
	switch {
	case s.invalid != "":
		return bad(v1alpha1.ReasonHostInvalid, "%s", s.invalid), true
	case s.rival != nil:
		return bad(v1alpha1.ReasonHostTaken, "%s; the older agent keeps it", v1alpha1.HostTakenMessage(s.agent.Spec.Endpoint.Host, s.agent.Namespace, s.rival)), true
	}
	return verdict{}, false
}

// verified is what the last trial found. While none has been made since the
// operator's start, what an earlier one found for this host stands.
func (s *Scope) verified(before *metav1.Condition) verdict {
	if told, ok := s.unusable(); ok {
		return told
	}
	told := s.agent.Status.Endpoint
	switch {
	case s.answer.Known && s.answer.Verified:
		return good(s.answer.Reason, s.answer.Message)
	case s.answer.Known:
		return bad(s.answer.Reason, "%s", s.answer.Message)
	case before != nil && told != nil && told.URL == s.url() && s.certificate != nil:
		return verdict{status: before.Status, reason: before.Reason, message: before.Message}
	case target(s, "") == nil:
		return unsure(v1alpha1.ReasonVerifying, "the endpoint is tried as soon as it has a certificate and a route")
	}
	return unsure(v1alpha1.ReasonVerifying, "the endpoint is being tried")
}

func (s *Scope) url() string { return "https://" + s.agent.Spec.Endpoint.Host }

// target is what the verifier shall try; nil while there is nothing to be tried.
func target(s *Scope, pod types.UID) *Target {
	if !s.exposed() || s.certificate == nil || s.certificate.Status.NotAfter == nil || s.ingress == nil && s.route == nil {
		return nil
	}
	return &Target{
		Host:        s.agent.Spec.Endpoint.Host,
		Secret:      types.NamespacedName{Namespace: s.agent.Namespace, Name: Secret(s.agent)},
		TrustSecret: s.issuer != nil && !s.issuer.acme,
		Revision:    fmt.Sprintf("%d %s", number(s.certificate.Status.Revision), stamp(s.certificate.Status.NotAfter.Time)),
		Internal:    internalHost(s.agent),
		Pod:         pod,
	}
}

func number(revision *int) int {
	if revision == nil {
		return 0
	}
	return *revision
}

// reportEndpoint sets status.endpoint, and returns how long its number of days
// stays right.
func (s *Scope) reportEndpoint() time.Duration {
	if !s.exposed() {
		s.agent.Status.Endpoint = nil
		return 0
	}
	told := &v1alpha1.EndpointStatus{URL: s.url()}
	s.agent.Status.Endpoint = told
	if s.issuerRef != nil {
		told.Issuer = string(s.issuerRef.Kind) + "/" + s.issuerRef.Name
	}
	if s.certificate == nil || s.certificate.Status.NotAfter == nil {
		return 0
	}
	told.NotAfter, told.RenewalTime = s.certificate.Status.NotAfter.DeepCopy(), s.certificate.Status.RenewalTime.DeepCopy()
	left := told.NotAfter.Sub(s.now)
	days := math.Floor(left.Hours() / day.Hours())
	told.DaysLeft = new(int32(min(max(days, -maxDays), maxDays)))
	// A second later the number is the next one for certain.
	return left - time.Duration(days)*day + time.Second
}

// judgeRoute says whether the host leads to the agent's Service.
func (s *Scope) judgeRoute(verified verdict) verdict {
	if told, ok := s.unusable(); ok {
		return told
	}
	if message, ok := s.refused[partRoute]; ok {
		return bad(v1alpha1.ReasonRouteRefused, "%s", message).within(refusedPause)
	}
	if s.agent.Spec.Endpoint.GatewayRef != nil {
		return s.judgeGateway()
	}
	if s.class == nil {
		if name := classOf(s.agent.Spec.Endpoint, s.options); name != "" {
			return bad(v1alpha1.ReasonIngressClassMissing, "IngressClass %q does not exist", name)
		}
		return bad(v1alpha1.ReasonIngressClassMissing, "no IngressClass is named, and the cluster has no default")
	}
	if told, ok := s.judgeInternal(); ok {
		return told
	}
	return s.judgeIngress(verified)
}

// judgeInternal says why the agent cannot serve HTTPS; ok is false if nothing
// keeps it from that.
func (s *Scope) judgeInternal() (told verdict, ok bool) {
	issuer := s.options.internalIssuer()
	switch {
	case !s.apis[CertManager]:
		return bad(v1alpha1.ReasonCertManagerMissing, "cert-manager is not installed, so the agent has no certificate to serve HTTPS by"), true
	case !s.internalIssuer:
		return bad(v1alpha1.ReasonInternalIssuerMissing, "%s %q, which certifies the agent's HTTPS inside the cluster, does not exist", issuer.Kind, issuer.Name), true
	}
	return verdict{}, false
}

func (s *Scope) judgeIngress(verified verdict) verdict {
	name := endpointName(s.agent)
	if s.ingress == nil {
		return unsure(v1alpha1.ReasonRoutePending, "Ingress %q was created", name)
	}
	if balancers := s.ingress.Status.LoadBalancer.Ingress; len(balancers) > 0 {
		return good(v1alpha1.ReasonRouteAccepted, fmt.Sprintf("Ingress %q is served at %s", name, addressOf(balancers[0])))
	}
	// Some controllers publish no address; that the agent is met there says more.
	if verified.status == metav1.ConditionTrue {
		return good(v1alpha1.ReasonRouteAccepted, fmt.Sprintf("Ingress %q leads to the agent", name))
	}
	if left := s.ingress.CreationTimestamp.Add(routeGrace).Sub(s.now); left > 0 {
		return unsure(v1alpha1.ReasonRoutePending, "Ingress %q has no address yet", name).within(left)
	}
	return bad(v1alpha1.ReasonNoIngressController, "no controller has given Ingress %q an address; IngressClass %q is that of %q", name, s.class.Name, s.class.Spec.Controller)
}

func addressOf(balancer networkingv1.IngressLoadBalancerIngress) string {
	return cmp.Or(balancer.Hostname, balancer.IP)
}

func (s *Scope) judgeGateway() verdict {
	if !s.apis[GatewayAPI] {
		return bad(v1alpha1.ReasonGatewayAPIMissing, "the kinds of Gateway API v1 are not installed")
	}
	ref := gatewayOf(s.agent)
	if s.gateway == nil {
		return bad(v1alpha1.ReasonGatewayNotFound, "Gateway %q does not exist in namespace %q", ref.Name, ref.Namespace)
	}
	if len(s.secure) == 0 {
		return bad(v1alpha1.ReasonGatewayWithoutHTTPS, "Gateway %q has no listener with protocol HTTPS for %s; add one with the Secret %q of namespace %q", ref.Name, s.agent.Spec.Endpoint.Host, Secret(s.agent), s.agent.Namespace)
	}
	if told, ok := s.judgeInternal(); ok {
		return told
	}
	if s.route == nil {
		return unsure(v1alpha1.ReasonRoutePending, "HTTPRoute %q was created", endpointName(s.agent))
	}
	return s.judgeHTTPRoute()
}

// judgeHTTPRoute reads what the Gateway's controller says of the route.
func (s *Scope) judgeHTTPRoute() verdict {
	name, answers := s.route.Name, 0
	for _, parent := range s.route.Status.Parents {
		for _, conditionType := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			condition := meta.FindStatusCondition(parent.Conditions, string(conditionType))
			if condition == nil || condition.ObservedGeneration < s.route.Generation {
				continue
			}
			if condition.Status == metav1.ConditionFalse {
				return bad(v1alpha1.ReasonRouteRefused, "HTTPRoute %q: %s (%s)", name, tidy(condition.Message), condition.Reason)
			}
			if conditionType == gatewayv1.RouteConditionAccepted && condition.Status == metav1.ConditionTrue {
				answers++
			}
		}
	}
	if answers > 0 {
		return good(v1alpha1.ReasonRouteAccepted, fmt.Sprintf("HTTPRoute %q is accepted", name))
	}
	if left := s.route.CreationTimestamp.Add(routeGrace).Sub(s.now); left > 0 {
		return unsure(v1alpha1.ReasonRoutePending, "HTTPRoute %q waits for its Gateway", name).within(left)
	}
	return bad(v1alpha1.ReasonRoutePending, "no controller has taken HTTPRoute %q up; look at the one of Gateway %q", name, gatewayOf(s.agent).Name)
}
