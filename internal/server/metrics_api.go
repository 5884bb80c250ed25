package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// requestMetrics count requests. No label comes from a client: a route is what this
// program calls it.
type requestMetrics struct {
	answered *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newRequestMetrics() *requestMetrics {
	return &requestMetrics{
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trading_api_requests_total", Help: "Requests answered, by route and status; the status of a WebSocket is 101.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "trading_api_request_duration_seconds", Help: "Time that requests took.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
	}
}

// Describe implements prometheus.Collector.
func (m *requestMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	m.answered.Describe(descriptions)
	m.seconds.Describe(descriptions)
}

// Collect implements prometheus.Collector.
func (m *requestMetrics) Collect(metrics chan<- prometheus.Metric) {
	m.answered.Collect(metrics)
	m.seconds.Collect(metrics)
}

func (m *requestMetrics) count(r *http.Request, status int, took time.Duration) {
	route := r.Pattern
	if route == "" || route == "/" {
		route = "unknown"
	}
	if status == 0 {
		// The connection was taken over, or closed without an answer.
		status = http.StatusSwitchingProtocols
	}
	m.answered.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// keysCollector tells what may be told of the keys in force. An id is no secret.
type keysCollector struct{ keyring *keys.Keyring }

var (
	lastUseDesc = prometheus.NewDesc(keys.LastUseMetric, "When an API key was last used; absent if it never was.", []string{"id", "name", "scope"}, nil)
	expiryDesc  = prometheus.NewDesc("trading_api_key_expiry_timestamp_seconds", "When an API key ends; absent if it does not.", []string{"id", "name", "scope"}, nil)
)

// Describe implements prometheus.Collector.
func (keysCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- lastUseDesc
	descriptions <- expiryDesc
}

// Collect implements prometheus.Collector.
func (c keysCollector) Collect(metrics chan<- prometheus.Metric) {
	for _, key := range c.keyring.Keys() {
		tell := func(desc *prometheus.Desc, at time.Time) {
			if !at.IsZero() {
				metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at.UnixMilli())/1000,
					key.ID, key.Entry.Name, string(key.Entry.Scope))
			}
		}
		tell(lastUseDesc, key.LastUse)
		tell(expiryDesc, key.Entry.Expires)
	}
}
