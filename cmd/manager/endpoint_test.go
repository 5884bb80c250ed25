package main

import (
	"flag"
	"net/netip"
	"strings"
	"testing"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func readEndpointFlags(t *testing.T, arguments ...string) (endpointOptions, error) {
	t.Helper()
	var options endpointOptions
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	flags.SetOutput(t.Output())
	options.addFlags(flags)
	return options, flags.Parse(arguments)
}

func TestEndpointFlags(t *testing.T) {
	flags, err := readEndpointFlags(t, "--endpoint-issuer=Issuer/ours", "--endpoint-roots=/a.pem,/b.pem",
		"--endpoint-resolve=*.desk.example.com=10.0.0.7", "--endpoint-resolve=eur.desk.example.com=10.0.0.8")
	if err != nil {
		t.Fatal(err)
	}
	options, err := flags.read()
	if err != nil {
		t.Fatal(err)
	}
	if *options.Issuer != (v1alpha1.IssuerReference{Kind: v1alpha1.IssuerKindIssuer, Name: "ours"}) {
		t.Errorf("the issuer is %+v", options.Issuer)
	}
	if options.InternalIssuer != (v1alpha1.IssuerReference{Kind: v1alpha1.IssuerKindClusterIssuer, Name: "trading-internal"}) {
		t.Errorf("the internal issuer is %+v", options.InternalIssuer)
	}
	if strings.Join(options.Roots, " ") != "/a.pem /b.pem" {
		t.Errorf("the roots are %v", options.Roots)
	}
	for host, want := range map[string]string{
		"eur.desk.example.com": "10.0.0.8", "btc.desk.example.com": "10.0.0.7", "a.b.desk.example.com": "10.0.0.7", "desk.example.com": "", "example.com": "",
	} {
		address, ok := options.Resolve.Find(host)
		if ok != (want != "") || ok && address != netip.MustParseAddr(want) {
			t.Errorf("%s has the address %v (%v), want %q", host, address, ok, want)
		}
	}
}

func TestEndpointFlagsRefused(t *testing.T) {
	for _, argument := range []string{
		"--endpoint-issuer=letsencrypt", "--endpoint-issuer=Vault/x", "--endpoint-issuer=Issuer/", "--internal-issuer=",
		"--internal-issuer=ClusterIssuer/a/b", "--endpoint-resolve=host", "--endpoint-resolve=host=there",
	} {
		flags, err := readEndpointFlags(t, argument)
		if err == nil {
			_, err = flags.read()
		}
		if name, _, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "="); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error that names the flag", argument, err)
		}
	}
}
