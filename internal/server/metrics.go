package server

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// agentCollector turns the agent's status into metrics when it is scraped, so
// that a scrape and /api/v1/status never disagree.
type agentCollector struct {
	agent Agent

	equity, pnl, drawdown, decisions, fills, openOrders, epoch, ready, state, lastBar *prometheus.Desc
}

func newAgentCollector(namespace, name string, agent Agent) *agentCollector {
	labels := prometheus.Labels{"agent_namespace": namespace, "agent": name}
	desc := func(metric, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("trading_"+metric, help, variable, labels)
	}
	return &agentCollector{
		agent:      agent,
		equity:     desc("equity", "Cash plus positions at the last price.", "currency"),
		pnl:        desc("pnl", "Equity less what the agent was given to trade with.", "currency"),
		drawdown:   desc("drawdown_fraction", "Fall from the highest equity, as a share of one."),
		decisions:  desc("decisions_total", "Decisions made since the agent was created."),
		fills:      desc("fills_total", "Fills booked since the agent was created."),
		openOrders: desc("open_orders", "Orders open at the venue, those of unknown outcome included."),
		epoch:      desc("epoch", "Epoch under which the process writes to the ledger."),
		ready:      desc("reconciled", "1 when the agent has reconciled with its venue for its epoch."),
		state:      desc("state", "1 for the trading state in force, with its reason.", "state", "reason"),
		lastBar:    desc("last_bar_timestamp_seconds", "End of the newest bar, in the time of the market data."),
	}
}

// Describe implements prometheus.Collector.
func (c *agentCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.equity, c.pnl, c.drawdown, c.decisions, c.fills, c.openOrders, c.epoch, c.ready, c.state, c.lastBar} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c *agentCollector) Collect(metrics chan<- prometheus.Metric) {
	status := c.agent.Status()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value float64) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value)
	}
	figure := func(d *prometheus.Desc, text string, labels ...string) {
		// A figure that is not known yet is absent, not zero.
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			gauge(d, value, labels...)
		}
	}
	figure(c.equity, string(status.Equity), status.Currency)
	figure(c.pnl, string(status.PNL), status.Currency)
	figure(c.drawdown, string(status.DrawdownFraction))
	counter(c.decisions, float64(status.Decisions))
	counter(c.fills, float64(status.Fills))
	gauge(c.openOrders, float64(status.OpenOrders))
	gauge(c.epoch, float64(status.Epoch))
	reconciled := 0.0
	if c.agent.Ready() == nil {
		reconciled = 1
	}
	gauge(c.ready, reconciled)
	for _, state := range []v1alpha1.TradingState{v1alpha1.TradingEnabled, v1alpha1.TradingReduceOnly, v1alpha1.TradingHalted} {
		if state == status.State {
			gauge(c.state, 1, string(state), status.Reason)
		} else {
			gauge(c.state, 0, string(state), "")
		}
	}
	if status.Data != nil && status.Data.LastBarTime != nil {
		gauge(c.lastBar, float64(status.Data.LastBarTime.Unix()))
	}
}
