//go:build e2etls

package e2etls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// control asks one of our internet's programs by its control port.
func control(ctx context.Context, method, name, path string, into any) {
	GinkgoHelper()
	url := "http://" + net.JoinHostPort(address(ctx, "internet", name), "8055") + path
	request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	Expect(response.StatusCode).To(BeNumerically("<", 300), path)
	if into != nil {
		Expect(json.NewDecoder(response.Body).Decode(into)).To(Succeed())
	}
}

// refuse sets the share of nonces that the refusing authority refuses.
func refuse(ctx context.Context, percent int) {
	GinkgoHelper()
	control(ctx, http.MethodPut, "pebble-refusing", fmt.Sprintf("/refuse?percent=%d", percent), nil)
}

func refusals(ctx context.Context) int64 {
	GinkgoHelper()
	var counts struct {
		Refused int64 `json:"refused"`
	}
	control(ctx, http.MethodGet, "pebble-refusing", "/counts", &counts)
	return counts.Refused
}

// cloudflareCodes are the errors that Cloudflare's API has answered with.
func cloudflareCodes(ctx context.Context) (codes []int) {
	GinkgoHelper()
	var requests []struct {
		Code int `json:"code"`
	}
	control(ctx, http.MethodGet, "cloudflare", "/requests", &requests)
	for _, request := range requests {
		if request.Code != 0 {
			codes = append(codes, request.Code)
		}
	}
	return codes
}

// setToken puts a token for Cloudflare's API into the issuer's Secret, and returns
// the one that was there.
func setToken(ctx context.Context, token string) (before string) {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: "cert-manager", Name: "cloudflare"}, secret)).To(Succeed())
	before = string(secret.Data["api-token"])
	secret.Data["api-token"] = []byte(token)
	Expect(cluster.Update(ctx, secret)).To(Succeed())
	return before
}

func readCertificate(ctx context.Context, name string) (*certmanagerv1.Certificate, error) {
	certificate := &certmanagerv1.Certificate{}
	return certificate, cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, certificate)
}

// renew asks cert-manager for another certificate, as cmctl renew does.
func renew(ctx context.Context, name string) {
	GinkgoHelper()
	Eventually(func() error {
		certificate, err := readCertificate(ctx, name)
		if err != nil {
			return err
		}
		// cert-manager tells attempts apart by the second.
		if failed := certificate.Status.LastFailureTime; failed != nil && time.Since(failed.Time) < 2*time.Second {
			return errors.New("the last attempt has just failed")
		}
		issuing := certmanagerv1.CertificateCondition{
			Type: certmanagerv1.CertificateConditionIssuing, Status: cmmeta.ConditionTrue, ObservedGeneration: certificate.Generation,
			Reason: "ManuallyTriggered", Message: "Certificate re-issuance manually triggered", LastTransitionTime: &metav1.Time{Time: time.Now()},
		}
		kept := certificate.Status.Conditions[:0]
		for _, condition := range certificate.Status.Conditions {
			if condition.Type != issuing.Type {
				kept = append(kept, condition)
			}
		}
		kept = append(kept, issuing)
		certificate.Status.Conditions = kept
		return cluster.Status().Update(ctx, certificate)
	}).WithContext(ctx).Should(Succeed())
}

// issuance is why a certificate is not issued, as cert-manager says.
func issuance(ctx context.Context, name string) (string, error) {
	certificate, err := readCertificate(ctx, name)
	if err != nil {
		return "", err
	}
	for _, condition := range certificate.Status.Conditions {
		if condition.Type == certmanagerv1.CertificateConditionIssuing {
			return string(condition.Status) + " " + condition.Message, nil
		}
	}
	return "", nil
}
