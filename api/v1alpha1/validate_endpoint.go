package v1alpha1

import (
	"regexp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The schema says the same; objects may be older than it.
var (
	hostName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$`)
	digits   = regexp.MustCompile(`^[0-9.]+$`)
)

const maxHostName = 253

// ValidateEndpoint checks an agent's endpoint by itself; an agent without one is
// right.
func ValidateEndpoint(agent *TradingAgent) field.ErrorList {
	endpoint, path := agent.Spec.Endpoint, field.NewPath("spec", "endpoint")
	if endpoint == nil {
		return nil
	}
	var errs field.ErrorList
	if len(endpoint.Host) > maxHostName || !hostName.MatchString(endpoint.Host) || digits.MatchString(endpoint.Host) {
		errs = append(errs, field.Invalid(path.Child("host"), endpoint.Host, "must be a DNS name in lower case with at least two labels, such as eur.desk.example.com"))
	}
	if endpoint.IngressClassName != "" && endpoint.GatewayRef != nil {
		errs = append(errs, field.Forbidden(path.Child("gatewayRef"), "ingressClassName and gatewayRef exclude each other; keep the one whose controller serves this host"))
	}
	return errs
}

// ValidateUniqueHost refuses a host that another agent of any namespace has, be it
// older or not: who asks for it now comes last. agents are those with the same
// host.
func ValidateUniqueHost(agent *TradingAgent, agents []TradingAgent) field.ErrorList {
	asking := *agent
	asking.CreationTimestamp = metav1.Time{}
	rival := HostRival(&asking, agents)
	if rival == nil {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("spec", "endpoint", "host"), HostTakenMessage(agent.Spec.Endpoint.Host, agent.Namespace, rival))}
}

// HostTakenMessage tells a user of one namespace who has a host. The name of an
// agent in another namespace is not told: its user may not be allowed to see it.
func HostTakenMessage(host, namespace string, rival *TradingAgent) string {
	if rival.Namespace != namespace {
		return "host " + host + " is taken by an agent of another namespace"
	}
	return "host " + host + " is taken by TradingAgent " + rival.Name
}

// HostRival is the oldest agent that keeps an agent from its host; nil if the
// host is the agent's own. agents are those with the same host.
func HostRival(agent *TradingAgent, agents []TradingAgent) *TradingAgent {
	if agent.Spec.Endpoint == nil {
		return nil
	}
	var first *TradingAgent
	for i := range agents {
		other := &agents[i]
		if other.UID == agent.UID && other.Namespace == agent.Namespace && other.Name == agent.Name ||
			other.Spec.Endpoint == nil || other.Spec.Endpoint.Host != agent.Spec.Endpoint.Host {
			continue
		}
		if older(other, agent) && (first == nil || older(other, first)) {
			first = other
		}
	}
	return first
}

// older orders agents of all namespaces; one that is not stored yet is the newest.
func older(a, b *TradingAgent) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return !a.CreationTimestamp.IsZero() && (b.CreationTimestamp.IsZero() || a.CreationTimestamp.Before(&b.CreationTimestamp))
	}
	if a.Namespace != b.Namespace {
		return a.Namespace < b.Namespace
	}
	return a.Name < b.Name
}
