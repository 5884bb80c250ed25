package v1alpha1

// Reasons of an agent's endpoint: its certificate, its route, and what a client
// would meet there. None of them keeps an agent from trading.
const (
	ReasonHostTaken             = "HostTaken"
	ReasonHostInvalid           = "HostInvalid"
	ReasonCertManagerMissing    = "CertManagerMissing"
	ReasonIssuerNotFound        = "IssuerNotFound"
	ReasonIssuerNotReady        = "IssuerNotReady"
	ReasonCertificateIssued     = "CertificateIssued"
	ReasonCertificateIssuing    = "CertificateIssuing"
	ReasonCertificateExpired    = "CertificateExpired"
	ReasonRenewalFailing        = "RenewalFailing"
	ReasonIssuanceFailed        = "IssuanceFailed"
	ReasonDNSTokenRefused       = "DNSTokenRefused"
	ReasonACMERateLimited       = "ACMERateLimited"
	ReasonChallengeFailing      = "ChallengeFailing"
	ReasonTLSSecretNotFound     = "TLSSecretNotFound" //nolint:gosec // a word, no secret
	ReasonTLSSecretMismatch     = "TLSSecretMismatch" //nolint:gosec // as above
	ReasonClockSkew             = "ClockSkew"
	ReasonInternalIssuerMissing = "InternalIssuerMissing"
	ReasonIngressClassMissing   = "IngressClassMissing"
	ReasonNoIngressController   = "NoIngressController"
	ReasonGatewayAPIMissing     = "GatewayAPIMissing"
	ReasonGatewayNotFound       = "GatewayNotFound"
	ReasonGatewayWithoutHTTPS   = "GatewayWithoutHTTPS"
	ReasonRoutePending          = "RoutePending"
	ReasonRouteRefused          = "RouteRefused"
	ReasonRouteAccepted         = "RouteAccepted"
	ReasonVerified              = "Verified"
	ReasonVerifying             = "Verifying"
	ReasonHostNotResolved       = "HostNotResolved"
	ReasonAddressRefused        = "AddressRefused"
	ReasonEndpointUnreachable   = "EndpointUnreachable"
	ReasonHandshakeFailed       = "HandshakeFailed"
	ReasonCertificateUntrusted  = "CertificateUntrusted"
	ReasonCertificateWrongHost  = "CertificateWrongHost"
	ReasonCertificateNotServed  = "CertificateNotServed"
	ReasonRouteNotServed        = "RouteNotServed"
	ReasonAgentUnreachable      = "AgentUnreachable"
	ReasonRedirectMissing       = "RedirectMissing"
	ReasonHSTSMissing           = "HSTSMissing"
	ReasonStreamRefused         = "StreamRefused"
)

