package endpoint

import (
	"strings"
	"testing"
	"time"

	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unclear = metav1.ConditionUnknown
)

// unissued is a scope whose certificate has not been issued once.
func unissued() *Scope {
	s := whole("traefik.io/ingress-controller")
	s.certificate.Status = certmanagerv1.CertificateStatus{Conditions: []certmanagerv1.CertificateCondition{
		{Type: certmanagerv1.CertificateConditionReady, Status: cmmeta.ConditionFalse, Reason: "DoesNotExist", ObservedGeneration: 1},
		{Type: certmanagerv1.CertificateConditionIssuing, Status: cmmeta.ConditionTrue, Reason: "DoesNotExist"},
	}}
	s.answer = Answer{}
	return s
}

// challenged is one whose ACME challenge says something.
func challenged(state acmev1.State, reason string) *Scope {
	s := unissued()
	s.challenges = []acmev1.Challenge{{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: *at(-2 * time.Minute)},
		Spec:       acmev1.ChallengeSpec{Type: acmev1.ACMEChallengeTypeDNS01, DNSName: "eur.desk.example.com"},
		Status:     acmev1.ChallengeStatus{State: state, Reason: reason},
	}}
	return s
}

func lost(reason string) *Scope {
	s := whole("traefik.io/ingress-controller")
	s.certificate.Status.Conditions[0].Status, s.certificate.Status.Conditions[0].Reason = cmmeta.ConditionFalse, reason
	return s
}

