package controllers_test

import (
	"slices"
	"strings"
	"time"

	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/endpoint"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// cert-manager's part, the ingress controller's and the Gateway's.

var works = endpoint.Answer{Known: true, Verified: true, Reason: v1alpha1.ReasonVerified, Message: "it works"}

func certManager(d *desk) []*unstructured.Unstructured {
	GinkgoHelper()
	definitions, err := testbench.Definitions(d.ctx, "github.com/cert-manager/cert-manager", "deploy/crds",
		"cert-manager.io_certificates.yaml", "cert-manager.io_certificaterequests.yaml", "cert-manager.io_issuers.yaml",
		"cert-manager.io_clusterissuers.yaml", "acme.cert-manager.io_orders.yaml", "acme.cert-manager.io_challenges.yaml")
	Expect(err).NotTo(HaveOccurred())
	return definitions
}

func gatewayAPI(d *desk) []*unstructured.Unstructured {
	GinkgoHelper()
	definitions, err := testbench.Definitions(d.ctx, "sigs.k8s.io/gateway-api", "config/crd/standard",
		"gateway.networking.k8s.io_gateways.yaml", "gateway.networking.k8s.io_httproutes.yaml",
		"gateway.networking.k8s.io_referencegrants.yaml", "gateway.networking.k8s.io_backendtlspolicies.yaml")
	Expect(err).NotTo(HaveOccurred())
	return definitions
}

// install installs kinds, and waits until they are served.
func (d *desk) install(definitions []*unstructured.Unstructured, list client.ObjectList) {
	GinkgoHelper()
	Eventually(func() error { return bench.Install(d.ctx, definitions) }).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	Eventually(func() error { return bench.Client.List(d.ctx, list) }).WithTimeout(patience).WithPolling(interval).Should(Succeed())
}

// uninstall removes kinds, and waits until they are gone.
func (d *desk) uninstall(definitions []*unstructured.Unstructured) {
	GinkgoHelper()
	Expect(bench.Remove(d.ctx, definitions)).To(Succeed())
	Eventually(func(g Gomega) {
		for _, definition := range definitions {
			err := bench.Client.Get(d.ctx, client.ObjectKeyFromObject(definition), definition.DeepCopy())
			g.Expect(apierrors.IsNotFound(err)).To(BeTrue())
		}
	}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
}

// issuer creates a ClusterIssuer that is Ready.
func (d *desk) issuer(name string) *certmanagerv1.ClusterIssuer {
	GinkgoHelper()
	issuer := &certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}}
	issuer.Spec.CA = &certmanagerv1.CAIssuer{SecretName: name}
	// The kind may be a moment old.
	Eventually(func() error { return bench.Client.Create(d.ctx, issuer) }).WithTimeout(patience).Should(Succeed())
	DeferCleanup(func() { Expect(client.IgnoreNotFound(bench.Client.Delete(d.ctx, issuer))).To(Succeed()) })
	d.setIssuer(issuer, cmmeta.ConditionTrue, "signing key is there")
	return issuer
}

func (d *desk) setIssuer(issuer *certmanagerv1.ClusterIssuer, status cmmeta.ConditionStatus, message string) {
	GinkgoHelper()
	issuer.Status.Conditions = []certmanagerv1.IssuerCondition{{Type: certmanagerv1.IssuerConditionReady, Status: status, Reason: "Test", Message: message}}
	Expect(bench.Client.Status().Update(d.ctx, issuer)).To(Succeed())
}

// certificate waits for a Certificate.
func (d *desk) certificate(name string) *certmanagerv1.Certificate {
	GinkgoHelper()
	certificate := &certmanagerv1.Certificate{}
	Eventually(func() error {
		return bench.Client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: name}, certificate)
	}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	return certificate
}

// issue has cert-manager fulfil a Certificate for 90 days.
func (d *desk) issue(name string) {
	GinkgoHelper()
	certificate, now := d.certificate(name), bench.Clock.Now()
	certificate.Status = certmanagerv1.CertificateStatus{
		Conditions: []certmanagerv1.CertificateCondition{{
			Type: certmanagerv1.CertificateConditionReady, Status: cmmeta.ConditionTrue, Reason: "Ready", ObservedGeneration: certificate.Generation,
		}},
		NotBefore: new(metav1.NewTime(now)), NotAfter: new(metav1.NewTime(now.Add(90*24*time.Hour + time.Minute))),
		RenewalTime: new(metav1.NewTime(now.Add(60 * 24 * time.Hour))), Revision: new(1),
	}
	Expect(bench.Client.Status().Update(d.ctx, certificate)).To(Succeed())
}

