package endpoint

import "github.com/three-rivers-tech/trading-operator/api/v1alpha1"

// streamTimeout is how long a quiet WebSocket may stay open at an ingress whose
// own limit is shorter. The agent sends a ping far more often.
const streamTimeout = "3600"

// dialect is how one ingress controller is told to speak HTTPS to the agent, to
// redirect plain HTTP and to leave streams open. Values are fixed, or names of
// children, which the API server has held to the syntax of names; nothing else
// that a user writes gets into an annotation.
type dialect struct {
	ingress func(*v1alpha1.TradingAgent) map[string]string
	// service annotations; transport says that Traefik's ServersTransport exists.
	service func(agent *v1alpha1.TradingAgent, transport bool) map[string]string
	// plainApart says that an Ingress with TLS leaves plain HTTP unanswered, so that
	// the redirect needs an Ingress of its own.
	plainApart bool
}

// dialects by the spec.controller of an IngressClass. One that is not here gets an
// Ingress without annotations, and the Service's appProtocol tells it of HTTPS.
var dialects = map[string]dialect{
	"traefik.io/ingress-controller": {
		// An Ingress with TLS is served in the clear by entry points that have none of
		// their own, unless it says so.
		ingress: func(*v1alpha1.TradingAgent) map[string]string {
			return map[string]string{"traefik.ingress.kubernetes.io/router.tls": "true"}
		},
		service: func(agent *v1alpha1.TradingAgent, transport bool) map[string]string {
			annotations := map[string]string{"traefik.ingress.kubernetes.io/service.serversscheme": "https"}
			if transport {
				annotations["traefik.ingress.kubernetes.io/service.serverstransport"] = agent.Namespace + "-" + internalName(agent) + "@kubernetescrd"
			}
			return annotations
		},
		plainApart: true,
	},
	"haproxy.org/ingress-controller": {
		ingress: func(*v1alpha1.TradingAgent) map[string]string {
			return map[string]string{
				"haproxy.org/server-ssl":        "true",
				"haproxy.org/ssl-redirect":      "true",
				"haproxy.org/ssl-redirect-code": "301",
				"haproxy.org/timeout-server":    streamTimeout + "s",
			}
		},
	},
	"haproxy-ingress.github.io/controller": {
		ingress: func(agent *v1alpha1.TradingAgent) map[string]string {
			return map[string]string{
				"haproxy-ingress.github.io/backend-protocol":        "h1-ssl",
				"haproxy-ingress.github.io/secure-sni":              internalHost(agent),
				"haproxy-ingress.github.io/secure-verify-hostname":  internalHost(agent),
				"haproxy-ingress.github.io/secure-verify-ca-secret": InternalSecret(agent),
				"haproxy-ingress.github.io/ssl-redirect":            "true",
				"haproxy-ingress.github.io/timeout-tunnel":          streamTimeout + "s",
			}
		},
	},
	"nginx.org/ingress-controller": {
		ingress: func(agent *v1alpha1.TradingAgent) map[string]string {
			return map[string]string{
				"ingress.kubernetes.io/ssl-redirect": "true",
				"nginx.org/proxy-read-timeout":       streamTimeout + "s",
				"nginx.org/proxy-send-timeout":       streamTimeout + "s",
				"nginx.org/ssl-services":             agent.Name,
				"nginx.org/websocket-services":       agent.Name,
			}
		},
	},
	"k8s.io/ingress-nginx": {
		ingress: func(agent *v1alpha1.TradingAgent) map[string]string {
			return map[string]string{
				"nginx.ingress.kubernetes.io/backend-protocol":      "HTTPS",
				"nginx.ingress.kubernetes.io/force-ssl-redirect":    "true",
				"nginx.ingress.kubernetes.io/proxy-read-timeout":    streamTimeout,
				"nginx.ingress.kubernetes.io/proxy-send-timeout":    streamTimeout,
				"nginx.ingress.kubernetes.io/proxy-ssl-name":        internalHost(agent),
				"nginx.ingress.kubernetes.io/proxy-ssl-secret":      agent.Namespace + "/" + InternalSecret(agent),
				"nginx.ingress.kubernetes.io/proxy-ssl-server-name": "on",
				"nginx.ingress.kubernetes.io/proxy-ssl-verify":      "on",
			}
		},
	},
}