func endpointReasons() []Reason {
	return []Reason{
		{ReasonHostTaken, "An older agent has this host.", "Choose another spec.endpoint.host, or remove the endpoint of the agent that the message names."},
		{ReasonHostInvalid, "The host is no DNS name.", "Correct spec.endpoint.host: a name in lower case with at least two labels, without scheme, port and path."},
		{ReasonCertManagerMissing, "cert-manager is not installed, so nobody issues certificates.", "Install cert-manager; the operator goes on by itself."},
		{ReasonIssuerNotFound, "No issuer is named, or the named one does not exist.", "Create it, correct spec.endpoint.issuerRef, or give the operator --endpoint-issuer."},
		{ReasonIssuerNotReady, "The issuer exists but is not Ready.", "Look at the message and at the issuer."},
		{ReasonCertificateIssued, "The certificate is valid and renewed in time.", ""},
		{ReasonCertificateIssuing, "The certificate is being issued.", "If it stays so, look at kubectl describe of the Certificate that the message names."},
		{ReasonCertificateExpired, "The certificate's time is over; clients refuse it.", "Look at the message for why it was not renewed."},
		{ReasonRenewalFailing, "The certificate is still valid, but its renewal is overdue.", "Look at the message and correct what it names before the certificate ends."},
		{ReasonIssuanceFailed, "The issuer did not issue the certificate; cert-manager tries again with growing pauses.", "Look at the message. To try at once: cmctl renew, or delete the CertificateRequest."},
		{ReasonDNSTokenRefused, "The DNS provider refuses the token of the issuer's DNS-01 solver.", "Give the token the rights Zone:Read and DNS:Edit on the host's zone, and put it into the Secret that the issuer names."},
		{ReasonACMERateLimited, "The ACME server asks to be left alone for a while.", "Wait until the time that the message names; try with a staging issuer meanwhile."},
		{ReasonChallengeFailing, "The ACME server cannot see the proof that the host is yours.", "For HTTP-01 the host must lead to the ingress on port 80; for DNS-01 the token must fit the zone. Look at the message."},
		{ReasonTLSSecretNotFound, "The Secret with the certificate was deleted; cert-manager issues another.", "If it stays so, look at the Certificate."},
		{ReasonTLSSecretMismatch, "The key in the certificate's Secret does not belong to the certificate, or is damaged.", "Delete the Secret; cert-manager issues another. Let nothing else write it."},
		{ReasonClockSkew, "The certificate is not valid yet by the operator's clock.", "Set the clocks of the nodes by NTP."},
		{ReasonInternalIssuerMissing, "The issuer of the certificates inside the cluster is missing, so the agent cannot serve HTTPS.", "Create the ClusterIssuer that the operator's --internal-issuer names."},
		{ReasonIngressClassMissing, "There is no such IngressClass, or none is named and the cluster has no default.", "Install the ingress controller, correct spec.endpoint.ingressClassName, or give the operator --endpoint-ingress-class."},
		{ReasonNoIngressController, "No ingress controller has taken the Ingress up.", "Start the controller of the IngressClass, and let it publish its address in the status of Ingresses."},
		{ReasonGatewayAPIMissing, "The kinds of Gateway API v1 are not installed.", "Install Gateway API, or name an ingressClassName; the operator goes on by itself."},
		{ReasonGatewayNotFound, "The Gateway does not exist.", "Create it, or correct spec.endpoint.gatewayRef."},
		{ReasonGatewayWithoutHTTPS, "The Gateway has no HTTPS listener for the host.", "Add a listener with protocol HTTPS that serves the host with the Secret that the message names."},
		{ReasonRoutePending, "The route waits for its controller.", "If it stays so, look at the controller of the Ingress or Gateway."},
		{ReasonRouteRefused, "The controller or the API server refuses the route.", "Look at the message."},
		{ReasonRouteAccepted, "The route is in force.", ""},
		{ReasonVerified, "A client that connects to the endpoint meets the agent, by a valid certificate.", ""},
		{ReasonVerifying, "The endpoint is being tried.", ""},
		{ReasonHostNotResolved, "The host has no address in DNS.", "Create the DNS record, or give the operator --endpoint-resolve."},
		{ReasonAddressRefused, "The host leads to an address that the operator does not try, such as loopback or link-local.", "Correct the DNS record."},
		{ReasonEndpointUnreachable, "Nobody answers at port 443 of the host's address.", "Start the ingress controller, open the firewall, or give the operator --endpoint-resolve if the address cannot be reached from inside the cluster."},
		{ReasonHandshakeFailed, "What listens at port 443 does not agree on TLS 1.2 or newer.", "Look at the ingress controller."},
		{ReasonCertificateUntrusted, "Clients do not trust the issuer of the certificate that is served.", "Use a production issuer; for a private CA, give the operator and the clients its root."},
		{ReasonCertificateWrongHost, "The certificate that is served is for other names.", "Look at whether another Ingress or the Gateway's listener answers for the host."},
		{ReasonCertificateNotServed, "An older certificate is served than the one that was issued.", "If it stays so, look at the ingress controller; a Gateway's listener must name the Secret."},
		{ReasonRouteNotServed, "What answers at the host is not the agent.", "Look at whether the DNS record leads to the right ingress, and at the ingress controller's log."},
		{ReasonAgentUnreachable, "The ingress answers, but does not reach the agent.", "Look at the agent's pod, its internal certificate, and whether the ingress trusts the internal CA."},
		{ReasonRedirectMissing, "Plain HTTP is answered without a redirect to HTTPS.", "Turn the redirect on in the ingress controller or the Gateway."},
		{ReasonHSTSMissing, "Answers carry no Strict-Transport-Security.", "Do not remove the header in the ingress controller."},
		{ReasonStreamRefused, "WebSockets do not pass.", "Let the ingress controller pass upgrades and long connections."},
	}
}
