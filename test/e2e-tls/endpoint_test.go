//go:build e2etls

package e2etls

import (
	"context"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

const (
	ingressHost = "eur.desk.example.com"
	gatewayHost = "googl.desk.example.com"
	statusPath  = "/api/v1/status"
)

// The desk lives through this in order: every fault meets addresses that work.
var _ = Describe("the desk's addresses", Ordered, func() {
	var key string

	BeforeAll(func(ctx SpecContext) { key = newKey(ctx, byIngress, keys.Trade) })

	It("are issued, routed and verified, from one line each, by HTTP-01 and an Ingress and by DNS-01 and a Gateway", func(ctx SpecContext) {
		output, err := kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-k", repository("test", "e2e-tls", "desk"))
		Expect(err).NotTo(HaveOccurred(), output)
		expectVerified(ctx, byIngress)
		expectVerified(ctx, byGateway)
		for name, host := range map[string]string{byIngress: ingressHost, byGateway: gatewayHost} {
			agent, err := readAgent(ctx, name)
			Expect(err).NotTo(HaveOccurred())
			told := agent.Status.Endpoint
			Expect(told).NotTo(BeNil())
			Expect(told.URL).To(Equal("https://" + host))
			certificate, err := served(ctx, host)
			Expect(err).NotTo(HaveOccurred())
			Expect(told.NotAfter.Time).To(BeTemporally("==", certificate.NotAfter))
			// Two thirds of ninety days are sixty.
			Expect(told.RenewalTime.Sub(certificate.NotBefore)).To(BeNumerically("~", 60*24*time.Hour, 24*time.Hour))
		}
		expectTrading(ctx, byIngress, byGateway)
	})

	DescribeTable("convince curl",
		func(ctx SpecContext, name, host string) {
			key := newKey(ctx, name, keys.Read)
			seen, err := curl(ctx, "https://"+host+statusPath)
			Expect(err).NotTo(HaveOccurred())
			Expect(seen.status).To(Equal(http.StatusUnauthorized), "nobody comes in without a key")
			Expect(seen.header.Get("Strict-Transport-Security")).To(ContainSubstring("max-age="))
			Expect(seen.header.Get("WWW-Authenticate")).To(HavePrefix("Bearer"))
			Eventually(opened).WithContext(ctx).WithArguments(host, key).WithTimeout(judgement).Should(Equal(http.StatusOK), "a new key is in force within seconds")

			seen, err = curl(ctx, "http://"+host+statusPath)
			Expect(err).NotTo(HaveOccurred())
			Expect(seen.status).To(BeElementOf(http.StatusMovedPermanently, http.StatusPermanentRedirect))
			// Gateways name the port, which is what the scheme says anyway.
			Expect(strings.Replace(seen.location, ":443/", "/", 1)).To(Equal("https://" + host + statusPath))

			_, err = curl(ctx, "https://"+host+statusPath, "--tls-max", "1.1")
			Expect(err).To(MatchError(ContainSubstring("protocol version")), "TLS 1.1 must be refused")
			_, err = curl(ctx, "https://"+host+statusPath, "--tls-max", "1.2")
			Expect(err).NotTo(HaveOccurred())
		},
		Entry("by the Ingress", byIngress, ingressHost),
		Entry("by the Gateway", byGateway, gatewayHost),
	)

	It("convince a browser, and tell it of a bad key by close code 4001", func(ctx SpecContext) {
		browser := chromium(ctx)
		expectGreen(browser, "https://"+ingressHost+statusPath, ingressHost)
		wrong := strings.Map(func(r rune) rune {
			if r == 'a' {
				return 'b'
			}
			return r
		}, key)
		Expect(closeCode(browser, "wss://"+ingressHost+"/api/v1/stream?token="+wrong)).To(Equal(4001))
		Expect(closeCode(browser, "wss://"+ingressHost+"/api/v1/stream?token="+key)).To(BeZero(), "a good key is heard")
		expectGreen(browser, "https://"+gatewayHost+statusPath, gatewayHost)
	})

	It("drop none of many WebSockets while both certificates, outside and inside, are renewed", func(ctx SpecContext) {
		Eventually(opened).WithContext(ctx).WithArguments(ingressHost, key).Should(Equal(http.StatusOK))
		crowd := startLoad(ctx, ingressHost, key)
		Eventually(crowd.heard).WithContext(ctx).Should(BeNumerically(">", streams))
		before, err := serial(ctx, ingressHost)
		Expect(err).NotTo(HaveOccurred())
		inside, err := insideSerial(ctx, byIngress)
		Expect(err).NotTo(HaveOccurred())
		renew(ctx, byIngress+"-endpoint")
		renew(ctx, byIngress+"-internal")
		Eventually(serial).WithContext(ctx).WithArguments(ingressHost).ShouldNot(Equal(before), "the new certificate is served")
		// The kubelet brings a Secret to its pod within a minute or two.
		Eventually(insideSerial).WithContext(ctx).WithArguments(byIngress).ShouldNot(Equal(inside), "and the new one inside the cluster")
		heard := crowd.messages.Load()
		Eventually(crowd.heard).WithContext(ctx).Should(BeNumerically(">", heard+2*streams), "the streams go on")
		Expect(crowd.end()).To(BeEmpty(), "clients were dropped")
		expectVerified(ctx, byIngress)
	})

	It("come back after their Secret was deleted", func(ctx SpecContext) {
		before, err := serial(ctx, ingressHost)
		Expect(err).NotTo(HaveOccurred())
		Expect(cluster.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: byIngress + "-endpoint-tls"}})).To(Succeed())
		Eventually(func() (string, error) {
			now, err := serial(ctx, ingressHost)
			if err != nil || now == before {
				return "", err
			}
			return now, nil
		}).WithContext(ctx).ShouldNot(BeEmpty(), "another certificate is served")
		expectVerified(ctx, byIngress)
	})

	It("move to another host, and leave the old one", func(ctx SpecContext) {
		const moved = "eur2.desk.example.com"
		patchAgent(ctx, byIngress, `{"spec":{"endpoint":{"host":"`+moved+`"}}}`)
		DeferCleanup(func(ctx SpecContext) {
			patchAgent(ctx, byIngress, `{"spec":{"endpoint":{"host":"`+ingressHost+`"}}}`)
			expectVerified(ctx, byIngress)
		})
		expectVerified(ctx, byIngress)
		Expect(opened(ctx, moved, key)).To(Equal(http.StatusOK))
		_, err := curl(ctx, "https://"+ingressHost+statusPath)
		Expect(err).To(HaveOccurred(), "the old host has no certificate any more")
	})

	It("are issued by another authority when the issuer is swapped", func(ctx SpecContext) {
		output, err := kubectl(ctx, "apply", "--server-side", "-f", repository("config", "issuers", "internal.yaml"))
		Expect(err).NotTo(HaveOccurred(), output)
		ca := &corev1.Secret{}
		Eventually(cluster.Get).WithContext(ctx).WithArguments(named("cert-manager", "desk-ca"), ca).Should(Succeed())
		trust(ca.Data["tls.crt"])
		patchAgent(ctx, byIngress, `{"spec":{"endpoint":{"issuerRef":{"name":"desk"}}}}`)
		expectIssuer(ctx, ingressHost, "desk-ca")
		expectVerified(ctx, byIngress)
		agent, err := readAgent(ctx, byIngress)
		Expect(err).NotTo(HaveOccurred())
		Expect(agent.Status.Endpoint.Issuer).To(Equal("ClusterIssuer/desk"))

		patchAgent(ctx, byIngress, `{"spec":{"endpoint":{"issuerRef":{"name":"pebble-refusing"}}}}`)
		expectIssuer(ctx, ingressHost, "Pebble")
		expectVerified(ctx, byIngress)
	})

	It("are renewed while the authority refuses a third of the nonces", func(ctx SpecContext) {
		refuse(ctx, 33)
		DeferCleanup(func(ctx SpecContext) { refuse(ctx, 0) })
		before, err := serial(ctx, ingressHost)
		Expect(err).NotTo(HaveOccurred())
		renew(ctx, byIngress+"-endpoint")
		Eventually(func() (string, error) {
			// In one of a hundred times an order fails all the same, and cert-manager does
			// not repeat what was asked for by hand.
			if told, err := issuance(ctx, byIngress+"-endpoint"); err == nil && strings.HasPrefix(told, "False") {
				renew(ctx, byIngress+"-endpoint")
			}
			return serial(ctx, ingressHost)
		}).WithContext(ctx).ShouldNot(Equal(before))
		Expect(refusals(ctx)).To(BeNumerically(">", 0))
		expectVerified(ctx, byIngress)
	})

	// cert-manager gives a request up whose nonce was refused six times, and an order
	// takes eight requests: with nine of ten refused no order comes through.
	It("keep their certificate while the authority refuses 90 % of the nonces, and are renewed when it does no more", func(ctx SpecContext) {
		refuse(ctx, 90)
		DeferCleanup(func(ctx SpecContext) { refuse(ctx, 0) })
		before, err := serial(ctx, ingressHost)
		Expect(err).NotTo(HaveOccurred())
		renew(ctx, byIngress+"-endpoint")
		Eventually(issuance).WithContext(ctx).WithArguments(byIngress + "-endpoint").Should(And(HavePrefix("False"), ContainSubstring("badNonce")))
		Expect(refusals(ctx)).To(BeNumerically(">=", 6))
		Expect(serial(ctx, ingressHost)).To(Equal(before))
		Expect(trouble(ctx, byIngress)).To(BeEmpty(), "the certificate is good for a month yet")

		refuse(ctx, 0)
		renew(ctx, byIngress+"-endpoint")
		Eventually(serial).WithContext(ctx).WithArguments(ingressHost).ShouldNot(Equal(before))
		expectVerified(ctx, byIngress)
	})

	It("say that Cloudflare refuses the token, and are issued with the right one", func(ctx SpecContext) {
		const moved = "googl2.desk.example.com"
		right := setToken(ctx, strings.Repeat("w", 40))
		control(ctx, http.MethodDelete, "cloudflare", "/requests", nil)
		patchAgent(ctx, byGateway, `{"spec":{"endpoint":{"host":"`+moved+`"}}}`)
		Eventually(reasonOf).WithContext(ctx).WithArguments(byGateway, v1alpha1.ConditionCertificateReady).Should(Equal("False " + v1alpha1.ReasonDNSTokenRefused))
		Expect(cloudflareCodes(ctx)).To(ContainElement(9109))
		Expect(messageOf(ctx, byGateway, v1alpha1.ConditionCertificateReady)).NotTo(ContainSubstring("wwww"), "no token in a condition")
		expectTrading(ctx, byGateway)

		setToken(ctx, right)
		expectVerified(ctx, byGateway)
		seen, err := curl(ctx, "https://"+moved+statusPath)
		Expect(err).NotTo(HaveOccurred())
		Expect(seen.status).To(Equal(http.StatusUnauthorized))
	})

	It("belong to the older agent where two want one", func(ctx SpecContext) {
		want := func() (string, error) {
			return kubectl(ctx, "patch", "tradingagent", "-n", namespace, byGateway, "--type=merge", "-p", `{"spec":{"endpoint":{"host":"`+ingressHost+`"}}}`)
		}
		output, err := want()
		Expect(err).To(HaveOccurred(), output)
		Expect(output).To(ContainSubstring("is taken by TradingAgent " + byIngress))

		// Where the webhook was not asked, the operator has the last word.
		judge(ctx, `["CREATE"]`)
		DeferCleanup(judge, `["CREATE","UPDATE"]`)
		DeferCleanup(func(ctx SpecContext) {
			patchAgent(ctx, byGateway, `{"spec":{"endpoint":{"host":"`+gatewayHost+`"}}}`)
		})
		Eventually(func() error {
			_, err := want()
			return err
		}).WithContext(ctx).Should(Succeed())
		taken, keeper := contest(ctx)
		for _, condition := range []string{v1alpha1.ConditionCertificateReady, v1alpha1.ConditionRouteReady, v1alpha1.ConditionEndpointVerified} {
			Eventually(reasonOf).WithContext(ctx).WithArguments(taken, condition).Should(Equal("False " + v1alpha1.ReasonHostTaken))
		}
		Expect(messageOf(ctx, taken, v1alpha1.ConditionRouteReady)).To(ContainSubstring(keeper))
		Expect(opened(ctx, ingressHost, key)).To(Equal(http.StatusOK), "the first agent's key opens it, so the first agent answers")
		expectVerified(ctx, keeper)
		expectTrading(ctx, taken, keeper)
	})

	describeRemoval()
	describeSecrets(func() string { return key })
})

