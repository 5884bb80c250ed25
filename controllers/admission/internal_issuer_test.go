package admission_test

import (
	"context"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// installCertManager installs cert-manager's certificates until the test ends.
func installCertManager(t *testing.T) {
	t.Helper()
	definitions, err := testbench.Definitions(t.Context(), "github.com/cert-manager/cert-manager", "deploy/crds",
		"cert-manager.io_certificates.yaml", "cert-manager.io_certificaterequests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) string {
		// Those of an earlier test may still be going.
		if err := server.Install(ctx, definitions); err != nil {
			return err.Error()
		}
		for _, list := range []client.ObjectList{&certmanagerv1.CertificateList{}, &certmanagerv1.CertificateRequestList{}} {
			if err := server.Client.List(ctx, list); err != nil {
				return err.Error()
			}
		}
		return ""
	})
	t.Cleanup(func() {
		if err := server.Remove(context.WithoutCancel(t.Context()), definitions); err != nil {
			t.Error(err)
		}
	})
}

func as(t *testing.T, user string) client.Client {
	t.Helper()
	config := rest.CopyConfig(server.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
	c, err := client.New(config, client.Options{Scheme: server.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificateBy(namespace, name, kind, issuer string) *certmanagerv1.Certificate {
	return &certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: certmanagerv1.CertificateSpec{
		SecretName: name, DNSNames: []string{"eur.desk.svc"}, IssuerRef: cmmeta.IssuerReference{Kind: kind, Name: issuer},
	}}
}

func requestBy(namespace, name, issuer string) *certmanagerv1.CertificateRequest {
	return &certmanagerv1.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: certmanagerv1.CertificateRequestSpec{
		Request: []byte("x"), IssuerRef: cmmeta.IssuerReference{Kind: "ClusterIssuer", Name: issuer},
	}}
}

// Whoever has a certificate of the internal CA by the operator's name may read from
// every agent, so nobody but the operator gets one.
func TestInternalIssuer(t *testing.T) {
	installCertManager(t)
	desk := newNamespace(t)
	trader, operator := as(t, "trader"), as(t, "system:serviceaccount:trading-system:trading-operator")
	issuing := as(t, "system:serviceaccount:cert-manager:cert-manager")
	const internal = "trading-internal"
	// The operator's own is there first, to be tampered with.
	own := certificateBy(desk, "own", "ClusterIssuer", internal)
	eventually(t, func(ctx context.Context) string {
		if err := operator.Create(ctx, own); err != nil {
			return err.Error()
		}
		return ""
	})
	tampered := own.DeepCopy()
	tampered.Spec.URIs = []string{"spiffe://trading.three-rivers-tech.com/operator"}
	labelled := own.DeepCopy()
	labelled.Labels = map[string]string{"note": "by-hand"}
	for _, test := range []struct {
		name    string
		refused bool
		do      func(context.Context) error
	}{
		{"a trader's certificate", true, func(ctx context.Context) error {
			return trader.Create(ctx, certificateBy(desk, "a", "ClusterIssuer", internal), client.DryRunAll)
		}},
		{"a trader's request", true, func(ctx context.Context) error {
			return trader.Create(ctx, requestBy(desk, "b", internal), client.DryRunAll)
		}},
		{"a trader's change of the operator's certificate", true, func(ctx context.Context) error {
			return trader.Update(ctx, tampered.DeepCopy(), client.DryRunAll)
		}},
		{"cert-manager's certificate", true, func(ctx context.Context) error {
			return issuing.Create(ctx, certificateBy(desk, "c", "ClusterIssuer", internal), client.DryRunAll)
		}},
		{"the operator's change", false, func(ctx context.Context) error { return operator.Update(ctx, tampered.DeepCopy(), client.DryRunAll) }},
		{"a label", false, func(ctx context.Context) error { return trader.Update(ctx, labelled.DeepCopy(), client.DryRunAll) }},
		{"cert-manager's request", false, func(ctx context.Context) error {
			return issuing.Create(ctx, requestBy(desk, "d", internal), client.DryRunAll)
		}},
		{"in the operator's namespace", false, func(ctx context.Context) error {
			return trader.Create(ctx, certificateBy("trading-system", "e", "ClusterIssuer", internal), client.DryRunAll)
		}},
		{"of another issuer", false, func(ctx context.Context) error {
			return trader.Create(ctx, certificateBy(desk, "f", "ClusterIssuer", "letsencrypt"), client.DryRunAll)
		}},
		{"of an Issuer of that name", false, func(ctx context.Context) error {
			return trader.Create(ctx, certificateBy(desk, "g", "Issuer", internal), client.DryRunAll)
		}},
		{"of an issuer without a kind", false, func(ctx context.Context) error {
			return trader.Create(ctx, certificateBy(desk, "h", "", internal), client.DryRunAll)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(t.Context())
			if test.refused && (err == nil || !strings.Contains(err.Error(), "certifies agents and their operator alone")) {
				t.Errorf("want a refusal, got %v", err)
			}
			if !test.refused && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}
