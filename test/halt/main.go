// Command halt measures how fast a halt reaches agents: a real API server, and the
// agents' own link and trader in processes of their own, each with its own watches
// and its own rights. While the halt is created, another client reads thousands of
// objects again and again and a third applies the agents' manifests as a GitOps tool
// does. No operator runs: a halt needs none.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

type options struct {
	agents, pods, processes, objects, halts, readers int
	cluster, worker, kubeconfig                      string
	from, to                                         int
	gitops                                           time.Duration
}

// crowd is how many agents are in no pod.
func (o options) crowd() int { return o.agents - o.pods }

func main() {
	var opts options
	flag.IntVar(&opts.agents, "agents", 1000, "agents, each with watches and rights of its own, those in pods among them")
	flag.StringVar(&opts.cluster, "cluster", "", "kubeconfig of the local cluster, which takes the place of an API server of its own; the operator there is stopped")
	flag.IntVar(&opts.pods, "pods", 0, "how many of the agents run in pods of that cluster's kubelet")
	flag.IntVar(&opts.processes, "processes", 8, "processes that the agents outside of pods are spread over")
	flag.IntVar(&opts.objects, "objects", 10_000, "objects that other clients read again and again")
	flag.IntVar(&opts.readers, "readers", 2, "clients that do so")
	flag.IntVar(&opts.halts, "halts", 5, "halts, one after another")
	flag.DurationVar(&opts.gitops, "gitops", 10*time.Second, "how often every agent's manifest is applied anew")
	flag.StringVar(&opts.worker, "worker", "", "namespace in which this process runs agents; it is started by the command itself")
	flag.StringVar(&opts.kubeconfig, "access", "", "kubeconfig of a worker")
	flag.IntVar(&opts.from, "from", 0, "first agent of a worker")
	flag.IntVar(&opts.to, "to", 0, "agent behind the last of a worker")
	flag.Parse()
	if opts.pods > 0 && opts.cluster == "" {
		fmt.Fprintln(os.Stderr, "error: --pods needs a cluster with a kubelet: name its kubeconfig by --cluster")
		os.Exit(1)
	}
	ctrllog.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	run := measure
	if opts.worker != "" {
		run = work
	}
	err := run(ctx, opts)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func agentName(index int) string { return fmt.Sprintf("agent-%04d", index) }

// podUID is what an agent's process passes for.
func podUID(index int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", index) }