// ingressClass creates a class of Traefik's.
func (d *desk) ingressClass() {
	GinkgoHelper()
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: d.namespace}, Spec: networkingv1.IngressClassSpec{Controller: "traefik.io/ingress-controller"}}
	Expect(bench.Client.Create(d.ctx, class)).To(Succeed())
	DeferCleanup(func() { Expect(client.IgnoreNotFound(bench.Client.Delete(d.ctx, class))).To(Succeed()) })
}

// expose has the ingress controller give the Ingress an address.
func (d *desk) expose(agent string) {
	GinkgoHelper()
	ingress := get(d, &networkingv1.Ingress{}, agent+"-endpoint")
	ingress.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "203.0.113.7"}}
	Expect(bench.Client.Status().Update(d.ctx, ingress)).To(Succeed())
}

// withEndpoint is an agent that asks for a host of its desk's own.
func (d *desk) withEndpoint(name, host string) *v1alpha1.TradingAgent {
	agent := d.agent(name, "EUR/USD")
	agent.Spec.Endpoint = &v1alpha1.EndpointSpec{
		Host: host, IngressClassName: d.namespace,
		IssuerRef: &v1alpha1.IssuerReference{Kind: v1alpha1.IssuerKindClusterIssuer, Name: d.namespace},
	}
	return agent
}

func (d *desk) host(name string) string { return name + "." + d.namespace + ".example.com" }

// eventuallyTold waits until an agent's endpoint stands as is said, and makes sure
// that it trades all the same.
func (d *desk) eventuallyTold(name, conditionType string, status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	d.eventually(name, func(g Gomega, agent *v1alpha1.TradingAgent) {
		condition := conditionOf(agent, conditionType)
		g.Expect(condition).NotTo(BeNil())
		g.Expect(condition.Reason).To(Equal(reason), condition.Message)
		g.Expect(condition.Status).To(Equal(status), condition.Message)
	})
	ready := conditionOf(d.readAgent(name), v1alpha1.ConditionReady)
	Expect(ready.Status).To(Equal(metav1.ConditionTrue), ready.Message)
}

// gone waits until an object does not exist any more.
func (d *desk) gone(object client.Object, name string) {
	GinkgoHelper()
	Eventually(func() bool {
		return apierrors.IsNotFound(bench.Client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: name}, object))
	}).WithTimeout(patience).WithPolling(interval).Should(BeTrue(), "%T %s", object, name)
}

// writes are the operator's writes in the desk since the last call; those in other
// tests' desks may go on.
func (d *desk) writes() []string {
	return slices.DeleteFunc(bench.Writes(), func(write string) bool { return !strings.Contains(write, "/"+d.namespace+"/") })
}

// series are the metrics of endpoints of the desk.
func (d *desk) series() []string {
	GinkgoHelper()
	families, err := bench.Metrics.Gather()
	Expect(err).NotTo(HaveOccurred())
	var found []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if strings.HasPrefix(family.GetName(), "trading_endpoint_") && strings.Contains(metric.String(), d.namespace) {
				found = append(found, family.GetName())
			}
		}
	}
	return found
}

const (
	certificateReady = v1alpha1.ConditionCertificateReady
	routeReady       = v1alpha1.ConditionRouteReady
	endpointVerified = v1alpha1.ConditionEndpointVerified
)

