package endpoint

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

const host = "eur.desk.example.com"

// silent takes what servers say of clients that do not like them.
var silent = log.New(io.Discard, "", 0)

// authority is a CA of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// issue makes a certificate for a name, valid from and until the given times from
// now.
func (a authority) issue(t *testing.T, name string, from, until time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// edge is an ingress with an agent behind it, as the test bends them.
type edge struct {
	t           *testing.T
	ca          authority
	certificate tls.Certificate
	issued      Keypair
	addresses   []netip.Addr
	lookupErr   error
	api, plain  http.HandlerFunc
	stream      http.HandlerFunc
	minVersion  uint16
	maxVersion  uint16
	// closed ports are those that refuse connections.
	closed map[string]bool

	secureServer, plainServer *httptest.Server
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	ca := newAuthority(t, "test CA")
	e := &edge{
		t: t, ca: ca, certificate: ca.issue(t, host, -time.Hour, time.Hour),
		addresses: []netip.Addr{netip.MustParseAddr("203.0.113.7")}, closed: map[string]bool{},
		api: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
			w.Header().Set("WWW-Authenticate", `Bearer realm="trading-agent"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		plain: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+host+statusPath, http.StatusPermanentRedirect)
		},
		stream: closeStream(noKey),
	}
	e.issued = Keypair{Found: true, Matches: true, Leaf: e.certificate.Leaf, Roots: ca.pem()}
	return e
}

func closeStream(code websocket.StatusCode) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		_ = conn.Close(code, "no key")
	}
}

// trial serves the edge on loopback, and tries it at the address that its DNS
// gives.
func (e *edge) trial(t *testing.T) *Trial {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc(statusPath, func(w http.ResponseWriter, r *http.Request) { e.api(w, r) })
	mux.HandleFunc(streamPath, func(w http.ResponseWriter, r *http.Request) { e.stream(w, r) })
	e.secureServer = httptest.NewUnstartedServer(mux)
	e.secureServer.Config.ErrorLog = silent
	e.secureServer.TLS = &tls.Config{Certificates: []tls.Certificate{e.certificate}, MinVersion: e.minVersion, MaxVersion: e.maxVersion}
	e.secureServer.StartTLS()
	t.Cleanup(e.secureServer.Close)
	e.plainServer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.plain(w, r) }))
	t.Cleanup(e.plainServer.Close)
	return &Trial{
		Secrets: func(context.Context, Target) (Keypair, error) { return e.issued, nil },
		lookup:  func(context.Context, string) ([]netip.Addr, error) { return e.addresses, e.lookupErr },
		dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			name, port, err := net.SplitHostPort(address)
			if err != nil || name != "203.0.113.7" {
				t.Errorf("dialled %s, which is not the host's address", address)
			}
			server := map[string]*httptest.Server{"443": e.secureServer, "80": e.plainServer}[port]
			if server == nil {
				t.Errorf("dialled %s, which is another port than 443 and 80", address)
			}
			if e.closed[port] {
				return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errRefused)}
			}
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
}

func TestTry(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, test := range []struct {
		name   string
		bend   func(*edge, *Target)
		reason string
		says   string
	}{
		{"all well", func(*edge, *Target) {}, v1alpha1.ReasonVerified, "https://" + host},
		{"plain HTTP closed", func(e *edge, _ *Target) { e.closed["80"] = true }, v1alpha1.ReasonVerified, ""},
		{"no such name", func(e *edge, _ *Target) {
			e.lookupErr = &net.DNSError{IsNotFound: true}
		}, v1alpha1.ReasonHostNotResolved, "no address"},
		{"DNS down", func(e *edge, _ *Target) {
			e.lookupErr = &net.DNSError{IsTimeout: true}
		}, v1alpha1.ReasonHostNotResolved, "does not answer"},
		{"a name for loopback", func(e *edge, _ *Target) {
			e.addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}, v1alpha1.ReasonAddressRefused, "127.0.0.1"},
		{"a name for the metadata service", func(e *edge, _ *Target) {
			e.addresses = []netip.Addr{netip.MustParseAddr("::ffff:169.254.169.254")}
		}, v1alpha1.ReasonAddressRefused, "169.254.169.254"},
		{"port closed", func(e *edge, _ *Target) { e.closed["443"] = true }, v1alpha1.ReasonEndpointUnreachable, "203.0.113.7, port 443: the connection is refused"},
		{"old TLS", func(e *edge, _ *Target) {
			e.minVersion, e.maxVersion = tls.VersionTLS10, tls.VersionTLS11
		}, v1alpha1.ReasonHandshakeFailed, "TLS 1.2"},
		{"unknown CA", func(_ *edge, target *Target) { target.TrustSecret = false }, v1alpha1.ReasonCertificateUntrusted, "test CA"},
		{"another CA", func(e *edge, _ *Target) { e.issued.Roots = newAuthority(e.t, "other").pem() }, v1alpha1.ReasonCertificateUntrusted, ""},
		{"another name", func(e *edge, _ *Target) {
			e.certificate = e.ca.issue(e.t, "TRAEFIK DEFAULT CERT", -time.Hour, time.Hour)
		}, v1alpha1.ReasonCertificateWrongHost, "TRAEFIK DEFAULT CERT"},
		{"expired", func(e *edge, _ *Target) { e.certificate = e.ca.issue(e.t, host, -2*time.Hour, -time.Hour) }, v1alpha1.ReasonCertificateExpired, "ended at"},
		{"not valid yet", func(e *edge, _ *Target) { e.certificate = e.ca.issue(e.t, host, time.Hour, 2*time.Hour) }, v1alpha1.ReasonClockSkew, "valid from"},
		{"an older certificate", func(e *edge, _ *Target) { e.issued.Leaf = e.ca.issue(e.t, host, 0, 9*time.Hour).Leaf }, v1alpha1.ReasonCertificateNotServed, "was issued"},
		{"a proxy's own certificate", func(e *edge, _ *Target) {
			e.issued.Leaf = newAuthority(e.t, "other").issue(e.t, host, 0, 9*time.Hour).Leaf
		}, v1alpha1.ReasonVerified, ""},
		{"Secret gone", func(e *edge, _ *Target) { e.issued = Keypair{} }, v1alpha1.ReasonTLSSecretNotFound, "eur-endpoint-tls"},
		{"Secret damaged", func(e *edge, _ *Target) { e.issued.Matches = false }, v1alpha1.ReasonTLSSecretMismatch, "eur-endpoint-tls"},
		{"agent away", func(e *edge, _ *Target) { e.api = status(http.StatusBadGateway) }, v1alpha1.ReasonAgentUnreachable, "502"},
		{"no route", func(e *edge, _ *Target) { e.api = status(http.StatusNotFound) }, v1alpha1.ReasonRouteNotServed, "404"},
		{"open to all", func(e *edge, _ *Target) { e.api = status(http.StatusOK) }, v1alpha1.ReasonRouteNotServed, "200"},
		{"no HSTS", func(e *edge, _ *Target) {
			e.api = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(http.StatusUnauthorized)
			}
		}, v1alpha1.ReasonHSTSMissing, ""},
		{"plain HTTP answered", func(e *edge, _ *Target) { e.plain = status(http.StatusOK) }, v1alpha1.ReasonRedirectMissing, "200"},
		{"redirect elsewhere", func(e *edge, _ *Target) {
			e.plain = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.example.com/", http.StatusFound)
			}
		}, v1alpha1.ReasonRedirectMissing, "302"},
		{"redirect to plain HTTP", func(e *edge, _ *Target) {
			e.plain = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+host+"/", http.StatusFound)
			}
		}, v1alpha1.ReasonRedirectMissing, ""},
		{"no WebSocket", func(e *edge, _ *Target) { e.stream = status(http.StatusUpgradeRequired) }, v1alpha1.ReasonStreamRefused, "426"},
		{"stream open to all", func(e *edge, _ *Target) { e.stream = closeStream(websocket.StatusNormalClosure) }, v1alpha1.ReasonStreamRefused, "1000"},
		{"stream busy", func(e *edge, _ *Target) { e.stream = closeStream(tooMany) }, v1alpha1.ReasonVerified, ""},
		{"flooding", func(e *edge, _ *Target) {
			well := e.api
			e.api = func(w http.ResponseWriter, r *http.Request) {
				well(w, r)
				for range 1024 {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}
		}, v1alpha1.ReasonVerified, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEdge(t)
			target := Target{Host: host, Secret: secretName(), TrustSecret: true}
			test.bend(e, &target)
			answer := e.trial(t).Try(t.Context(), target)
			if !answer.Known || answer.Reason != test.reason || answer.Verified != (test.reason == v1alpha1.ReasonVerified) || !strings.Contains(answer.Message, test.says) {
				t.Errorf("got %+v", answer)
			}
			if test.reason != v1alpha1.ReasonVerified {
				if again := e.trial(t).Try(t.Context(), target); again != answer && test.reason != v1alpha1.ReasonClockSkew {
					t.Errorf("a second trial says something else: %+v", again)
				}
			}
		})
	}
}

// Roots and addresses that the operator's user gives count as well.
func TestTryByTheOptions(t *testing.T) {
	e := newEdge(t)
	e.lookupErr = errors.New("nobody may ask")
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, e.ca.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	trial := e.trial(t)
	trial.Options = Options{Roots: []string{file}, Resolve: Resolve{"*.example.com": netip.MustParseAddr("203.0.113.7")}}
	if answer := trial.Try(t.Context(), Target{Host: host, Secret: secretName()}); !answer.Verified {
		t.Errorf("got %+v", answer)
	}
	trial.Options.Roots = []string{file + "-missing"}
	if answer := trial.Try(t.Context(), Target{Host: host, Secret: secretName()}); answer.Verified || !answer.Known {
		t.Errorf("without the file of roots: %+v", answer)
	}
}

func TestTryInside(t *testing.T) {
	internal := newAuthority(t, "internal")
	directory := t.TempDir()
	own := internal.issue(t, "operator", -time.Hour, time.Hour)
	key, err := x509.MarshalECPrivateKey(own.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
		"ca.crt":  internal.pem(),
	} {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		ca   authority
		says string
	}{
		{"agent of the internal CA", internal, ""},
		{"agent of another CA", newAuthority(t, "other"), "not valid for that name and CA"},
	} {
		t.Run(test.name, func(t *testing.T) {
			clients := x509.NewCertPool()
			clients.AddCert(internal.certificate)
			agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if len(r.TLS.PeerCertificates) == 0 {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			agent.TLS = &tls.Config{
				Certificates: []tls.Certificate{test.ca.issue(t, "eur.desk.svc", -time.Hour, time.Hour)},
				ClientCAs:    clients, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12,
			}
			agent.Config.ErrorLog = silent
			agent.StartTLS()
			defer agent.Close()
			address, err := url.Parse(agent.URL)
			if err != nil {
				t.Fatal(err)
			}
			trial := &Trial{Identity: NewIdentity(directory), dial: func(ctx context.Context, network, wanted string) (net.Conn, error) {
				if wanted != "eur.desk.svc:443" {
					t.Errorf("dialled %s", wanted)
				}
				return (&net.Dialer{}).DialContext(ctx, network, address.Host)
			}}
			err = trial.meetInside(t.Context(), Target{Internal: "eur.desk.svc"})
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	trial := &Trial{Identity: NewIdentity(t.TempDir())}
	if err := trial.meetInside(t.Context(), Target{Internal: "eur.desk.svc"}); err != nil {
		t.Errorf("an operator without a certificate says %v", err)
	}
}