func TestCertificateReady(t *testing.T) {
	for _, test := range []struct {
		name   string
		scope  func() *Scope
		status metav1.ConditionStatus
		reason string
		says   string
	}{
		{"valid", func() *Scope { return whole("x") }, yes, v1alpha1.ReasonCertificateIssued, "2027-01-22"},
		{"host taken", func() *Scope {
			s := whole("x")
			s.rival = &v1alpha1.TradingAgent{ObjectMeta: named("first")}
			return s
		}, no, v1alpha1.ReasonHostTaken, "TradingAgent first"},
		{"host taken by another desk", func() *Scope {
			s := whole("x")
			s.rival = &v1alpha1.TradingAgent{ObjectMeta: named("first")}
			s.rival.Namespace = "secret-desk"
			return s
		}, no, v1alpha1.ReasonHostTaken, "an agent of another namespace"},
		{"host invalid", func() *Scope {
			s := whole("x")
			s.invalid = "spec.endpoint.host: must be a DNS name"
			return s
		}, no, v1alpha1.ReasonHostInvalid, "DNS name"},
		{"cert-manager missing", func() *Scope {
			s := whole("x")
			s.apis[CertManager], s.issuer, s.certificate = false, nil, nil
			return s
		}, no, v1alpha1.ReasonCertManagerMissing, "not installed"},
		{"no issuer named", func() *Scope {
			s := whole("x")
			s.issuerRef, s.issuer, s.certificate = nil, nil, nil
			return s
		}, no, v1alpha1.ReasonIssuerNotFound, "--endpoint-issuer"},
		{"issuer missing", func() *Scope {
			s := whole("x")
			s.issuer = nil
			return s
		}, no, v1alpha1.ReasonIssuerNotFound, `ClusterIssuer "letsencrypt"`},
		{"issuer not ready", func() *Scope {
			s := unissued()
			s.issuer = &issuer{message: "account key not found"}
			return s
		}, no, v1alpha1.ReasonIssuerNotReady, "account key"},
		{"issuer not ready, certificate valid", func() *Scope {
			s := whole("x")
			s.issuer.ready = false
			return s
		}, yes, v1alpha1.ReasonCertificateIssued, ""},
		{"refused by the API server", func() *Scope {
			s := whole("x")
			s.refused[partCertificate] = `Certificate "eur-endpoint" exists`
			return s
		}, no, v1alpha1.ReasonIssuanceFailed, "exists"},
		{"just created", func() *Scope {
			s := whole("x")
			s.certificate = nil
			return s
		}, unclear, v1alpha1.ReasonCertificateIssuing, "created"},
		{"being issued", unissued, unclear, v1alpha1.ReasonCertificateIssuing, "being issued"},
		{"not valid yet", func() *Scope {
			s := whole("x")
			s.certificate.Status.NotBefore = at(time.Hour)
			return s
		}, no, v1alpha1.ReasonClockSkew, "2026-11-23T10:00:00Z"},
		{"expired", func() *Scope {
			s := whole("x")
			s.certificate.Status.NotAfter = at(-time.Hour)
			return s
		}, no, v1alpha1.ReasonCertificateExpired, "2026-11-23T08:00:00Z"},
		{"renewal due, within its grace", func() *Scope {
			s := whole("x")
			s.certificate.Status.RenewalTime = at(-time.Minute)
			return s
		}, yes, v1alpha1.ReasonCertificateIssued, ""},
		{"renewal overdue", func() *Scope {
			s := whole("x")
			s.certificate.Status.RenewalTime = at(-2 * time.Hour)
			return s
		}, no, v1alpha1.ReasonRenewalFailing, "has not begun"},
		{"renewal failing", func() *Scope {
			s := whole("x")
			s.certificate.Status.RenewalTime = at(-2 * time.Hour)
			s.certificate.Status.LastFailureTime = at(-time.Hour)
			s.certificate.Status.Conditions = append(s.certificate.Status.Conditions, certmanagerv1.CertificateCondition{
				Type: certmanagerv1.CertificateConditionIssuing, Status: cmmeta.ConditionFalse, Reason: "Failed", Message: "the order is invalid",
			})
			return s
		}, no, v1alpha1.ReasonRenewalFailing, "the order is invalid"},
		{"token refused", func() *Scope {
			return challenged(acmev1.Pending, "while attempting to find Zones for domain _acme-challenge.eur.desk.example.com.\nwhile querying the Cloudflare API for GET \"/zones?name=eur.desk.example.com\" \n\t Error: 9109: Invalid access token")
		}, no, v1alpha1.ReasonDNSTokenRefused, "DNS-01 challenge of eur.desk.example.com: while attempting"},
		{"token refused otherwise", func() *Scope {
			return challenged(acmev1.Errored, "while querying the Cloudflare API for GET \"/zones?name=example.com\" \n\t Error: 10000: Authentication error")
		}, no, v1alpha1.ReasonDNSTokenRefused, ""},
		{"token's Secret missing", func() *Scope {
			return challenged(acmev1.Pending, `error getting cloudflare secret: secret "cloudflare" not found`)
		}, no, v1alpha1.ReasonDNSTokenRefused, "cloudflare"},
		{"challenge failing", func() *Scope {
			return challenged(acmev1.Pending, "Waiting for HTTP-01 challenge propagation: failed to perform self check GET request 'http://eur.desk.example.com/.well-known/acme-challenge/Xy-z_0': dial tcp: connection refused")
		}, no, v1alpha1.ReasonChallengeFailing, "/.well-known/acme-challenge/…"},
		{"challenge invalid", func() *Scope {
			return challenged(acmev1.Invalid, "Error accepting authorization: acme: authorization error for eur.desk.example.com: 403 urn:ietf:params:acme:error:unauthorized")
		}, no, v1alpha1.ReasonChallengeFailing, "unauthorized"},
		{"challenge propagating", func() *Scope {
			s := challenged(acmev1.Pending, `Waiting for DNS-01 challenge propagation: DNS record for "eur.desk.example.com" not yet propagated`)
			s.challenges[0].CreationTimestamp = *at(-time.Second)
			return s
		}, unclear, v1alpha1.ReasonCertificateIssuing, ""},
		{"challenge fine", func() *Scope { return challenged(acmev1.Pending, "") }, unclear, v1alpha1.ReasonCertificateIssuing, ""},
		{"rate limit in the order", func() *Scope {
			s := unissued()
			s.order = &acmev1.Order{Status: acmev1.OrderStatus{State: acmev1.Errored, Reason: "Failed to create Order: 429 urn:ietf:params:acme:error:rateLimited: too many certificates already issued; retry after 2026-11-24"}}
			return s
		}, no, v1alpha1.ReasonACMERateLimited, "retry after 2026-11-24"},
		{"request failed", func() *Scope {
			s := unissued()
			s.request = &certmanagerv1.CertificateRequest{Status: certmanagerv1.CertificateRequestStatus{Conditions: []certmanagerv1.CertificateRequestCondition{
				{Type: certmanagerv1.CertificateRequestConditionReady, Status: cmmeta.ConditionFalse, Reason: certmanagerv1.CertificateRequestReasonFailed, Message: "the CA has no key"},
			}}}
			return s
		}, no, v1alpha1.ReasonIssuanceFailed, "the CA has no key"},
		{"request denied", func() *Scope {
			s := unissued()
			s.request = &certmanagerv1.CertificateRequest{Status: certmanagerv1.CertificateRequestStatus{Conditions: []certmanagerv1.CertificateRequestCondition{
				{Type: certmanagerv1.CertificateRequestConditionDenied, Status: cmmeta.ConditionTrue, Message: "denied by policy"},
			}}}
			return s
		}, no, v1alpha1.ReasonIssuanceFailed, "denied by policy"},
		{"Secret deleted", func() *Scope { return lost("DoesNotExist") }, no, v1alpha1.ReasonTLSSecretNotFound, "eur-endpoint-tls"},
		{"Secret damaged", func() *Scope { return lost("InvalidKeyPair") }, no, v1alpha1.ReasonTLSSecretMismatch, "eur-endpoint-tls"},
		{"spec changed", func() *Scope { return lost("IncorrectCertificate") }, unclear, v1alpha1.ReasonCertificateIssuing, "again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			told := test.scope().judgeCertificate()
			if told.status != test.status || told.reason != test.reason || !strings.Contains(told.message, test.says) {
				t.Errorf("got %s %s: %s", told.status, told.reason, told.message)
			}
			if strings.ContainsAny(told.message, "\n\t") {
				t.Errorf("a message of several lines: %q", told.message)
			}
		})
	}
}

