package endpoint

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// Metrics tell of endpoints to Prometheus. The series of an endpoint end with it.
// A nil one counts nothing.
type Metrics struct {
	expiry, renewal, ready, verified *prometheus.GaugeVec
	issuance                         prometheus.Histogram

	mu sync.Mutex
	// hosts and revisions are what was last told of each agent.
	hosts     map[types.NamespacedName]string
	revisions map[types.UID]int
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
		hosts:     map[types.NamespacedName]string{},
		revisions: map[types.UID]int{},
	}
	for _, collector := range []prometheus.Collector{m.expiry, m.renewal, m.ready, m.verified, m.issuance} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts an issuance once: that of a revision which is newer than the one
// seen before.
func (m *Metrics) observe(s *Scope) {
	if m == nil || s.certificate == nil || s.certificate.Status.Revision == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	uid, revision := s.certificate.UID, *s.certificate.Status.Revision
	before, seen := m.revisions[uid]
	first := !seen && revision == 1 && s.agent.Status.Endpoint != nil && s.agent.Status.Endpoint.NotAfter == nil
	if s.request == nil || revisionOf(s.request) != revision || !isIssued(s.request) {
		if !seen {
			m.revisions[uid] = revision
		}
		return
	}
	m.revisions[uid] = revision
	if !first && (!seen || before == revision) {
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
	key := types.NamespacedName{Namespace: agent.Namespace, Name: agent.Name}
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
