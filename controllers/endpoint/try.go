package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

const (
	// connectTimeout bounds one connection with its handshake, requestTimeout one
	// request and its answer.
	connectTimeout = 5 * time.Second
	requestTimeout = 8 * time.Second
	// maxAddresses of a host are tried, and maxAnswer bytes of an answer read.
	maxAddresses = 4
	maxAnswer    = 4 << 10

	statusPath = "/api/v1/status"
	streamPath = "/api/v1/stream"
	// noKey and tooMany are the codes with which an agent closes the stream of a
	// client that has no key, or that comes too often.
	noKey   websocket.StatusCode = 4001
	tooMany websocket.StatusCode = 1013
)

// Trial tries endpoints: it connects to the host of the endpoint alone, on ports
// 443 and 80, follows no redirect, and sends no key.
type Trial struct {
	Options  Options
	Identity *Identity
	// Secrets reads the certificate that was issued.
	Secrets func(ctx context.Context, target Target) (Keypair, error)

	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// Keypair is what is read of a certificate's Secret.
type Keypair struct {
	// Found says that the Secret exists, Matches that its key is the certificate's.
	Found, Matches bool
	// Leaf is the certificate, Roots are the PEM blocks of its certification
	// authority.
	Leaf  *x509.Certificate
	Roots []byte
}

// finding is an answer that says why an endpoint is not what it should be.
type finding struct{ reason, message string }

func (f *finding) Error() string { return f.reason + ": " + f.message }

func found(reason, format string, args ...any) error {
	return &finding{reason, fmt.Sprintf(format, args...)}
}

// Try tries one endpoint.
func (t *Trial) Try(ctx context.Context, target Target) Answer {
	err := t.try(ctx, target)
	var told *finding
	switch {
	case err == nil:
		return Answer{Known: true, Verified: true, Reason: v1alpha1.ReasonVerified, Message: "https://" + target.Host + " leads to the agent: name, chain, redirect, HSTS and WebSocket are as they should be"}
	case errors.As(err, &told):
		return Answer{Known: true, Reason: told.reason, Message: told.message}
	}
	log.FromContext(ctx).Error(err, "an endpoint cannot be tried", "host", target.Host)
	return Answer{Known: true, Reason: v1alpha1.ReasonEndpointUnreachable, Message: "the operator cannot try the endpoint; its log says why"}
}

func (t *Trial) try(ctx context.Context, target Target) error {
	issued, err := t.issued(ctx, target)
	if err != nil {
		return err
	}
	addresses, err := t.resolve(ctx, target.Host)
	if err != nil {
		return err
	}
	roots, err := t.roots(target, issued)
	if err != nil {
		return err
	}
	config := &tls.Config{ServerName: target.Host, RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	address, err := t.handshake(ctx, config, addresses, issued)
	if err != nil {
		return err
	}
	browser := t.client(config, address)
	defer browser.CloseIdleConnections()
	for _, step := range []func(context.Context, *http.Client, string) error{t.meetAgent, t.meetRedirect, t.meetStream} {
		if err := step(ctx, browser, target.Host); err != nil {
			return err
		}
	}
	return t.meetInside(ctx, target)
}

// issued reads the certificate that cert-manager stored.
func (t *Trial) issued(ctx context.Context, target Target) (Keypair, error) {
	pair, err := t.Secrets(ctx, target)
	switch {
	case err != nil:
		return pair, fmt.Errorf("read Secret %q: %w", target.Secret.Name, err)
	case !pair.Found:
		return pair, found(v1alpha1.ReasonTLSSecretNotFound, "Secret %q does not exist; cert-manager issues another certificate", target.Secret.Name)
	case !pair.Matches:
		return pair, found(v1alpha1.ReasonTLSSecretMismatch, "the key in Secret %q does not belong to its certificate, or is damaged; delete the Secret", target.Secret.Name)
	}
	return pair, nil
}

// resolve finds the addresses of a host that may be tried. A name in DNS is the
// user's to choose, so it must not lead the operator to its own pod or to the
// metadata service of its node; an address that the operator's own flags give may.
func (t *Trial) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, ok := t.Options.Resolve.Find(host); ok {
		return []netip.Addr{address}, nil
	}
	lookup := t.lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			// The dot keeps the cluster's search domains out.
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host+".")
		}
	}
	addresses, err := lookup(ctx, host)
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound, err == nil && len(addresses) == 0:
		return nil, found(v1alpha1.ReasonHostNotResolved, "host %s has no address in DNS", host)
	case err != nil:
		return nil, found(v1alpha1.ReasonHostNotResolved, "DNS does not answer for host %s", host)
	}
	allowed := addresses[:0:0]
	for _, address := range addresses {
		address = address.Unmap()
		if address.IsGlobalUnicast() && len(allowed) < maxAddresses {
			allowed = append(allowed, address)
		}
	}
	if len(allowed) == 0 {
		return nil, found(v1alpha1.ReasonAddressRefused, "host %s leads to %s, which is not tried", host, addresses[0])
	}
	return allowed, nil
}

