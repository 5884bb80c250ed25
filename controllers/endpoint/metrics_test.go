package endpoint

import (
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func newMetrics(t *testing.T) (*Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return metrics, registry
}

func TestSeriesOfAnEndpoint(t *testing.T) {
	metrics, registry := newMetrics(t)
	s := whole("traefik.io/ingress-controller")
	report(s)
	metrics.tell(s.agent)
	const want = `
# HELP trading_endpoint_certificate_expiry_timestamp_seconds When the certificate of an agent's endpoint ends.
# TYPE trading_endpoint_certificate_expiry_timestamp_seconds gauge
trading_endpoint_certificate_expiry_timestamp_seconds{host="HOST",name="eur",namespace="desk"} 1.800612e+09
# HELP trading_endpoint_verified Whether a client that connects to an agent's endpoint meets the agent, by a valid certificate (the condition EndpointVerified).
# TYPE trading_endpoint_verified gauge
trading_endpoint_verified{host="HOST",name="eur",namespace="desk"} 1
`
	names := []string{"trading_endpoint_certificate_expiry_timestamp_seconds", "trading_endpoint_verified"}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(strings.ReplaceAll(want, "HOST", host)), names...); err != nil {
		t.Error(err)
	}
	s.agent.Spec.Endpoint.Host = "btc.desk.example.com"
	s.answer = Answer{Known: true}
	report(s)
	metrics.tell(s.agent)
	moved := strings.ReplaceAll(strings.ReplaceAll(want, "HOST", "btc.desk.example.com"), `"desk"} 1`+"\n", `"desk"} 0`+"\n")
	if err := testutil.GatherAndCompare(registry, strings.NewReader(moved), names...); err != nil {
		t.Error(err)
	}
	metrics.forget(client.ObjectKeyFromObject(s.agent))
	if left := testutil.CollectAndCount(metrics.verified) + testutil.CollectAndCount(metrics.expiry) + testutil.CollectAndCount(metrics.renewal) + testutil.CollectAndCount(metrics.ready); left != 0 {
		t.Errorf("%d series outlive the agent", left)
	}
}

func TestIssuancesAreCountedOnce(t *testing.T) {
	fulfilled := func(s *Scope, revision string, took time.Duration) *Scope {
		made := s.now.Add(-time.Hour)
		s.request = &certmanagerv1.CertificateRequest{
			ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(made), Annotations: map[string]string{certmanagerv1.CertificateRequestRevisionAnnotationKey: revision}},
			Status: certmanagerv1.CertificateRequestStatus{Conditions: []certmanagerv1.CertificateRequestCondition{{
				Type: certmanagerv1.CertificateRequestConditionReady, Status: cmmeta.ConditionTrue, LastTransitionTime: new(metav1.NewTime(made.Add(took))),
			}}},
		}
		return s
	}
	count := func(registry *prometheus.Registry) (uint64, float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "trading_endpoint_issuance_seconds" {
				told := family.GetMetric()[0].GetHistogram()
				return told.GetSampleCount(), told.GetSampleSum()
			}
		}
		return 0, 0
	}
	metrics, registry := newMetrics(t)
	s := fulfilled(whole("x"), "1", 12*time.Second)
	for range 3 {
		metrics.observe(s)
		report(s)
	}
	if times, sum := count(registry); times != 1 || sum != 12 {
		t.Errorf("the first certificate: %d times, %g s", times, sum)
	}
	s.certificate.Status.Revision = new(2)
	for range 3 {
		metrics.observe(fulfilled(s, "2", 30*time.Second))
	}
	if times, sum := count(registry); times != 2 || sum != 42 {
		t.Errorf("after its renewal: %d times, %g s", times, sum)
	}
	// After a restart, what was issued before is no news.
	metrics, registry = newMetrics(t)
	metrics.observe(s)
	if times, _ := count(registry); times != 0 {
		t.Errorf("after a restart: %d times", times)
	}
}
