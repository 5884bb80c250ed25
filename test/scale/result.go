package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// times of something that was done again and again.
type times []time.Duration

// percentile is the smallest time that p of a hundred did not exceed; zero of
// none.
func (t times) percentile(p float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// result is what one run measured. Times are in seconds unless they say
// otherwise.
type result struct {
	Agents int
	// Apply is from the first creation of an agent until all were observed;
	// Create until all were created.
	Apply, Create float64
	// Bare is what a client that only writes needs for the same state of the
	// desk; BareWrites until its own last write.
	Bare, BareWrites float64
	// Sets is the time of as many StatefulSets, SetWrites what their controller
	// wrote for each, SetServerCPU the API server's processor time in milliseconds.
	Sets, SetWrites, SetServerCPU float64

	// Writes of the operator for each agent until it had settled, and among them
	// those of the agent's status, of what agents refer to, and Events.
	Writes, StatusWrites, OtherStatusWrites, EventWrites float64
	// Children are the remaining writes: children and the finalizer.
	Children float64
	// Refused writes for each agent, nearly all conflicts.
	Refused float64
	// Reads past the cache for each reconcile, and reconciles for each agent.
	Reads, Passes float64
	ByKind        map[string]int

	// IdleWrites a minute, refused ones among them.
	IdleWrites float64
	// HeapPerAgent in bytes, LivePerAgent without what is free between objects.
	HeapPerAgent, LivePerAgent float64
	// CPUPerAgent is the operator's processor time in milliseconds until the desk
	// had settled; ServerCPUPerAgent and BareServerCPUPerAgent the API server's until
	// all were observed, and with the bare client.
	CPUPerAgent, ServerCPUPerAgent, BareServerCPUPerAgent float64
	// RSS and PeakRSS in bytes.
	RSS, PeakRSS int64

	LimitObserved, LimitInForce, PodReplaced times
	// Resyncs of every agent while the edits were made.
	Resyncs int
	// Policy is until the agents of one policy had observed its edit, Policies
	// until all agents had observed an edit of every policy.
	Policy, Policies float64
	// Failover is until the first reconcile of the standby, FailoverObserved until
	// it had observed an edit that was made when the leader died.
	Failover, FailoverObserved float64
}

// record takes in what the operator asked of the API server while the desk came
// up, in so many reconciles.
func (r *result) record(t tally, passes float64) {
	agents := float64(r.Agents)
	r.ByKind = t.byKind
	r.Writes = float64(t.writes) / agents
	r.StatusWrites = float64(t.agentStatus) / agents
	r.OtherStatusWrites = float64(t.otherStatus) / agents
	r.EventWrites = float64(t.events) / agents
	r.Children = r.Writes - r.StatusWrites - r.OtherStatusWrites - r.EventWrites
	r.Refused = float64(t.refused) / agents
	r.Passes = passes / agents
	if passes > 0 {
		r.Reads = float64(t.reads) / passes
	}
}

// row of the table. A value above its target misses it.
type row struct {
	name, value, target string
	missed              bool
}

func (r *result) rows() []row {
	limit := func(name string, value, target float64, format string) row {
		return row{name, fmt.Sprintf(format, value), "≤ " + fmt.Sprintf(format, target), value > target}
	}
	fact := func(name, format string, values ...any) row {
		return row{name: name, value: fmt.Sprintf(format, values...)}
	}
	spread := func(name string, t times) row {
		return fact(name, "%s, %s", t.percentile(50).Round(time.Millisecond), t.percentile(99).Round(time.Millisecond))
	}
	none := func(name string, value float64, format string) row {
		return row{name, fmt.Sprintf(format, value), "0", value > 0}
	}
	return []row{
		fact("apply → all observed", "%.1f s", r.Apply),
		fact("the same by a bare client (its own writes)", "%.1f s (%.1f s)", r.Bare, r.BareWrites),
		limit("ratio to the bare client", r.Apply/r.Bare, 1.3, "%.2f"),
		fact("as many StatefulSets of one pod", "%.1f s", r.Sets),
		fact("ratio to the StatefulSets", "%.2f", r.Apply/r.Sets),
		fact("writes per agent (per StatefulSet)", "%.2f (%.2f)", r.Writes, r.SetWrites),
		fact("… children and finalizer", "%.2f", r.Children),
		limit("… status of the agent", r.StatusWrites, 2, "%.2f"),
		fact("… status of policies, pairs, accounts, ledger", "%.2f", r.OtherStatusWrites),
		fact("… Events", "%.2f", r.EventWrites),
		fact("writes refused per agent", "%.2f", r.Refused),
		fact("reconciles per agent", "%.2f", r.Passes),
		none("reads past the cache per reconcile", r.Reads, "%.2f"),
		none("writes per minute when idle", r.IdleWrites, "%.1f"),
		limit("heap per agent", r.HeapPerAgent/1024, 15, "%.1f KiB"),
		fact("… live objects", "%.1f KiB", r.LivePerAgent/1024),
		fact("resident memory (peak)", "%d MiB (%d MiB)", r.RSS>>20, r.PeakRSS>>20),
		fact("processor time per agent", "%.1f ms", r.CPUPerAgent),
		fact("… of the API server (with the bare client; StatefulSet)", "%.1f ms (%.1f ms; %.1f ms)", r.ServerCPUPerAgent, r.BareServerCPUPerAgent, r.SetServerCPU),
		spread("limit edited → observed, p50 and p99", r.LimitObserved),
		spread("limit edited → in force in the agent, p50 and p99", r.LimitInForce),
		spread("spec edited → pod replaced, p50 and p99", r.PodReplaced),
		fact("… while every agent was reconciled", "%d times", r.Resyncs),
		fact("one policy edited → its agents observed it", "%.2f s", r.Policy),
		fact("every policy edited → all agents observed it", "%.1f s", r.Policies),
		limit("leader killed → first reconcile of the standby", r.Failover, 5, "%.1f s"),
		fact("leader killed → an edit made then is observed", "%.1f s", r.FailoverObserved),
	}
}

// write prints results side by side as a Markdown table.
func write(w io.Writer, results []*result) error {
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	line := func(name string, cells []string, target string) {
		// The writer keeps everything until Flush, which reports its errors.
		_, _ = fmt.Fprintf(table, "| %s", name)
		for _, cell := range cells {
			_, _ = fmt.Fprintf(table, "\t| %s", cell)
		}
		_, _ = fmt.Fprintf(table, "\t| %s\t|\n", target)
	}
	rows := make([][]row, len(results))
	heads, rules := make([]string, 0, len(results)), make([]string, 0, len(results))
	for i, r := range results {
		rows[i] = r.rows()
		heads, rules = append(heads, fmt.Sprintf("%d agents", r.Agents)), append(rules, "---")
	}
	line("", heads, "target")
	line("---", rules, "---")
	for i := range rows[0] {
		cells := make([]string, len(results))
		for j := range results {
			cells[j] = rows[j][i].value
			if rows[j][i].missed {
				cells[j] += " (missed)"
			}
		}
		line(rows[0][i].name, cells, rows[0][i].target)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "\nThe operator's writes for %d agents:\n", r.Agents)
		for _, kind := range kinds(r.ByKind) {
			_, _ = fmt.Fprintf(w, "  %7d  %s\n", r.ByKind[kind], kind)
		}
	}
	return nil
}