// opened is the status by which an agent answers who shows a key.
func opened(ctx context.Context, host, key string) (int, error) {
	seen, err := curl(ctx, "https://"+host+statusPath, "--header", "Authorization: Bearer "+key)
	return seen.status, err
}

// judge has the webhook asked about agents in some operations only.
func judge(ctx context.Context, operations string) {
	GinkgoHelper()
	output, err := kubectl(ctx, "patch", "validatingwebhookconfiguration", "trading-operator", "--type=json",
		"-p", `[{"op":"replace","path":"/webhooks/0/rules/0/operations","value":`+operations+`}]`)
	Expect(err).NotTo(HaveOccurred(), output)
}

// contest names who loses and who keeps a host that both agents want.
func contest(ctx context.Context) (taken, keeper string) {
	GinkgoHelper()
	first, err := readAgent(ctx, byIngress)
	Expect(err).NotTo(HaveOccurred())
	second, err := readAgent(ctx, byGateway)
	Expect(err).NotTo(HaveOccurred())
	older := first.CreationTimestamp.Before(&second.CreationTimestamp) || first.CreationTimestamp.Equal(&second.CreationTimestamp) && first.Name < second.Name
	Expect(older).To(BeTrue(), "the sample desk creates "+byIngress+" first")
	return byGateway, byIngress
}

func expectIssuer(ctx context.Context, host, name string) {
	GinkgoHelper()
	Eventually(func() (string, error) {
		certificate, err := served(ctx, host)
		if err != nil {
			return "", err
		}
		return certificate.Issuer.CommonName, nil
	}).WithContext(ctx).Should(ContainSubstring(name))
}
