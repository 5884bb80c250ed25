package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/three-rivers-tech/trading-operator/controllers/endpoint"
)

// endpointOptions are the flags for the addresses of agents.
type endpointOptions struct {
	issuer, internalIssuer, ingressClass string
	clientCertificates, roots            string
	resolve                              endpoint.Resolve
}

func (o *endpointOptions) addFlags(flags *flag.FlagSet) {
	o.resolve = endpoint.Resolve{}
	flags.StringVar(&o.issuer, "endpoint-issuer", "", "cert-manager issuer of endpoints whose spec names none, such as ClusterIssuer/letsencrypt")
	flags.StringVar(&o.ingressClass, "endpoint-ingress-class", "", "IngressClass of endpoints whose spec names neither a class nor a gateway; the cluster's default if not given")
	flags.StringVar(&o.internalIssuer, "internal-issuer", "ClusterIssuer/trading-internal", "cert-manager issuer that certifies the agents' HTTPS inside the cluster")
	flags.StringVar(&o.clientCertificates, "client-cert-dir", "/etc/trading/client", "directory with tls.crt, tls.key and ca.crt, by which the operator and its agents know each other; the files may come later")
	flags.StringVar(&o.roots, "endpoint-roots", "", "PEM files, parted by commas, of certification authorities that clients of the endpoints trust beside those of the system")
	flags.Var(o.resolve, "endpoint-resolve", "HOST=ADDRESS by which endpoints are tried where the address in DNS cannot be reached from inside the cluster; HOST may begin with *. and the flag may be repeated")
}

// read checks the flags.
func (o *endpointOptions) read() (endpoint.Options, error) {
	options := endpoint.Options{IngressClass: o.ingressClass, ClientCertificates: o.clientCertificates, Resolve: o.resolve}
	var err error
	if options.InternalIssuer, err = endpoint.ParseIssuer(o.internalIssuer); err != nil {
		return options, fmt.Errorf("--internal-issuer: %w", err)
	}
	if o.issuer != "" {
		issuer, err := endpoint.ParseIssuer(o.issuer)
		if err != nil {
			return options, fmt.Errorf("--endpoint-issuer: %w", err)
		}
		options.Issuer = &issuer
	}
	if o.roots != "" {
		options.Roots = strings.Split(o.roots, ",")
	}
	return options, nil
}
