package trader

import "github.com/prometheus/client_golang/prometheus"

// riskCollector turns what a status tells of limits into metrics when it is
// scraped.
type riskCollector struct {
	status        func() *Status
	used, refused *prometheus.Desc
}

// NewRiskCollector shows how much of each limit an agent has used and which
// orders were not let out. Status may return nil, as long as nothing trades.
func NewRiskCollector(namespace, name string, status func() *Status) prometheus.Collector {
	labels := prometheus.Labels{"agent_namespace": namespace, "agent": name}
	return &riskCollector{
		status:  status,
		used:    prometheus.NewDesc("trading_limit_used_fraction", "Share of a limit that is used, by the reason with which it denies; 1 is at the limit. Limits that do not bind or are not known are absent.", []string{"limit"}, labels),
		refused: prometheus.NewDesc("trading_orders_refused_total", "Orders that were not let out because they were not what had been approved, since the process began.", []string{"reason"}, labels),
	}
}

// Describe implements prometheus.Collector.
func (c *riskCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.used
	descriptions <- c.refused
}

// Collect implements prometheus.Collector.
func (c *riskCollector) Collect(metrics chan<- prometheus.Metric) {
	status := c.status()
	if status == nil {
		return
	}
	for _, room := range status.Headroom {
		metrics <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, room.Used, string(room.Limit))
	}
	for _, refused := range status.Refused {
		metrics <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(refused.Count), refused.Reason)
	}
}
