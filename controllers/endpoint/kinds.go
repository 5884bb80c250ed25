package endpoint

import (
	"context"
	"fmt"

	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// indexRefs finds agents by what their endpoint refers to.
const indexRefs = "spec.endpoint.references"

// transportKind is Traefik's description of how it connects to a service.
var transportKind = schema.GroupVersionKind{Group: "traefik.io", Version: "v1alpha1", Kind: "ServersTransport"}

func newTransport() *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(transportKind)
	return object
}

// AddToScheme adds the kinds of the optional APIs.
func AddToScheme(scheme *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{
		certmanagerv1.AddToScheme, acmev1.AddToScheme, gatewayv1.Install, gatewayv1beta1.Install,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	return nil
}

// AddIndexes registers the index of the endpoints' references with the cache.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer, options Options) error {
	keys := func(object client.Object) []string { return references(object.(*v1alpha1.TradingAgent), options) }
	if err := indexer.IndexField(ctx, &v1alpha1.TradingAgent{}, indexRefs, keys); err != nil {
		return fmt.Errorf("index agents by %s: %w", indexRefs, err)
	}
	return nil
}

// references are the keys of all that an agent's endpoint refers to.
func references(agent *v1alpha1.TradingAgent, options Options) []string {
	endpoint := agent.Spec.Endpoint
	if endpoint == nil {
		return nil
	}
	var keys []string
	if issuer := issuerOf(endpoint, options); issuer != nil {
		keys = append(keys, issuerKey(issuer.Kind, agent.Namespace, issuer.Name))
	}
	if endpoint.GatewayRef != nil {
		gateway := gatewayOf(agent)
		return append(keys, gatewayKey(gateway.Namespace, gateway.Name))
	}
	// Without a class that is named, any may become the cluster's default.
	return append(keys, classKey(classOf(endpoint, options)))
}

func issuerKey(kind v1alpha1.IssuerKind, namespace, name string) string {
	if kind == v1alpha1.IssuerKindClusterIssuer {
		return "ClusterIssuer/" + name
	}
	return "Issuer/" + namespace + "/" + name
}

func classKey(name string) string              { return "IngressClass/" + name }
func gatewayKey(namespace, name string) string { return "Gateway/" + namespace + "/" + name }

// issuerOf is the issuer of an endpoint's certificate; nil if none is named.
func issuerOf(endpoint *v1alpha1.EndpointSpec, options Options) *v1alpha1.IssuerReference {
	if endpoint.IssuerRef != nil {
		return endpoint.IssuerRef
	}
	return options.Issuer
}

func classOf(endpoint *v1alpha1.EndpointSpec, options Options) string {
	if endpoint.IngressClassName != "" {
		return endpoint.IngressClassName
	}
	return options.IngressClass
}

func gatewayOf(agent *v1alpha1.TradingAgent) types.NamespacedName {
	ref := agent.Spec.Endpoint.GatewayRef
	namespace := ref.Namespace
	if namespace == "" {
		namespace = agent.Namespace
	}
	return types.NamespacedName{Namespace: namespace, Name: ref.Name}
}

func (o Options) internalIssuer() v1alpha1.IssuerReference {
	if o.InternalIssuer.Name == "" {
		return DefaultInternalIssuer
	}
	return o.InternalIssuer
}

// optionalKinds are the kinds of every optional API, and whom their objects
// concern. cert-manager gives a Certificate's labels to its CertificateRequests
// and Orders, so the cache holds those of agents only; Challenges have none.
func optionalKinds() map[API][]watched {
	own := labels.SelectorFromSet(labels.Set{reconcile.LabelManagedBy: reconcile.FieldOwner})
	slim := cache.TransformStripManagedFields()
	return map[API][]watched{
		CertManager: {
			{definition: "certificates.cert-manager.io", prototype: &certmanagerv1.Certificate{}, ByObject: cache.ByObject{Label: own, Transform: slim}, agents: agentOfLabel},
			{definition: "certificaterequests.cert-manager.io", prototype: &certmanagerv1.CertificateRequest{}, ByObject: cache.ByObject{Label: own, Transform: slimRequest}, owned: true, agents: agentOfLabel},
			{definition: "orders.acme.cert-manager.io", prototype: &acmev1.Order{}, ByObject: cache.ByObject{Label: own, Transform: slimOrder}, owned: true, agents: agentOfLabel},
			{definition: "challenges.acme.cert-manager.io", prototype: &acmev1.Challenge{}, ByObject: cache.ByObject{Transform: slimChallenge}, owned: true, agents: agentOfChallenge},
			{definition: "issuers.cert-manager.io", prototype: &certmanagerv1.Issuer{}, ByObject: cache.ByObject{Transform: slim}, agents: agentsOfIssuer, matters: issuerMoved},
			{definition: "clusterissuers.cert-manager.io", prototype: &certmanagerv1.ClusterIssuer{}, ByObject: cache.ByObject{Transform: slim}, agents: agentsOfIssuer, matters: issuerMoved},
		},
		GatewayAPI: {
			{definition: "httproutes.gateway.networking.k8s.io", prototype: &gatewayv1.HTTPRoute{}, ByObject: cache.ByObject{Label: own, Transform: slim}, agents: agentOfLabel},
			{definition: "referencegrants.gateway.networking.k8s.io", prototype: &gatewayv1beta1.ReferenceGrant{}, ByObject: cache.ByObject{Label: own, Transform: slim}, agents: agentOfLabel},
			{definition: "gateways.gateway.networking.k8s.io", prototype: &gatewayv1.Gateway{}, ByObject: cache.ByObject{Transform: slim}, agents: agentsOfGateway, matters: specMoved},
		},
		BackendTLS: {
			{definition: "backendtlspolicies.gateway.networking.k8s.io", prototype: &gatewayv1.BackendTLSPolicy{}, ByObject: cache.ByObject{Label: own, Transform: slim}, agents: agentOfLabel},
		},
		Traefik: {
			{definition: "serverstransports.traefik.io", prototype: newTransport(), ByObject: cache.ByObject{Label: own, Transform: slim}, agents: agentOfLabel},
		},
	}
}

