package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"sigs.k8s.io/yaml"
)

// allowance: a figure that exceeds the mean of the calibrated runs by more has
// got worse.
const allowance = 1.2

// calibration holds the figures of earlier runs by number of agents. All are
// better the smaller they are, and none depends on how fast the machine is.
type calibration struct {
	Runs []calibratedRun `json:"runs"`
}

type calibratedRun struct {
	Agents  int                `json:"agents"`
	Figures map[string]float64 `json:"figures"`
}

// figures are what is compared with calibrated runs. What depends on how the
// work of a busy machine falls together is not among them.
func (r *result) figures() map[string]float64 {
	return map[string]float64{
		"applyPerBareClient":      r.Apply / r.Bare,
		"serverCPUPerBareClient":  r.ServerCPUPerAgent / r.BareServerCPUPerAgent,
		"serverCPUPerStatefulSet": r.ServerCPUPerAgent / r.SetServerCPU,
		"childrenPerAgent":        r.Children,
		"statusWritesPerAgent":    r.StatusWrites,
		"eventsPerAgent":          r.EventWrites,
		"readsPerPass":            r.Reads,
		"idleWritesPerMinute":     r.IdleWrites,
		"heapKiBPerAgent":         r.HeapPerAgent / 1024,
	}
}

// mean of the calibrated runs of a number of agents; nil without any.
func (c *calibration) mean(agents int) map[string]float64 {
	sums, runs := map[string]float64{}, 0.0
	for _, run := range c.Runs {
		if run.Agents != agents {
			continue
		}
		runs++
		for name, value := range run.Figures {
			sums[name] += value
		}
	}
	if runs == 0 {
		return nil
	}
	for name := range sums {
		sums[name] /= runs
	}
	return sums
}

// compare fails for every figure that has got worse.
func (c *calibration) compare(r *result) error {
	means := c.mean(r.Agents)
	var errs []error
	figures := r.figures()
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		mean, known := means[name]
		if known && figures[name] > mean*allowance {
			errs = append(errs, fmt.Errorf("%d agents: %s is %.3f; calibrated runs have %.3f, and up to %.3f is allowed", r.Agents, name, figures[name], mean, mean*allowance))
		}
	}
	return errors.Join(errs...)
}

// judge compares results with the calibrated runs, or adds them to those.
func judge(opts options, results []*result) error {
	content, err := os.ReadFile(filepath.Clean(opts.calibration))
	if err != nil {
		return fmt.Errorf("read the calibrated runs: %w", err)
	}
	known := &calibration{}
	if err := yaml.UnmarshalStrict(content, known); err != nil {
		return fmt.Errorf("read the calibrated runs in %s: %w", opts.calibration, err)
	}
	var errs []error
	for _, r := range results {
		if opts.calibrate {
			known.Runs = append(known.Runs, calibratedRun{Agents: r.Agents, Figures: r.figures()})
			continue
		}
		errs = append(errs, known.compare(r))
	}
	if !opts.calibrate {
		return errors.Join(errs...)
	}
	if content, err = yaml.Marshal(known); err != nil {
		return err
	}
	return os.WriteFile(opts.calibration, content, 0o644) //nolint:gosec // It is committed.
}
