// Command scale measures the operator on one machine: a real API server and
// etcd, real controller manager and scheduler, kubelets simulated by kwok, the
// operator as its own process, agents that report by their own code. It prints a
// table and fails when a figure is worse than calibrated runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

type options struct {
	agents, programs, manager, repository string
	logs, calibration                     string
	pairs, policies, edits, concurrency   int
	idle, lease                           time.Duration
	calibrate, profile                    bool
}

func main() {
	var opts options
	flag.StringVar(&opts.agents, "agents", "1000,10000", "numbers of agents, each of which is a run")
	flag.StringVar(&opts.programs, "programs", "", "directories of kube-apiserver, kube-controller-manager, kube-scheduler, etcd and kwok, as a PATH")
	flag.StringVar(&opts.manager, "manager", "bin/manager", "the operator's program")
	flag.StringVar(&opts.repository, "repository", ".", "root of the repository, for config/")
	flag.StringVar(&opts.logs, "logs", "", "directory to keep the programs' logs in; a temporary one that is removed if not given")
	flag.StringVar(&opts.calibration, "calibration", "test/scale/calibration.yaml", "file of calibrated runs")
	flag.IntVar(&opts.pairs, "pairs", 16, "pairs of the desk, and agents on each account")
	flag.IntVar(&opts.policies, "policies", 100, "policies that the agents are spread over")
	flag.IntVar(&opts.edits, "edits", 100, "edits of each kind, of different agents")
	flag.IntVar(&opts.concurrency, "concurrency", 0, "the operator's --max-concurrent-reconciles; its own default if zero")
	flag.DurationVar(&opts.lease, "lease", 0, "the operator's --leader-elect-lease-duration; its own default if zero")
	flag.DurationVar(&opts.idle, "idle", time.Minute, "how long the operator is watched at rest")
	flag.BoolVar(&opts.calibrate, "calibrate", false, "add this run to the calibrated ones instead of comparing with them")
	flag.BoolVar(&opts.profile, "profile", false, "keep a profile of the operator's processor time and heap beside the logs")
	flag.Parse()
	ctrllog.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	if err := interruptible(opts); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func interruptible(opts options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return run(ctx, opts)
}

func run(ctx context.Context, opts options) (err error) {
	sizes, err := parseSizes(opts.agents)
	if err != nil {
		return err
	}
	for _, path := range []*string{&opts.manager, &opts.repository} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if opts.logs == "" {
		if opts.logs, err = os.MkdirTemp("", "trading-scale-"); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = fmt.Errorf("%w\nthe programs' logs are in %s", err, opts.logs)
				return
			}
			err = os.RemoveAll(opts.logs)
		}()
	}
	if opts.logs, err = filepath.Abs(opts.logs); err != nil {
		return err
	}
	database, err := postgres.Start(postgres.Options{}) //nolint:contextcheck // It ends by Close.
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	results := make([]*result, 0, len(sizes))
	for _, agents := range sizes {
		b := &bench{
			shape:    shape{agents: agents, pairs: opts.pairs, policies: opts.policies},
			programs: filepath.SplitList(opts.programs), manager: opts.manager, repository: opts.repository, logs: opts.logs,
			idle: opts.idle, edits: min(opts.edits, agents), profiling: opts.profile, concurrency: opts.concurrency, lease: opts.lease,
			database: database, out: os.Stderr,
		}
		r, err := b.run(ctx)
		if err != nil {
			return errors.Join(write(os.Stdout, results), fmt.Errorf("%d agents: %w", agents, err))
		}
		results = append(results, r)
	}
	if err := write(os.Stdout, results); err != nil {
		return err
	}
	return judge(opts, results)
}

func parseSizes(list string) ([]int, error) {
	var sizes []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("--agents: %q is no number of agents; give numbers such as 1000,10000", word)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}
