package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var serving = Certificate{
	Name: "apiserver", CommonName: "kube-apiserver",
	DNSNames: []string{"kubernetes.default.svc"}, IPs: []net.IP{net.ParseIP("10.1.0.1")},
}

func mustOpen(t *testing.T, dir string, now time.Time) *Authority {
	t.Helper()
	a, err := Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ensure(t *testing.T, a *Authority, c Certificate, now time.Time) []byte {
	t.Helper()
	if err := a.Ensure(c, now); err != nil {
		t.Fatal(err)
	}
	cert, _, err := a.Read(c.Name)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestServerCertificateVerifies(t *testing.T) {
	now := time.Now()
	a := mustOpen(t, t.TempDir(), now)
	ensure(t, a, serving, now)
	certPath, keyPath := a.Path("apiserver")
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for _, name := range []string{"kubernetes.default.svc", "10.1.0.1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("verify as %s: %v", name, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "10.1.0.2"}); err == nil {
		t.Error("a foreign address verifies")
	}
}

func TestEnsureKeepsWhatIsCurrentAndReplacesWhatIsNot(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	a := mustOpen(t, dir, now)
	first := ensure(t, a, serving, now)

	a = mustOpen(t, dir, now)
	if again := ensure(t, a, serving, now); string(again) != string(first) {
		t.Error("an unchanged certificate was issued again")
	}
	moved := serving
	moved.IPs = []net.IP{net.ParseIP("10.2.0.1")}
	second := ensure(t, a, moved, now)
	if string(second) == string(first) {
		t.Error("a changed address did not lead to a new certificate")
	}
	later := now.Add(lifetime - renewBefore + time.Hour)
	a = mustOpen(t, dir, later)
	if third := ensure(t, a, moved, later); string(third) == string(second) {
		t.Error("a certificate that ends soon was kept")
	}
}

func TestLostKeyIsReplacedTogetherWithItsCertificate(t *testing.T) {
	now := time.Now()
	a := mustOpen(t, t.TempDir(), now)
	ensure(t, a, serving, now)
	certPath, keyPath := a.Path("apiserver")
	if err := os.Remove(keyPath); err != nil {
		t.Fatal(err)
	}
	ensure(t, a, serving, now)
	if _, err := tls.LoadX509KeyPair(certPath, keyPath); err != nil {
		t.Error(err)
	}
}

func TestTokenKeyIsKept(t *testing.T) {
	a := mustOpen(t, t.TempDir(), time.Now())
	read := func() string {
		if err := a.EnsureTokenKey("sa"); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(a.Dir, "sa.pub"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if first := read(); first != read() {
		t.Error("tokens issued before the second call no longer verify")
	}
}