// roots are the certification authorities that clients of an endpoint trust.
func (t *Trial) roots(target Target, issued Keypair) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	for _, file := range t.Options.Roots {
		content, err := os.ReadFile(file) //nolint:gosec // the operator's user names the file
		if err != nil {
			return nil, fmt.Errorf("read --endpoint-roots: %w", err)
		}
		roots.AppendCertsFromPEM(content)
	}
	if target.TrustSecret {
		roots.AppendCertsFromPEM(issued.Roots)
	}
	return roots, nil
}

// handshake finds the first address that answers, and judges the certificate that
// it serves.
func (t *Trial) handshake(ctx context.Context, config *tls.Config, addresses []netip.Addr, issued Keypair) (netip.Addr, error) {
	var last error
	for _, address := range addresses {
		conn, err := t.connect(ctx, address, servicePort)
		if err != nil {
			last = found(v1alpha1.ReasonEndpointUnreachable, "%s, port %d: %s", address, servicePort, trouble(err))
			continue
		}
		client := tls.Client(conn, config)
		limited, cancel := context.WithTimeout(ctx, connectTimeout)
		err = client.HandshakeContext(limited)
		cancel()
		served := client.ConnectionState().PeerCertificates
		conn.Close() //nolint:errcheck,gosec // nothing was sent
		if err != nil {
			return address, certificateTrouble(err, config.ServerName)
		}
		return address, outdated(served[0], issued.Leaf)
	}
	return netip.Addr{}, last
}

// outdated tells of a certificate that is served though its issuer has given a
// later one. One of another issuer may be that of a proxy in front.
func outdated(served, issued *x509.Certificate) error {
	if issued == nil || served.Equal(issued) || string(served.RawIssuer) != string(issued.RawIssuer) || !served.NotAfter.Before(issued.NotAfter) {
		return nil
	}
	return found(v1alpha1.ReasonCertificateNotServed, "a certificate until %s is served, and one until %s was issued", stamp(served.NotAfter), stamp(issued.NotAfter))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// certificateTrouble says why a handshake failed.
func certificateTrouble(err error, host string) error {
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) || len(refused.UnverifiedCertificates) == 0 {
		return found(v1alpha1.ReasonHandshakeFailed, "no handshake by TLS 1.2 or newer: %s", trouble(err))
	}
	leaf, now := refused.UnverifiedCertificates[0], time.Now()
	var wrongName x509.HostnameError
	switch {
	case now.Before(leaf.NotBefore):
		return found(v1alpha1.ReasonClockSkew, "the certificate that is served is valid from %s on, which has not come by the operator's clock", stamp(leaf.NotBefore))
	case now.After(leaf.NotAfter):
		return found(v1alpha1.ReasonCertificateExpired, "the certificate that is served ended at %s", stamp(leaf.NotAfter))
	case errors.As(err, &wrongName):
		return found(v1alpha1.ReasonCertificateWrongHost, "the certificate that is served is for %s, not for %s", names(leaf), host)
	}
	return found(v1alpha1.ReasonCertificateUntrusted, "the chain of the certificate that is served ends at no root that clients know; its issuer is %q", leaf.Issuer.String())
}

// names of a certificate, as many as fit into a message.
func names(leaf *x509.Certificate) string {
	const most = 3
	all := leaf.DNSNames
	switch {
	case len(all) == 0:
		return "no name"
	case len(all) > most:
		return strings.Join(all[:most], ", ") + " and others"
	}
	return strings.Join(all, ", ")
}

func (t *Trial) connect(ctx context.Context, address netip.Addr, port int) (net.Conn, error) {
	dial := t.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return dial(limited, "tcp", net.JoinHostPort(address.String(), strconv.Itoa(port)))
}

// client is a browser that goes to one address whatever it is asked for.
func (t *Trial) client(config *tls.Config, address netip.Addr) *http.Client {
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    connectTimeout,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 4 * maxAnswer,
			DialContext: func(ctx context.Context, _, wanted string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(wanted)
				if err != nil {
					return nil, err
				}
				number, err := strconv.Atoi(port)
				if err != nil {
					return nil, err
				}
				return t.connect(ctx, address, number)
			},
		},
	}
}

// page is what is looked at of an answer.
type page struct {
	status int
	header http.Header
}