func TestRouteReady(t *testing.T) {
	pending := func(age time.Duration) *Scope {
		s := whole("traefik.io/ingress-controller")
		s.ingress.Status.LoadBalancer.Ingress = nil
		s.ingress.CreationTimestamp = *at(-age)
		s.answer = Answer{Known: true, Reason: v1alpha1.ReasonEndpointUnreachable}
		return s
	}
	for _, test := range []struct {
		name   string
		scope  func() *Scope
		status metav1.ConditionStatus
		reason string
		again  time.Duration
	}{
		{"address", func() *Scope { return whole("x") }, yes, v1alpha1.ReasonRouteAccepted, 0},
		{"no address yet", func() *Scope { return pending(time.Minute) }, unclear, v1alpha1.ReasonRoutePending, time.Minute},
		{"no address at all", func() *Scope { return pending(time.Hour) }, no, v1alpha1.ReasonNoIngressController, 0},
		{"no address, but it works", func() *Scope {
			s := pending(time.Hour)
			s.answer = Answer{Known: true, Verified: true, Reason: v1alpha1.ReasonVerified}
			return s
		}, yes, v1alpha1.ReasonRouteAccepted, 0},
		{"no such class", func() *Scope {
			s := whole("x")
			s.class, s.ingress, s.agent.Spec.Endpoint.IngressClassName = nil, nil, "missing"
			return s
		}, no, v1alpha1.ReasonIngressClassMissing, 0},
		{"no internal issuer", func() *Scope {
			s := whole("x")
			s.internalIssuer = false
			return s
		}, no, v1alpha1.ReasonInternalIssuerMissing, 0},
		{"no cert-manager", func() *Scope {
			s := whole("x")
			s.apis[CertManager] = false
			return s
		}, no, v1alpha1.ReasonCertManagerMissing, 0},
		{"refused", func() *Scope {
			s := whole("x")
			s.refused[partRoute] = "Service exists"
			return s
		}, no, v1alpha1.ReasonRouteRefused, refusedPause},
		{"gateway", gated, yes, v1alpha1.ReasonRouteAccepted, 0},
		{"no Gateway API", func() *Scope {
			s := gated()
			s.apis[GatewayAPI], s.gateway = false, nil
			return s
		}, no, v1alpha1.ReasonGatewayAPIMissing, 0},
		{"no such gateway", func() *Scope {
			s := gated()
			s.gateway = nil
			return s
		}, no, v1alpha1.ReasonGatewayNotFound, 0},
		{"gateway without HTTPS", func() *Scope {
			s := gated()
			s.secure = nil
			return s
		}, no, v1alpha1.ReasonGatewayWithoutHTTPS, 0},
		{"route refused", func() *Scope {
			s := gated()
			s.route.Status.Parents[0].Conditions[0].Status = metav1.ConditionFalse
			return s
		}, no, v1alpha1.ReasonRouteRefused, 0},
		{"route not resolved", func() *Scope {
			s := gated()
			s.route.Status.Parents[0].Conditions[1].Status = metav1.ConditionFalse
			return s
		}, no, v1alpha1.ReasonRouteRefused, 0},
		{"an older route accepted", func() *Scope {
			s := gated()
			s.route.Generation = 2
			return s
		}, no, v1alpha1.ReasonRoutePending, 0},
		{"nobody takes the route up", func() *Scope {
			s := gated()
			s.route.Status.Parents, s.route.CreationTimestamp = nil, *at(-time.Minute)
			return s
		}, unclear, v1alpha1.ReasonRoutePending, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := test.scope()
			told := s.judgeRoute(s.verified(nil))
			if told.status != test.status || told.reason != test.reason || told.again != test.again {
				t.Errorf("got %s %s after %s: %s", told.status, told.reason, told.again, told.message)
			}
		})
	}
}

