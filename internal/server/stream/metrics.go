package stream

import (
	"strconv"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what the stream does. No label comes from a client.
type metrics struct {
	clients   prometheus.Gauge
	events    *prometheus.CounterVec
	published [topicCount]prometheus.Counter
	sent      prometheus.Counter
	closes    *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		clients: prometheus.NewGauge(prometheus.GaugeOpts{Name: "trading_stream_clients", Help: "WebSockets that are open and authenticated."}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trading_stream_events_total", Help: "Events that were published, whether anybody listened or not.",
		}, []string{"topic"}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{Name: "trading_stream_sent_total", Help: "Messages and pings that were sent to clients."}),
		closes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trading_stream_closed_total", Help: "WebSockets that have ended, by the code of the close frame that the agent sent; none if the connection broke.",
		}, []string{"code"}),
	}
	for topic := range topicCount {
		m.published[topic] = m.events.WithLabelValues(topic.String())
	}
	return m
}

// closed counts the end of a WebSocket. A code that only repeats the client's is
// "other" when it is not one of the usual.
func (m *metrics) closed(code websocket.StatusCode) {
	label := "other"
	switch {
	case code == 0:
		label = "none"
	case code >= websocket.StatusNormalClosure && code <= websocket.StatusBadGateway,
		code == CodeUnauthenticated, code == CodeOrigin, code == CodeSlow, code == CodeSilent:
		label = strconv.Itoa(int(code))
	}
	m.closes.WithLabelValues(label).Inc()
}

// Describe implements prometheus.Collector.
func (h *Hub) Describe(descriptions chan<- *prometheus.Desc) {
	for _, collector := range h.metrics.all() {
		collector.Describe(descriptions)
	}
}

// Collect implements prometheus.Collector.
func (h *Hub) Collect(values chan<- prometheus.Metric) {
	for _, collector := range h.metrics.all() {
		collector.Collect(values)
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.clients, m.events, m.sent, m.closes}
}
