package endpoint

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// Metrics tell of endpoints to Prometheus. The series of an endpoint end with it.
// A nil one counts nothing.
type Metrics struct {
	expiry, renewal, ready, verified *prometheus.GaugeVec
	issuance                         prometheus.Histogram

	mu sync.Mutex
	// hosts are those that were last told of each agent, issued the revisions of
	// their certificates that are counted.
	hosts  map[types.NamespacedName]string
	issued map[types.NamespacedName]issued
}

// issued is one revision of one Certificate.
type issued struct {
	certificate types.UID
	revision    int
}

// NewMetrics registers the metrics of endpoints.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "trading", Subsystem: "endpoint", Name: name, Help: help}, []string{"namespace", "name", "host"})
	}
	m := &Metrics{
		expiry:   gauge("certificate_expiry_timestamp_seconds", "When the certificate of an agent's endpoint ends."),
		renewal:  gauge("certificate_renewal_timestamp_seconds", "When the certificate of an agent's endpoint shall be renewed."),
		ready:    gauge("certificate_ready", "Whether the certificate of an agent's endpoint is valid and renewed in time (the condition CertificateReady)."),
		verified: gauge("verified", "Whether a client that connects to an agent's endpoint meets the agent, by a valid certificate (the condition EndpointVerified)."),
		issuance: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "trading", Subsystem: "endpoint", Name: "issuance_seconds",
			Help:    "Time from the request of a certificate to its issuance.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600},
		}),
		hosts:  map[types.NamespacedName]string{},
		issued: map[types.NamespacedName]issued{},
	}
	for _, collector := range []prometheus.Collector{m.expiry, m.renewal, m.ready, m.verified, m.issuance} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts an issuance once: that of a revision which came while the operator
// looked on.
func (m *Metrics) observe(s *Scope) {
	if m == nil || s.certificate == nil || s.certificate.Status.Revision == nil {
		return
	}
	key := client.ObjectKeyFromObject(s.agent)
	is := issued{s.certificate.UID, *s.certificate.Status.Revision}
	m.mu.Lock()
	was, seen := m.issued[key]
	m.issued[key] = is
	m.mu.Unlock()
	// A certificate that the status did not show yet is a new one as well.
	told := s.agent.Status.Endpoint
	first := !seen && (told == nil || told.NotAfter == nil)
	if was == is || !seen && !first || s.request == nil || revisionOf(s.request) != is.revision {
		return
	}
	if made, done, ok := issuedSince(s.request); ok {
		m.issuance.Observe(done.Sub(made.Time).Seconds())
	}
}

// tell sets the series of an agent's endpoint by its status.
func (m *Metrics) tell(agent *v1alpha1.TradingAgent) {
	if m == nil {
		return
	}
	key := client.ObjectKeyFromObject(agent)
	told := agent.Status.Endpoint
	if told == nil {
		m.forget(key)
		return
	}
	host := hostOf(agent)
	m.mu.Lock()
	before, known := m.hosts[key]
	m.hosts[key] = host
	m.mu.Unlock()
	if known && before != host {
		m.remove(key, before)
	}
	labels := []string{agent.Namespace, agent.Name, host}
	set(m.expiry, told.NotAfter, labels)
	set(m.renewal, told.RenewalTime, labels)
	m.ready.WithLabelValues(labels...).Set(holds(agent, v1alpha1.ConditionCertificateReady))
	m.verified.WithLabelValues(labels...).Set(holds(agent, v1alpha1.ConditionEndpointVerified))
}

func set(gauge *prometheus.GaugeVec, at *metav1.Time, labels []string) {
	if at == nil {
		gauge.DeleteLabelValues(labels...)
		return
	}
	gauge.WithLabelValues(labels...).Set(float64(at.Unix()))
}

func holds(agent *v1alpha1.TradingAgent, conditionType string) float64 {
	condition := reconcile.StatusOf(agent).Get(conditionType)
	if condition != nil && condition.Status == metav1.ConditionTrue {
		return 1
	}
	return 0
}

// forget ends the series of an agent.
func (m *Metrics) forget(agent types.NamespacedName) {
	if m == nil {
		return
	}
	m.mu.Lock()
	host, known := m.hosts[agent]
	delete(m.hosts, agent)
	delete(m.issued, agent)
	m.mu.Unlock()
	if known {
		m.remove(agent, host)
	}
}

func (m *Metrics) remove(agent types.NamespacedName, host string) {
	for _, gauge := range []*prometheus.GaugeVec{m.expiry, m.renewal, m.ready, m.verified} {
		gauge.DeleteLabelValues(agent.Namespace, agent.Name, host)
	}
}