func TestStatusOfAnEndpoint(t *testing.T) {
	s := whole("traefik.io/ingress-controller")
	again := report(s)
	told := s.agent.Status.Endpoint
	if told.URL != "https://eur.desk.example.com" || told.Issuer != "ClusterIssuer/letsencrypt" || !told.NotAfter.Equal(at(60*day+time.Hour)) || !told.RenewalTime.Equal(at(30*day)) {
		t.Errorf("status.endpoint is %+v", told)
	}
	if *told.DaysLeft != 60 || again != time.Hour+time.Second {
		t.Errorf("%d days left, looked at again after %s", *told.DaysLeft, again)
	}
	s.now = now.Add(again)
	if report(s); *s.agent.Status.Endpoint.DaysLeft != 59 {
		t.Errorf("%d days left at the boundary", *s.agent.Status.Endpoint.DaysLeft)
	}
	s.now = now.Add(61 * day)
	if report(s); *s.agent.Status.Endpoint.DaysLeft != -1 {
		t.Errorf("%d days left after the end", *s.agent.Status.Endpoint.DaysLeft)
	}
	s.agent.Spec.Endpoint = nil
	if report(s); s.agent.Status.Endpoint != nil || len(s.agent.Status.Conditions) != 0 {
		t.Errorf("without an endpoint the status is %+v", s.agent.Status)
	}
}

// A restart of the operator must not write what it does not know: the verdict of
// before stands until the endpoint was tried again.
func TestVerdictOutlivesARestart(t *testing.T) {
	s := whole("traefik.io/ingress-controller")
	report(s)
	s.answer = Answer{}
	report(s)
	verified := reconcile.StatusOf(s.agent).Get(v1alpha1.ConditionEndpointVerified)
	if verified.Status != yes || verified.Message != "it works" {
		t.Errorf("after a restart: %+v", verified)
	}
	s.agent.Spec.Endpoint.Host = "btc.desk.example.com"
	report(s)
	if verified := reconcile.StatusOf(s.agent).Get(v1alpha1.ConditionEndpointVerified); verified.Status != unclear {
		t.Errorf("for another host: %+v", verified)
	}
}

func TestSooner(t *testing.T) {
	for _, test := range [][3]time.Duration{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {5, 3, 3}, {3, 5, 3}, {-1, 3, 3}, {3, -1, 3}, {-1, -1, 0}} {
		if got := sooner(test[0], test[1]); got != test[2] {
			t.Errorf("of %d and %d it takes %d", test[0], test[1], got)
		}
	}
}

func TestChallengeIsLookedAtWhenItsGraceIsOver(t *testing.T) {
	s := challenged(acmev1.Pending, "Waiting for HTTP-01 challenge propagation: wrong status code '404', expected '200'")
	s.challenges[0].CreationTimestamp = *at(-20 * time.Second)
	if told := s.judgeCertificate(); told.status != unclear || told.again != 40*time.Second {
		t.Errorf("got %s, again after %s", told.status, told.again)
	}
}

func TestCause(t *testing.T) {
	for _, text := range []string{"9109: Invalid access token", "acme:error:rateLimited"} {
		if cause(text, "") == "" {
			t.Errorf("%q has no name", text)
		}
	}
	if got := cause("the pod is not ready", "fallback"); got != "fallback" {
		t.Errorf("an unknown cause is called %s", got)
	}
}
