package endpoint

import (
	"context"
	"fmt"
	"strings"
	"time"

	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// Scope is everything that one pass knows about an agent's endpoint. What does not
// exist is nil.
type Scope struct {
	agent   *v1alpha1.TradingAgent
	now     time.Time
	options Options
	// apis that are installed.
	apis map[API]bool

	// invalid says what is wrong with the spec; empty if nothing is.
	invalid string
	// rival is the older agent that has the host.
	rival *v1alpha1.TradingAgent

	// issuerRef names the issuer of the endpoint's certificate, issuer is it.
	issuerRef *v1alpha1.IssuerReference
	issuer    *issuer
	// internalIssuer reports whether the issuer of internal certificates exists.
	internalIssuer bool
	// internalCA is the internal CA's certificate in PEM.
	internalCA []byte

	// certificate of the endpoint, and what cert-manager does about it at present.
	certificate *certmanagerv1.Certificate
	request     *certmanagerv1.CertificateRequest
	order       *acmev1.Order
	challenges  []acmev1.Challenge
	// internal certificate of the agent.
	internal *certmanagerv1.Certificate

	class   *networkingv1.IngressClass
	ingress *networkingv1.Ingress
	gateway *gatewayv1.Gateway
	route   *gatewayv1.HTTPRoute
	// secure and plain are the Gateway's listeners for the host.
	secure, plain []gatewayv1.SectionName

	// refused says why the API server does not take a child, by what the child is for.
	refused map[part]string
	// answer is what is known of the endpoint as clients see it.
	answer Answer
}

// issuer is what matters of an Issuer or ClusterIssuer.
type issuer struct {
	ready   bool
	message string
	// acme says that the certificate comes from an ACME server, whose root clients
	// either know or not; else the root stands in the certificate's Secret.
	acme bool
}

func issuerConditions(object client.Object) []certmanagerv1.IssuerCondition {
	if generic, ok := object.(certmanagerv1.GenericIssuer); ok {
		return generic.GetStatus().Conditions
	}
	return nil
}

// gather reads everything that a pass needs from the caches.
func (k *Keeper) gather(ctx context.Context, agent *v1alpha1.TradingAgent) (*Scope, error) {
	s := &Scope{agent: agent, now: k.Clock.Now(), options: k.Options, apis: map[API]bool{}, refused: map[part]string{}}
	for api := range k.APIs.kinds {
		s.apis[api] = k.APIs.Client(api) != nil
	}
	steps := []func(context.Context, *Scope) error{k.gatherHost, k.gatherIssuers, k.gatherCertificate, k.gatherClass, k.gatherGateway}
	for _, step := range steps {
		if err := step(ctx, s); err != nil {
			return nil, err
		}
	}
	s.internalCA = k.Identity.Roots()
	return s, nil
}

// read gets one object from a cache; nil if it does not exist.
func read[T client.Object](ctx context.Context, reader client.Reader, namespace, name string, object T) (T, error) {
	var none T
	if reader == nil {
		return none, nil
	}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("read %T %q: %w", object, name, err)
	}
	return object, nil
}

func (k *Keeper) gatherHost(ctx context.Context, s *Scope) error {
	if s.agent.Spec.Endpoint == nil {
		return nil
	}
	if errs := v1alpha1.ValidateEndpoint(s.agent); len(errs) > 0 {
		s.invalid = errs.ToAggregate().Error()
		return nil
	}
	var agents v1alpha1.TradingAgentList
	err := k.Client.List(ctx, &agents, client.MatchingFields{reconcile.IndexHost: s.agent.Spec.Endpoint.Host})
	if err != nil {
		return fmt.Errorf("list the agents of a host: %w", err)
	}
	s.rival = v1alpha1.HostRival(s.agent, agents.Items)
	return nil
}

