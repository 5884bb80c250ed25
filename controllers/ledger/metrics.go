package ledger

import (
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// Metrics tell of ledgers to Prometheus. A nil one counts nothing.
type Metrics struct{ ready, intact *prometheus.GaugeVec }

// NewMetrics registers the metrics of ledgers; nobody reads them if registerer is nil.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "trading", Subsystem: "ledger", Name: name, Help: help}, []string{"namespace", "name"})
	}
	m := &Metrics{
		ready:  gauge("ready", "1 if agents can write to the ledger's database (the condition Ready), else 0."),
		intact: gauge("intact", "1 if the ledger's database has what it had when it was last anchored, 0 if it has forgotten something (the condition Intact); absent while that is not known."),
	}
	if registerer == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.ready, m.intact} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// tell takes up what a ledger's status says now.
func (m *Metrics) tell(object *v1alpha1.Ledger) {
	if m == nil {
		return
	}
	of := []string{object.Namespace, object.Name}
	status := reconcile.StatusOf(object)
	set := func(gauge *prometheus.GaugeVec, kind string) {
		condition := status.Get(kind)
		switch {
		case condition == nil, condition.Status == metav1.ConditionUnknown:
			gauge.DeleteLabelValues(of...)
		case condition.Status == metav1.ConditionTrue:
			gauge.WithLabelValues(of...).Set(1)
		default:
			gauge.WithLabelValues(of...).Set(0)
		}
	}
	set(m.ready, v1alpha1.ConditionReady)
	set(m.intact, v1alpha1.ConditionIntact)
}

// forget ends the series of a ledger that is gone.
func (m *Metrics) forget(key types.NamespacedName) {
	if m == nil {
		return
	}
	m.ready.DeleteLabelValues(key.Namespace, key.Name)
	m.intact.DeleteLabelValues(key.Namespace, key.Name)
}
