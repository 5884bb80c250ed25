package tradinghalt

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// Metrics tell of halts to Prometheus. The series of a halt end with its release. A
// nil one counts nothing.
type Metrics struct {
	seconds         prometheus.Histogram
	active, overdue *prometheus.GaugeVec
	drill           prometheus.Gauge

	mu     sync.Mutex
	drills time.Time
}

// NewMetrics registers the metrics of halts.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "trading", Name: "halt_seconds",
			Help:    "Time from the creation of a halt, in whole seconds, to the last acknowledgement before it was enforced.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300},
		}),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "trading", Name: "halt_active", Help: "1 for each halt that nobody has released."}, []string{"kind", "namespace", "name", "state"}),
		overdue: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "trading", Name: "halt_overdue_agents",
			Help: "Agents that a halt binds and that have not acknowledged it in time."}, []string{"kind", "namespace", "name"}),
		drill: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "trading", Name: "halt_drill_timestamp_seconds", Help: "When a drill was last enforced on every agent it bound; 0 if none is known."}),
	}
	for _, collector := range []prometheus.Collector{m.seconds, m.active, m.overdue, m.drill} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// tell takes up what a halt's status says now.
func (m *Metrics) tell(before, halt v1alpha1.Halt) {
	if m == nil {
		return
	}
	spec, status := halt.HaltSpec(), halt.HaltStatus()
	kind := "ClusterTradingHalt"
	if halt.GetNamespace() != "" {
		kind = "TradingHalt"
	}
	if before.HaltStatus().EnforcedTime == nil && status.EnforcedTime != nil && status.LastAcknowledgedTime != nil {
		m.seconds.Observe(max(status.LastAcknowledgedTime.Sub(halt.GetCreationTimestamp().Time), 0).Seconds())
	}
	// A drill on agents without a process has shown nothing.
	if spec.Drill != "" && status.EnforcedTime != nil && *status.Done > 0 {
		m.drilled(status.EnforcedTime.Time)
	}
	if spec.Released() {
		m.forget(client.ObjectKeyFromObject(halt), kind)
		return
	}
	m.active.WithLabelValues(kind, halt.GetNamespace(), halt.GetName(), string(spec.State)).Set(1)
	m.overdue.WithLabelValues(kind, halt.GetNamespace(), halt.GetName()).Set(float64(*status.Overdue))
}

// drilled keeps the time of the newest drill.
func (m *Metrics) drilled(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.After(m.drills) {
		m.drills = at
		m.drill.Set(float64(at.Unix()))
	}
}

// forget ends the series of a halt that binds nobody any more.
func (m *Metrics) forget(key types.NamespacedName, kind string) {
	if m == nil {
		return
	}
	of := prometheus.Labels{"kind": kind, "namespace": key.Namespace, "name": key.Name}
	m.active.DeletePartialMatch(of)
	m.overdue.DeletePartialMatch(of)
}