func (k *Keeper) gatherIssuers(ctx context.Context, s *Scope) error {
	if s.agent.Spec.Endpoint != nil {
		s.issuerRef = issuerOf(s.agent.Spec.Endpoint, s.options)
	}
	if !s.apis[CertManager] {
		return nil
	}
	internal, err := k.readIssuer(ctx, s.agent.Namespace, s.options.internalIssuer())
	if err != nil {
		return err
	}
	s.internalIssuer = internal != nil
	if s.issuerRef != nil {
		s.issuer, err = k.readIssuer(ctx, s.agent.Namespace, *s.issuerRef)
	}
	return err
}

func (k *Keeper) readIssuer(ctx context.Context, namespace string, ref v1alpha1.IssuerReference) (*issuer, error) {
	var generic certmanagerv1.GenericIssuer = &certmanagerv1.Issuer{}
	if ref.Kind == v1alpha1.IssuerKindClusterIssuer {
		generic, namespace = &certmanagerv1.ClusterIssuer{}, ""
	}
	found, err := read(ctx, k.reader(CertManager), namespace, ref.Name, generic)
	if err != nil || found == nil {
		return nil, err
	}
	told := &issuer{acme: found.GetSpec().ACME != nil, message: "it has not been set up yet"}
	for _, condition := range found.GetStatus().Conditions {
		if condition.Type == certmanagerv1.IssuerConditionReady {
			told.ready, told.message = string(condition.Status) == string(metav1.ConditionTrue), condition.Message
		}
	}
	return told, nil
}

// gatherCertificate reads the certificates, and while the endpoint's is not what
// it should be, what cert-manager does about it.
func (k *Keeper) gatherCertificate(ctx context.Context, s *Scope) error {
	reader, namespace := k.reader(CertManager), s.agent.Namespace
	var err error
	if s.internal, err = read(ctx, reader, namespace, internalName(s.agent), &certmanagerv1.Certificate{}); err != nil {
		return err
	}
	s.certificate, err = read(ctx, reader, namespace, endpointName(s.agent), &certmanagerv1.Certificate{})
	if err != nil || s.certificate == nil {
		return err
	}
	if !metav1.IsControlledBy(s.certificate, s.agent) {
		s.certificate = nil
		return nil
	}
	var requests certmanagerv1.CertificateRequestList
	if err := reader.List(ctx, &requests, client.InNamespace(namespace), ownedBy(s.certificate)); err != nil {
		return fmt.Errorf("list certificate requests: %w", err)
	}
	for i := range requests.Items {
		if request := &requests.Items[i]; newer(request, s.request) {
			s.request = request
		}
	}
	if s.request == nil || isIssued(s.request) {
		return nil
	}
	return k.gatherOrder(ctx, s, reader)
}

// newer orders requests of one certificate by when they were made.
func newer(request, than *certmanagerv1.CertificateRequest) bool {
	return than == nil || than.CreationTimestamp.Before(&request.CreationTimestamp) ||
		than.CreationTimestamp.Equal(&request.CreationTimestamp) && revisionOf(than) < revisionOf(request)
}

func (k *Keeper) gatherOrder(ctx context.Context, s *Scope, reader client.Reader) error {
	var orders acmev1.OrderList
	if err := reader.List(ctx, &orders, client.InNamespace(s.agent.Namespace), ownedBy(s.request)); err != nil {
		return fmt.Errorf("list ACME orders: %w", err)
	}
	if len(orders.Items) == 0 {
		return nil
	}
	s.order = &orders.Items[0]
	var challenges acmev1.ChallengeList
	if err := reader.List(ctx, &challenges, client.InNamespace(s.agent.Namespace), ownedBy(s.order)); err != nil {
		return fmt.Errorf("list ACME challenges: %w", err)
	}
	s.challenges = challenges.Items
	return nil
}

func ownedBy(owner client.Object) client.MatchingFields {
	return client.MatchingFields{reconcile.IndexOwner: string(owner.GetUID())}
}