var _ = Describe("An endpoint", Ordered, func() {
	var d *desk

	BeforeEach(func(ctx SpecContext) { d = newDesk(ctx) })

	AfterAll(func(ctx SpecContext) {
		d := &desk{ctx: ctx}
		d.uninstall(certManager(d))
		d.uninstall(gatewayAPI(d))
	})

	It("waits for cert-manager, which may be installed after the operator, go and come back", func() {
		d.furnish()
		d.ingressClass()
		d.create(d.withEndpoint("eur", d.host("eur")))
		d.bringUp("eur")
		d.eventuallyTold("eur", certificateReady, metav1.ConditionFalse, v1alpha1.ReasonCertManagerMissing)
		d.eventuallyTold("eur", routeReady, metav1.ConditionFalse, v1alpha1.ReasonCertManagerMissing)
		d.eventuallyTold("eur", endpointVerified, metav1.ConditionUnknown, v1alpha1.ReasonVerifying)

		d.install(certManager(d), &certmanagerv1.ClusterIssuerList{})
		d.eventuallyTold("eur", certificateReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
		d.eventuallyTold("eur", routeReady, metav1.ConditionFalse, v1alpha1.ReasonInternalIssuerMissing)

		issuer := d.issuer(d.namespace)
		d.eventuallyTold("eur", certificateReady, metav1.ConditionUnknown, v1alpha1.ReasonCertificateIssuing)
		d.setIssuer(issuer, cmmeta.ConditionFalse, "the key is missing")
		d.eventuallyTold("eur", certificateReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady)
		d.setIssuer(issuer, cmmeta.ConditionTrue, "")
		d.issuer("trading-internal")
		d.eventuallyTold("eur", routeReady, metav1.ConditionUnknown, v1alpha1.ReasonRoutePending)

		d.issue("eur-endpoint")
		d.expose("eur")
		d.eventuallyTold("eur", certificateReady, metav1.ConditionTrue, v1alpha1.ReasonCertificateIssued)
		d.eventuallyTold("eur", routeReady, metav1.ConditionTrue, v1alpha1.ReasonRouteAccepted)

		d.uninstall(certManager(d))
		d.eventuallyTold("eur", certificateReady, metav1.ConditionFalse, v1alpha1.ReasonCertManagerMissing)
		d.install(certManager(d), &certmanagerv1.ClusterIssuerList{})
		d.issuer(d.namespace)
		d.issue("eur-endpoint")
		d.eventuallyTold("eur", certificateReady, metav1.ConditionTrue, v1alpha1.ReasonCertificateIssued)
	})

	Context("with cert-manager", func() {
		BeforeEach(func() {
			d.install(certManager(d), &certmanagerv1.ClusterIssuerList{})
			d.furnish()
			d.ingressClass()
			d.issuer(d.namespace)
			d.issuer("trading-internal")
		})

		// works brings an agent with an endpoint up.
		works := func(name string) {
			GinkgoHelper()
			bench.Endpoints.Answer(d.host(name), works)
			d.create(d.withEndpoint(name, d.host(name)))
			d.bringUp(name)
			d.issue(name + "-endpoint")
			d.expose(name)
			d.eventuallyTold(name, endpointVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
			d.eventuallyTold(name, certificateReady, metav1.ConditionTrue, v1alpha1.ReasonCertificateIssued)
			d.eventuallyTold(name, routeReady, metav1.ConditionTrue, v1alpha1.ReasonRouteAccepted)
		}

		It("shows URL, issuer, end and renewal, writes the days that are left once a day, and is quiet between", func() {
			works("eur")
			told := d.readAgent("eur").Status.Endpoint
			Expect(told.URL).To(Equal("https://" + d.host("eur")))
			Expect(told.Issuer).To(Equal("ClusterIssuer/" + d.namespace))
			Expect(*told.DaysLeft).To(BeEquivalentTo(90))
			Expect(told.RenewalTime).NotTo(BeNil())
			Expect(d.series()).To(ContainElements("trading_endpoint_certificate_expiry_timestamp_seconds", "trading_endpoint_verified"))

			bench.Writes()
			d.touch("eur")
			Consistently(d.writes).WithTimeout(calm).Should(BeEmpty())
			bench.Clock.SetTime(bench.Clock.Now().Add(2 * time.Minute))
			d.touch("eur")
			d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
				g.Expect(*agent.Status.Endpoint.DaysLeft).To(BeEquivalentTo(89))
			})
		})

		It("leaves when it is removed from the spec, with every child and series, and no object of others", func() {
			foreign := &corev1.ConfigMap{ObjectMeta: d.meta("eur-internal-ca")}
			d.create(foreign)
			works("eur")
			change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.Endpoint = nil })
			d.gone(&networkingv1.Ingress{}, "eur-endpoint")
			d.gone(&networkingv1.Ingress{}, "eur-redirect")
			d.gone(&certmanagerv1.Certificate{}, "eur-endpoint")
			d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
				g.Expect(agent.Status.Endpoint).To(BeNil())
				g.Expect(conditionOf(agent, endpointVerified)).To(BeNil())
				g.Expect(d.series()).To(BeEmpty())
			})
			// The internal issuer exists, so the agent goes on serving inside the cluster.
			get(d, &corev1.Service{}, "eur")
			get(d, &certmanagerv1.Certificate{}, "eur-internal")
			Expect(get(d, &corev1.ConfigMap{}, "eur-internal-ca").UID).To(Equal(foreign.UID))
		})

		It("tells of objects that stand in its way, and takes none of them over", func() {
			foreign := &corev1.Service{ObjectMeta: d.meta("eur"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
			d.create(foreign)
			d.create(d.withEndpoint("eur", d.host("eur")))
			d.bringUp("eur")
			d.eventuallyTold("eur", routeReady, metav1.ConditionFalse, v1alpha1.ReasonRouteRefused)
			Expect(get(d, &corev1.Service{}, "eur").ResourceVersion).To(Equal(foreign.ResourceVersion))
		})

		It("belongs to the older of two agents that ask for one host, until that one gives it up", func() {
			works("eur")
			other := newDesk(d.ctx)
			other.furnish()
			// Creation is in whole seconds, and of two in one second the name decides.
			Eventually(time.Now).WithTimeout(patience).Should(BeTemporally(">", d.readAgent("eur").CreationTimestamp.Add(time.Second)))
			rival := other.withEndpoint("eur", d.host("eur"))
			rival.Spec.Endpoint.IngressClassName, rival.Spec.Endpoint.IssuerRef.Name = d.namespace, d.namespace
			other.create(rival)
			other.bringUp("eur")
			other.eventuallyTold("eur", certificateReady, metav1.ConditionFalse, v1alpha1.ReasonHostTaken)
			other.eventuallyTold("eur", routeReady, metav1.ConditionFalse, v1alpha1.ReasonHostTaken)
			Expect(conditionOf(other.readAgent("eur"), routeReady).Message).NotTo(ContainSubstring(d.namespace + "/"))
			other.gone(&networkingv1.Ingress{}, "eur-endpoint")
			d.eventuallyTold("eur", endpointVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)

			change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) { agent.Spec.Endpoint.Host = d.host("btc") })
			d.report("eur", d.pod("eur"), nil)
			other.certificate("eur-endpoint")
			other.issue("eur-endpoint")
			other.expose("eur")
			other.eventuallyTold("eur", endpointVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
			d.eventuallyTold("eur", endpointVerified, metav1.ConditionFalse, v1alpha1.ReasonEndpointUnreachable)
		})

		It("says what keeps the issuer from issuing", func() {
			d.create(d.withEndpoint("eur", d.host("eur")))
			d.bringUp("eur")
			certificate := d.certificate("eur-endpoint")
			request := &certmanagerv1.CertificateRequest{ObjectMeta: child(certificate, "Certificate", "eur-endpoint-1"), Spec: certmanagerv1.CertificateRequestSpec{
				Request: []byte("x"), IssuerRef: certificate.Spec.IssuerRef,
			}}
			d.create(request)
			order := &acmev1.Order{ObjectMeta: child(request, "CertificateRequest", "eur-endpoint-1-1"), Spec: acmev1.OrderSpec{Request: []byte("x"), IssuerRef: certificate.Spec.IssuerRef}}
			d.create(order)
			challenge := &acmev1.Challenge{ObjectMeta: child(order, "Order", "eur-endpoint-1-1-1"), Spec: acmev1.ChallengeSpec{
				Type: acmev1.ACMEChallengeTypeDNS01, DNSName: d.host("eur"), URL: "u", AuthorizationURL: "a", Key: "k", Token: "t", IssuerRef: certificate.Spec.IssuerRef,
			}}
			challenge.Labels = nil
			d.create(challenge)
			challenge.Status = acmev1.ChallengeStatus{State: acmev1.Pending, Reason: "while querying the Cloudflare API for GET \"/zones\" \n\t Error: 9109: Invalid access token"}
			Expect(bench.Client.Status().Update(d.ctx, challenge)).To(Succeed())
			d.eventuallyTold("eur", certificateReady, metav1.ConditionFalse, v1alpha1.ReasonDNSTokenRefused)
			challenge.Status = acmev1.ChallengeStatus{State: acmev1.Valid}
			Expect(bench.Client.Status().Update(d.ctx, challenge)).To(Succeed())
			d.eventuallyTold("eur", certificateReady, metav1.ConditionUnknown, v1alpha1.ReasonCertificateIssuing)
			d.issue("eur-endpoint")
			d.eventuallyTold("eur", certificateReady, metav1.ConditionTrue, v1alpha1.ReasonCertificateIssued)
		})

		It("waits for Gateway API, and is served by a Gateway then", func() {
			agent := d.withEndpoint("eur", d.host("eur"))
			agent.Spec.Endpoint.IngressClassName, agent.Spec.Endpoint.GatewayRef = "", &v1alpha1.GatewayReference{Name: "edge"}
			d.create(agent)
			d.bringUp("eur")
			d.eventuallyTold("eur", routeReady, metav1.ConditionFalse, v1alpha1.ReasonGatewayAPIMissing)
			d.install(gatewayAPI(d), &gatewayv1.GatewayList{})
			d.eventuallyTold("eur", routeReady, metav1.ConditionFalse, v1alpha1.ReasonGatewayNotFound)
			gateway := &gatewayv1.Gateway{ObjectMeta: d.meta("edge"), Spec: gatewayv1.GatewaySpec{GatewayClassName: "traefik", Listeners: []gatewayv1.Listener{
				{Name: "web", Protocol: gatewayv1.HTTPProtocolType, Port: 80},
			}}}
			Eventually(func() error { return bench.Client.Create(d.ctx, gateway) }).WithTimeout(patience).Should(Succeed())
			d.eventuallyTold("eur", routeReady, metav1.ConditionFalse, v1alpha1.ReasonGatewayWithoutHTTPS)
			change(d, gateway, func(gateway *gatewayv1.Gateway) {
				gateway.Spec.Listeners = append(gateway.Spec.Listeners, gatewayv1.Listener{
					Name: "desk", Protocol: gatewayv1.HTTPSProtocolType, Port: 443,
					TLS: &gatewayv1.ListenerTLSConfig{CertificateRefs: []gatewayv1.SecretObjectReference{{Name: "eur-endpoint-tls"}}},
				})
			})
			d.eventuallyTold("eur", routeReady, metav1.ConditionUnknown, v1alpha1.ReasonRoutePending)
			route := get(d, &gatewayv1.HTTPRoute{}, "eur-endpoint")
			Expect(get(d, &gatewayv1.HTTPRoute{}, "eur-redirect").Spec.ParentRefs).To(HaveLen(1))
			route.Status.Parents = []gatewayv1.RouteParentStatus{{
				ParentRef: route.Spec.ParentRefs[0], ControllerName: "traefik.io/gateway-controller",
				Conditions: []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted", ObservedGeneration: route.Generation, LastTransitionTime: metav1.Now()}},
			}}
			Expect(bench.Client.Status().Update(d.ctx, route)).To(Succeed())
			d.eventuallyTold("eur", routeReady, metav1.ConditionTrue, v1alpha1.ReasonRouteAccepted)

			bench.Writes()
			d.touch("eur")
			Consistently(d.writes).WithTimeout(calm).Should(BeEmpty())
			change(d, d.readAgent("eur"), func(agent *v1alpha1.TradingAgent) {
				agent.Spec.Endpoint.GatewayRef = nil
				agent.Spec.Endpoint.IngressClassName = d.namespace
			})
			d.gone(&gatewayv1.HTTPRoute{}, "eur-endpoint")
			d.gone(&gatewayv1.HTTPRoute{}, "eur-redirect")
			Eventually(func() error {
				return bench.Client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: "eur-endpoint"}, &networkingv1.Ingress{})
			}).WithTimeout(patience).Should(Succeed())
		})
	})
})

// child is the metadata of what cert-manager makes for an object: labels are passed
// on, and the owner is its controller.
func child(owner client.Object, kind, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: owner.GetNamespace(), Name: name, Labels: owner.GetLabels(),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: new(true)}},
	}
}