// get asks once; the answer's body is read and thrown away.
func get(ctx context.Context, browser *http.Client, address string) (page, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return page{}, err
	}
	request.Header.Set("User-Agent", "trading-operator-verifier")
	response, err := browser.Do(request)
	if err != nil {
		return page{}, err
	}
	defer response.Body.Close() //nolint:errcheck // the answer is thrown away
	_, err = io.CopyN(io.Discard, response.Body, maxAnswer)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return page{response.StatusCode, response.Header}, err
}

// meetAgent asks for something that needs a key, without one: the agent says so.
func (t *Trial) meetAgent(ctx context.Context, browser *http.Client, host string) error {
	met, err := get(ctx, browser, "https://"+host+statusPath)
	if err != nil {
		return found(v1alpha1.ReasonAgentUnreachable, "no answer to a request: %s", trouble(err))
	}
	asksForKey := met.status == http.StatusUnauthorized && strings.HasPrefix(met.header.Get("WWW-Authenticate"), "Bearer")
	switch {
	case met.status >= http.StatusInternalServerError:
		return found(v1alpha1.ReasonAgentUnreachable, "the ingress answers with status %d", met.status)
	case !asksForKey && met.status != http.StatusTooManyRequests:
		return found(v1alpha1.ReasonRouteNotServed, "a request without a key is answered with status %d, and not by the agent's 401", met.status)
	case !strings.Contains(met.header.Get("Strict-Transport-Security"), "max-age="):
		return found(v1alpha1.ReasonHSTSMissing, "the answer carries no Strict-Transport-Security")
	}
	return nil
}

// meetRedirect asks by plain HTTP. Where nobody listens, nothing can be sent in the
// clear.
func (t *Trial) meetRedirect(ctx context.Context, browser *http.Client, host string) error {
	met, err := get(ctx, browser, "http://"+host+statusPath)
	if err != nil {
		return nil //nolint:nilerr // closed is as good as redirected
	}
	target, err := url.Parse(met.header.Get("Location"))
	redirects := met.status >= 300 && met.status < 400 && err == nil && target.Scheme == "https" && target.Hostname() == host
	if !redirects {
		return found(v1alpha1.ReasonRedirectMissing, "plain HTTP is answered with status %d instead of a redirect to https://%s", met.status, host)
	}
	return nil
}

// meetStream opens a WebSocket without a key: the agent completes the upgrade and
// closes it with its own code.
func (t *Trial) meetStream(ctx context.Context, browser *http.Client, host string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// The limit of time of the client would end the connection itself.
	patient := &http.Client{Transport: browser.Transport, CheckRedirect: browser.CheckRedirect}
	conn, response, err := websocket.Dial(ctx, "wss://"+host+streamPath, &websocket.DialOptions{HTTPClient: patient}) //nolint:bodyclose // Dial closes it
	if err != nil {
		status := "no answer"
		if response != nil {
			status = "status " + strconv.Itoa(response.StatusCode)
		}
		return found(v1alpha1.ReasonStreamRefused, "a WebSocket is answered with %s instead of an upgrade", status)
	}
	defer conn.CloseNow() //nolint:errcheck // the agent has closed it
	conn.SetReadLimit(maxAnswer)
	_, _, err = conn.Read(ctx)
	if code := websocket.CloseStatus(err); code != noKey && code != tooMany {
		return found(v1alpha1.ReasonStreamRefused, "a WebSocket without a key is closed with code %d, and not by the agent's %d", code, noKey)
	}
	return nil
}

// meetInside asks the agent itself, inside the cluster, by the operator's own
// certificate.
func (t *Trial) meetInside(ctx context.Context, target Target) error {
	config := t.Identity.Config(target.Internal)
	if config == nil || target.Internal == "" {
		return nil
	}
	inside := &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{TLSClientConfig: config, TLSHandshakeTimeout: connectTimeout, DisableKeepAlives: true, DialContext: t.dial},
	}
	defer inside.CloseIdleConnections()
	met, err := get(ctx, inside, "https://"+target.Internal+statusPath)
	switch {
	case err != nil:
		return found(v1alpha1.ReasonAgentUnreachable, "inside the cluster, %s: %s", target.Internal, trouble(err))
	case met.status != http.StatusOK:
		return found(v1alpha1.ReasonAgentUnreachable, "inside the cluster, %s answers the operator with status %d", target.Internal, met.status)
	}
	return nil
}

// trouble puts an error of the network into words that stay the same from one
// trial to the next: the error's own hold the ports of connections.
func trouble(err error) string {
	var refused *tls.CertificateVerificationError
	var timeout net.Error
	var unknown *net.DNSError
	switch {
	case errors.As(err, &refused):
		return "its certificate is not valid for that name and CA"
	case errors.As(err, &unknown):
		return "the name has no address"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection is closed"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to that address"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	}
	return "the connection fails"
}