// gatherClass finds the IngressClass that the endpoint names, or the cluster's
// default, and the Ingress.
func (k *Keeper) gatherClass(ctx context.Context, s *Scope) error {
	if s.agent.Spec.Endpoint == nil || s.agent.Spec.Endpoint.GatewayRef != nil {
		return nil
	}
	var err error
	if name := classOf(s.agent.Spec.Endpoint, s.options); name != "" {
		if s.class, err = read(ctx, k.Client, "", name, &networkingv1.IngressClass{}); err != nil {
			return err
		}
	} else if s.class, err = k.defaultClass(ctx); err != nil {
		return err
	}
	s.ingress, err = read(ctx, k.Client, s.agent.Namespace, endpointName(s.agent), &networkingv1.Ingress{})
	if s.ingress != nil && !metav1.IsControlledBy(s.ingress, s.agent) {
		s.ingress = nil
	}
	return err
}

// defaultClass is the newest default class, as the API server chooses it; nil if
// there is none.
func (k *Keeper) defaultClass(ctx context.Context) (*networkingv1.IngressClass, error) {
	var classes networkingv1.IngressClassList
	if err := k.Client.List(ctx, &classes); err != nil {
		return nil, fmt.Errorf("list ingress classes: %w", err)
	}
	var chosen *networkingv1.IngressClass
	for i := range classes.Items {
		class := &classes.Items[i]
		if class.Annotations[networkingv1.AnnotationIsDefaultIngressClass] != "true" {
			continue
		}
		later := chosen != nil && chosen.CreationTimestamp.Before(&class.CreationTimestamp)
		same := chosen != nil && chosen.CreationTimestamp.Equal(&class.CreationTimestamp)
		if chosen == nil || later || same && class.Name < chosen.Name {
			chosen = class
		}
	}
	return chosen, nil
}

func (k *Keeper) gatherGateway(ctx context.Context, s *Scope) error {
	if s.agent.Spec.Endpoint == nil || s.agent.Spec.Endpoint.GatewayRef == nil {
		return nil
	}
	ref := gatewayOf(s.agent)
	var err error
	if s.gateway, err = read(ctx, k.reader(GatewayAPI), ref.Namespace, ref.Name, &gatewayv1.Gateway{}); err != nil || s.gateway == nil {
		return err
	}
	s.secure, s.plain = listeners(s.gateway, s.agent.Spec.Endpoint.Host)
	s.route, err = read(ctx, k.reader(GatewayAPI), s.agent.Namespace, endpointName(s.agent), &gatewayv1.HTTPRoute{})
	if s.route != nil && !metav1.IsControlledBy(s.route, s.agent) {
		s.route = nil
	}
	return err
}

// listeners of a Gateway that serve a host: those that end TLS, and those of plain
// HTTP.
func listeners(gateway *gatewayv1.Gateway, host string) (secure, plain []gatewayv1.SectionName) {
	for _, listener := range gateway.Spec.Listeners {
		if !serves(listener.Hostname, host) {
			continue
		}
		passes := listener.TLS != nil && listener.TLS.Mode != nil && *listener.TLS.Mode == gatewayv1.TLSModePassthrough
		switch {
		case listener.Protocol == gatewayv1.HTTPSProtocolType && !passes:
			secure = append(secure, listener.Name)
		case listener.Protocol == gatewayv1.HTTPProtocolType:
			plain = append(plain, listener.Name)
		}
	}
	return secure, plain
}

// serves reports whether a listener's host name, which may begin with *., covers a
// host.
func serves(name *gatewayv1.Hostname, host string) bool {
	if name == nil || *name == "" || string(*name) == host {
		return true
	}
	suffix, wild := strings.CutPrefix(string(*name), "*")
	return wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix)
}

// reader is an API's cache; nil, as an interface, where it is not installed.
func (k *Keeper) reader(api API) client.Reader {
	if found := k.APIs.Client(api); found != nil {
		return found
	}
	return nil
}