// What is stripped here is read by nobody; the objects are cert-manager's, and the
// operator never writes them.

func slimRequest(object any) (any, error) {
	if request, ok := object.(*certmanagerv1.CertificateRequest); ok {
		request.ManagedFields = nil
		request.Spec.Request, request.Spec.Extra, request.Spec.Groups = nil, nil, nil
		request.Status.Certificate, request.Status.CA = nil, nil
	}
	return object, nil
}

func slimOrder(object any) (any, error) {
	if order, ok := object.(*acmev1.Order); ok {
		order.ManagedFields = nil
		order.Spec.Request, order.Status.Certificate, order.Status.Authorizations = nil, nil, nil
	}
	return object, nil
}

func slimChallenge(object any) (any, error) {
	if challenge, ok := object.(*acmev1.Challenge); ok {
		challenge.ManagedFields = nil
		challenge.Spec = acmev1.ChallengeSpec{Type: challenge.Spec.Type, DNSName: challenge.Spec.DNSName}
	}
	return object, nil
}

func issuerMoved(before, after client.Object) bool {
	return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration() ||
		!equality.Semantic.DeepEqual(issuerConditions(before), issuerConditions(after))
}

func specMoved(before, after client.Object) bool {
	return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration()
}

// agentOfLabel is the agent that an object's label names.
func agentOfLabel(_ context.Context, _ *APIs, object client.Object) ([]ctrlreconcile.Request, error) {
	name := object.GetLabels()[v1alpha1.AgentLabel]
	if name == "" {
		return nil, nil
	}
	return []ctrlreconcile.Request{{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: name}}}, nil
}

// agentOfChallenge is the agent of the Order that a challenge belongs to.
func agentOfChallenge(ctx context.Context, apis *APIs, object client.Object) ([]ctrlreconcile.Request, error) {
	owner, reader := metav1.GetControllerOf(object), apis.Client(CertManager)
	if owner == nil || reader == nil {
		return nil, nil
	}
	order := &acmev1.Order{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: object.GetNamespace(), Name: owner.Name}, order)
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return agentOfLabel(ctx, apis, order)
}

// agentsOfIssuer are those whose certificates it issues, and for the internal
// issuer all of them.
func agentsOfIssuer(ctx context.Context, apis *APIs, object client.Object) ([]ctrlreconcile.Request, error) {
	kind := v1alpha1.IssuerKindIssuer
	if _, ok := object.(*certmanagerv1.ClusterIssuer); ok {
		kind = v1alpha1.IssuerKindClusterIssuer
	}
	internal := apis.options.internalIssuer()
	switch {
	case internal.Kind != kind || internal.Name != object.GetName():
	case kind == v1alpha1.IssuerKindClusterIssuer:
		return reconcile.AllAgents(ctx, apis.agents)
	default:
		return reconcile.AllAgents(ctx, apis.agents, client.InNamespace(object.GetNamespace()))
	}
	return reconcile.AllAgents(ctx, apis.agents, client.MatchingFields{indexRefs: issuerKey(kind, object.GetNamespace(), object.GetName())})
}

func agentsOfGateway(ctx context.Context, apis *APIs, object client.Object) ([]ctrlreconcile.Request, error) {
	return reconcile.AllAgents(ctx, apis.agents, client.MatchingFields{indexRefs: gatewayKey(object.GetNamespace(), object.GetName())})
}

// AgentsOfClass are the agents whose Ingress has a class, or would have it if it
// were the cluster's default.
func AgentsOfClass(reader client.Reader) func(context.Context, *networkingv1.IngressClass) ([]ctrlreconcile.Request, error) {
	return func(ctx context.Context, class *networkingv1.IngressClass) ([]ctrlreconcile.Request, error) {
		named, err := reconcile.AllAgents(ctx, reader, client.MatchingFields{indexRefs: classKey(class.Name)})
		if err != nil {
			return nil, err
		}
		unnamed, err := reconcile.AllAgents(ctx, reader, client.MatchingFields{indexRefs: classKey("")})
		return append(named, unnamed...), err
	}
}

// RivalsOf are the other agents that ask for an agent's host: its going may set
// the host free.
func RivalsOf(reader client.Reader) func(context.Context, *v1alpha1.TradingAgent) ([]ctrlreconcile.Request, error) {
	return func(ctx context.Context, agent *v1alpha1.TradingAgent) ([]ctrlreconcile.Request, error) {
		if agent.Spec.Endpoint == nil {
			return nil, nil
		}
		return reconcile.AllAgents(ctx, reader, client.MatchingFields{reconcile.IndexHost: agent.Spec.Endpoint.Host})
	}
}

// HostMoved passes the changes that may set a host free or take it.
func HostMoved(before, after *v1alpha1.TradingAgent) bool {
	return hostOf(before) != hostOf(after)
}

func hostOf(agent *v1alpha1.TradingAgent) string {
	if agent.Spec.Endpoint == nil {
		return ""
	}
	return agent.Spec.Endpoint.Host
}
