//go:build e2etls

package e2etls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
)

// judgement is how long one request or page may take.
const judgement = 20 * time.Second

// The judges know the roots of our authorities, and where our DNS leads every host.
var (
	rootsFile string
	rootsPEM  []byte
	roots     *x509.CertPool
	front     string
)

// openJudges fetches the root of Pebble's chains, which it draws anew each time it
// starts, over its management port: that is certified by our internet's authority.
func openJudges(ctx context.Context) {
	GinkgoHelper()
	front = address(ctx, "traefik", "traefik")
	output, err := kubectl(ctx, "get", "configmap", "-n", "cert-manager", "internet", "-o", "jsonpath={.binaryData.ca\\.crt}")
	Expect(err).NotTo(HaveOccurred(), output)
	ca := x509.NewCertPool()
	pem, err := base64.StdEncoding.DecodeString(output)
	Expect(err).NotTo(HaveOccurred())
	Expect(ca.AppendCertsFromPEM(pem)).To(BeTrue())
	management := net.JoinHostPort(address(ctx, "internet", "pebble"), "15000")
	client := &http.Client{Timeout: judgement, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca, ServerName: "pebble.internet.svc"},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+management+"/roots/0", nil)
	Expect(err).NotTo(HaveOccurred())
	response, err := client.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	pem, err = io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	trust(pem)
}

// trust adds a root to those of all judges.
func trust(pem []byte) {
	GinkgoHelper()
	if rootsFile == "" {
		rootsFile = filepath.Join(GinkgoT().TempDir(), "roots.pem")
		roots = x509.NewCertPool()
	}
	Expect(roots.AppendCertsFromPEM(pem)).To(BeTrue())
	rootsPEM = append(append(rootsPEM, pem...), '\n')
	Expect(os.WriteFile(rootsFile, rootsPEM, 0o600)).To(Succeed())
}

// answer is what curl saw.
type answer struct {
	status   int
	location string
	header   http.Header
}

// curl asks for a URL, and fails as curl does: on a chain that does not end at our
// roots, on another host's name, on an old protocol.
func curl(ctx context.Context, url string, options ...string) (answer, error) {
	host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://"), "/")
	arguments := append([]string{
		"--silent", "--show-error", "--output", os.DevNull, "--write-out", "%{http_code}\n%{redirect_url}\n%{header_json}",
		"--max-time", "10", "--cacert", rootsFile, "--resolve", host + ":443:" + front, "--resolve", host + ":80:" + front,
	}, append(options, url)...)
	output, err := program(ctx, "curl", arguments).Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return answer{}, fmt.Errorf("curl: %s", strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return answer{}, err
	}
	lines := strings.SplitN(string(output), "\n", 3)
	if len(lines) != 3 {
		return answer{}, fmt.Errorf("curl says %q", output)
	}
	seen := answer{location: lines[1]}
	if seen.status, err = strconv.Atoi(lines[0]); err != nil {
		return seen, err
	}
	header := map[string][]string{}
	if err := json.Unmarshal([]byte(lines[2]), &header); err != nil {
		return seen, err
	}
	seen.header = http.Header{}
	for name, values := range header {
		for _, value := range values {
			seen.header.Add(name, value)
		}
	}
	return seen, nil
}

// served is the certificate that clients of a host are shown, its chain verified.
func served(ctx context.Context, host string) (*x509.Certificate, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: judgement}, Config: &tls.Config{ServerName: host, RootCAs: roots}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(front, "443"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// serial tells one certificate from the next.
func serial(ctx context.Context, host string) (string, error) {
	certificate, err := served(ctx, host)
	if err != nil {
		return "", err
	}
	return certificate.SerialNumber.String(), nil
}

// insideSerial is that of the certificate by which the agent itself serves HTTPS,
// held against the internal CA and its Service's name.
func insideSerial(ctx context.Context, agent string) (string, error) {
	pod, secret := &corev1.Pod{}, &corev1.Secret{}
	if err := cluster.Get(ctx, named(namespace, agent+"-trader"), pod); err != nil {
		return "", err
	}
	if err := cluster.Get(ctx, named(namespace, agent+"-internal-tls"), secret); err != nil {
		return "", err
	}
	internal := x509.NewCertPool()
	internal.AppendCertsFromPEM(secret.Data["ca.crt"])
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: judgement}, Config: &tls.Config{ServerName: agent + "." + namespace + ".svc", RootCAs: internal}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, "8443"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// chromium starts a browser that trusts our roots as a user's would: by the NSS
// database of its home directory. It leaves with the test.
func chromium(ctx context.Context) context.Context {
	GinkgoHelper()
	home := GinkgoT().TempDir()
	database := filepath.Join(home, ".pki", "nssdb")
	Expect(os.MkdirAll(database, 0o700)).To(Succeed())
	for _, arguments := range [][]string{
		{"-N", "-d", "sql:" + database, "--empty-password"},
		{"-A", "-d", "sql:" + database, "-n", "pebble", "-t", "C,,", "-i", rootsFile},
	} {
		output, err := program(ctx, "certutil", arguments).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(output))
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, // it runs as root
		chromedp.Env("HOME="+home), chromedp.UserDataDir(filepath.Join(home, "profile")),
		chromedp.Flag("host-resolver-rules", "MAP * "+front),
		chromedp.Flag("disable-component-update", true),
	)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	DeferCleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	DeferCleanup(closeTab)
	ctx, end := context.WithTimeout(ctx, 3*judgement)
	DeferCleanup(end)
	return ctx
}

// expectGreen opens a page and asks the browser whether it shows a lock.
func expectGreen(browser context.Context, url, host string) {
	GinkgoHelper()
	response, err := chromedp.Run(browser, chromedp.NavigateResponse(url))
	Expect(err).NotTo(HaveOccurred())
	Expect(response).NotTo(BeNil())
	Expect(response.SecurityState).To(Equal(security.StateSecure), "%+v", response.SecurityDetails)
	Expect(response.SecurityDetails).NotTo(BeNil())
	Expect(response.SecurityDetails.Protocol).To(BeElementOf("TLS 1.2", "TLS 1.3"))
	Expect(response.SecurityDetails.SanList).To(ContainElement(host))
	AddReportEntry("the browser", shown(response))
}

func shown(response *network.Response) string {
	details := response.SecurityDetails
	return fmt.Sprintf("%s: %s, %s, issued by %s", response.URL, response.SecurityState, details.Protocol, details.Issuer)
}

// closeCode opens a WebSocket from a page of the host, and returns the code that the
// page is told when it closes; 0 if it is open after two messages.
func closeCode(browser context.Context, url string) (int, error) {
	// The API's pages forbid themselves everything, and so connections too.
	if _, err := chromedp.Call(browser, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true}); err != nil {
		return 0, err
	}
	if err := chromedp.Do(browser, chromedp.Reload()); err != nil {
		return 0, err
	}
	script := `new Promise(resolve => {
		const socket = new WebSocket(` + strconv.Quote(url) + `);
		let heard = 0;
		socket.onopen = () => socket.send(JSON.stringify({subscribe: ["status", "equity"]}));
		socket.onmessage = () => { if (++heard == 2) resolve(0); };
		socket.onclose = event => resolve(event.code);
	})`
	return chromedp.Run(browser, chromedp.Evaluate[int](script, chromedp.EvalAwaitPromise))
}
