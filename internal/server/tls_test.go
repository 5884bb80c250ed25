package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// authority certifies the servers and clients of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate: certificate, key: key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// issue makes a certificate for 127.0.0.1 and whatever URIs are given.
func (a *authority) issue(t *testing.T, serial int64, uris ...string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, text := range uris {
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// volume is a directory that is replaced as the kubelet replaces a Secret volume: by
// moving a link.
type volume struct {
	directory string
	turn      int
}

func (v *volume) files() CertificateFiles {
	return CertificateFiles{
		Certificate: filepath.Join(v.directory, "tls.crt"), Key: filepath.Join(v.directory, "tls.key"), ClientCA: filepath.Join(v.directory, "ca.crt"),
	}
}

func (v *volume) put(t *testing.T, certificate, key, ca []byte) {
	t.Helper()
	v.turn++
	held := fmt.Sprintf("..%d", v.turn)
	if err := os.Mkdir(filepath.Join(v.directory, held), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"tls.crt": certificate, "tls.key": key, "ca.crt": ca} {
		if err := os.WriteFile(filepath.Join(v.directory, held, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(v.directory, "..data_tmp")
	if err := os.Symlink(held, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(v.directory, "..data")); err != nil {
		t.Fatal(err)
	}
	if v.turn > 1 {
		return
	}
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(v.directory, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener := listen(t)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// eventually asks until the answer is empty.
func eventually(t *testing.T, what string, ask func() string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		answer := ask()
		if answer == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s", what, answer)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// serial is which certificate a new connection is shown.
func serial(t *testing.T, address string, config *tls.Config) (int64, error) {
	t.Helper()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: config}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// ask over a connection that is open already.
func over(conn net.Conn, reader *bufio.Reader, path, key string) (int, error) {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n", path, key); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func TestCertificateIsReplacedUnderOpenConnections(t *testing.T) {
	d := newDesk(t, &fakeAgent{})
	ca := newAuthority(t)
	secret := &volume{directory: t.TempDir()}
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.ServeTLS(ctx, address, secret.files(), d.Outside()) }()

	trust := &tls.Config{RootCAs: ca.roots(), NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	// Without a certificate nothing listens; the metric says so.
	if _, err := serial(t, address, trust); err == nil || testutil.ToFloat64(d.tls.listening) != 0 {
		t.Errorf("without a certificate: %v, listening %v", err, testutil.ToFloat64(d.tls.listening))
	}
	certificate, key := ca.issue(t, 11)
	secret.put(t, certificate, key, ca.pem())
	shows := func(want int64) func() string {
		return func() string {
			if got, err := serial(t, address, trust); err != nil || got != want {
				return fmt.Sprintf("the certificate is %d (%v), want %d", got, err, want)
			}
			return ""
		}
	}
	eventually(t, "the first certificate", shows(11))
	if testutil.ToFloat64(d.tls.listening) != 1 || testutil.ToFloat64(d.tls.expiry) < float64(time.Now().Unix()) {
		t.Error("the metrics do not tell of the certificate")
	}

	const clients = 8
	conns, readers := make([]net.Conn, clients), make([]*bufio.Reader, clients)
	for i := range conns {
		conn, err := (&tls.Dialer{Config: trust}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		conns[i], readers[i] = conn, bufio.NewReader(conn)
	}
	allAnswer := func(when string) {
		t.Helper()
		for i := range conns {
			if code, err := over(conns[i], readers[i], "/api/v1/status", d.key[keys.Read]); err != nil || code != http.StatusOK {
				t.Errorf("%s, connection %d: %d %v", when, i, code, err)
			}
		}
	}
	allAnswer("at first")
	certificate, key = ca.issue(t, 12)
	secret.put(t, certificate, key, ca.pem())
	eventually(t, "the renewed certificate", shows(12))
	allAnswer("after the renewal")

	// A key that does not belong to the certificate changes nothing but the metric.
	failures := testutil.ToFloat64(d.tls.failures)
	wrong, _ := ca.issue(t, 13)
	secret.put(t, wrong, key, ca.pem())
	eventually(t, "the wrong key", func() string {
		if testutil.ToFloat64(d.tls.failures) == failures {
			return "nobody noticed"
		}
		return ""
	})
	if problem := shows(12)(); problem != "" {
		t.Errorf("after a wrong key: %s", problem)
	}
	certificate, key = ca.issue(t, 14)
	secret.put(t, certificate, key, ca.pem())
	eventually(t, "the corrected certificate", shows(14))
	allAnswer("after all")

	old := trust.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := serial(t, address, old); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if testutil.ToFloat64(d.tls.listening) != 0 {
		t.Error("the metric says that the API still listens")
	}
}

func TestOperatorAndAgentKnowEachOther(t *testing.T) {
	d := newDesk(t, &fakeAgent{})
	ca, stranger := newAuthority(t), newAuthority(t)
	secret := &volume{directory: t.TempDir()}
	certificate, key := ca.issue(t, 1)
	secret.put(t, certificate, key, ca.pem())
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.ServeTLS(ctx, address, secret.files(), d.Outside()) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "listening", func() string {
		if _, err := serial(t, address, &tls.Config{RootCAs: ca.roots(), MinVersion: tls.VersionTLS12}); err != nil {
			return err.Error()
		}
		return ""
	})
	status := func(method, path string, from *authority, uris ...string) (int, string) {
		config := &tls.Config{RootCAs: ca.roots(), MinVersion: tls.VersionTLS12}
		if from != nil {
			certificate, key := from.issue(t, 2, uris...)
			pair, err := tls.X509KeyPair(certificate, key)
			if err != nil {
				t.Fatal(err)
			}
			// Shown even if the server does not ask for this authority's.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
		defer client.CloseIdleConnections()
		request, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = response.Body.Close() }()
		return response.StatusCode, response.Proto
	}
	if code, proto := status("GET", "/api/v1/status", ca, keys.OperatorURI); code != http.StatusOK || proto != "HTTP/2.0" {
		t.Errorf("the operator reads: %d %s", code, proto)
	}
	if code, _ := status("POST", "/api/v1/positions/EUR-USD/close", ca, keys.OperatorURI); code != http.StatusForbidden {
		t.Errorf("the operator trades: %d", code)
	}
	if code, _ := status("GET", "/api/v1/status", ca); code != http.StatusUnauthorized {
		t.Errorf("another agent reads: %d", code)
	}
	if code, _ := status("GET", "/api/v1/status", nil); code != http.StatusUnauthorized {
		t.Errorf("nobody reads: %d", code)
	}
	// A client may be writing while it is refused, and then hears of the connection's
	// end and not of its cause (RFC 8446, 4.4.2.4 and 6.2).
	if code, why := status("GET", "/api/v1/status", stranger, keys.OperatorURI); code != 0 {
		t.Errorf("a stranger with the operator's name: %d %s", code, why)
	}
}
