package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

const (
	// namespace of the crowd: the agents that are in no pod.
	namespace = "bench"
	// patience is how long a desk may take to trade, or to obey.
	patience = 10 * time.Minute
	// What a halt may take.
	lastOrderLimit    = time.Second
	acknowledgedLimit = 5 * time.Second
)

// bench is one measurement.
type bench struct {
	options
	*plane
	workers []*worker
	load    load
}

func measure(ctx context.Context, opts options) (err error) {
	api, err := newPlane(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, api.stop()) }()
	if err := api.populate(ctx, opts); err != nil {
		return err
	}
	b := &bench{options: opts, plane: api}
	if b.workers, err = startWorkers(ctx, api.config, opts); err != nil {
		return err
	}
	defer func() {
		for _, w := range b.workers {
			err = errors.Join(err, w.ask.Close(), w.command.Wait())
		}
	}()
	if err := b.awaitTrading(ctx); err != nil {
		return err
	}
	loading, unload := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer unload()
	for range opts.readers {
		working.Go(func() { b.load.readAgain(loading, api.admin) })
	}
	working.Go(func() { b.load.applyAgain(loading, api.admin, opts.crowd(), opts.gitops) })
	return b.rounds(ctx)
}

// placements asks everybody when its agents last sent an order: the crowd first,
// then those in pods.
func (b *bench) placements(ctx context.Context) (placed, error) {
	all, err := placements(b.workers)
	if err != nil || b.inPods == nil {
		return all, err
	}
	told, err := b.inPods.placements(ctx)
	return placed{Last: append(all.Last, told.Last...), Count: append(all.Count, told.Count...)}, err
}

// awaitTrading waits until every agent of the crowd has sent an order since now, and
// none in a pod is halted. Those wait for what the recorded market offers them.
func (b *bench) awaitTrading(ctx context.Context) error {
	since := time.Now().UnixNano()
	var idle int
	err := wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(ctx context.Context) (bool, error) {
		now, err := placements(b.workers)
		if err != nil {
			return false, err
		}
		idle = 0
		for _, last := range now.Last {
			if last < since {
				idle++
			}
		}
		if b.inPods != nil {
			halted, err := b.inPods.halted(ctx)
			if err != nil {
				return false, err
			}
			idle += halted
		}
		return idle == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d agents do not trade: %w", idle, b.agents, err)
	}
	return nil
}

// rounds halts, counts, releases, and lets the agents trade again.
func (b *bench) rounds(ctx context.Context) error {
	fmt.Printf("%d agents, %d of them in pods, the others in %d processes; %d objects read by %d clients, manifests applied every %s\n",
		b.agents, b.pods, b.processes, b.objects, b.readers, b.gitops)
	fmt.Printf("%-8s %14s %14s %14s %14s %12s\n", "halt", "last order p50", "last order p99", "last order max", "acknowledged", "traded since")
	failed := false
	before, err := b.placements(ctx)
	if err != nil {
		return err
	}
	for round := range b.halts {
		if err := b.awaitTrading(ctx); err != nil {
			return err
		}
		last, acknowledged, err := b.oneHalt(ctx, round)
		if err != nil {
			return err
		}
		after, err := b.placements(ctx)
		if err != nil {
			return err
		}
		p99 := quantile(last, 99)
		fmt.Printf("%-8d %14s %14s %14s %14s %12d\n", round+1, quantile(last, 50), p99, last[len(last)-1], acknowledged, traded(before, after))
		failed = failed || p99 > lastOrderLimit || acknowledged > acknowledgedLimit
		before = after
	}
	fmt.Printf("meanwhile %d lists of all objects and %d manifests were answered\n", b.load.read.Load(), b.load.applied.Load())
	switch {
	case b.load.applied.Load() == 0:
		return errors.New("no manifest was applied: the halts were not tried against a GitOps tool")
	case failed:
		return fmt.Errorf("a halt took longer than it may: p99 to the last order %s, to the last acknowledgement %s", lastOrderLimit, acknowledgedLimit)
	}
	return nil
}

// traded is how many agents have sent an order between two moments.
func traded(before, after placed) int {
	agents := 0
	for i := range after.Count {
		if after.Count[i] > before.Count[i] {
			agents++
		}
	}
	return agents
}

// oneHalt measures from before the request that creates the halt. Last are the times
// to each agent's last order, sorted; zero for one that had sent none since.
func (b *bench) oneHalt(ctx context.Context, round int) ([]time.Duration, time.Duration, error) {
	halt := &v1alpha1.ClusterTradingHalt{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bench-%d", round)}, Spec: v1alpha1.TradingHaltSpec{
		State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}, Reason: "a benchmark", RequestedBy: b.user,
	}}
	begun := time.Now()
	if err := b.admin.Create(ctx, halt); err != nil {
		return nil, 0, err
	}
	if err := b.awaitAcknowledgements(ctx, halt.UID); err != nil {
		return nil, 0, err
	}
	acknowledged := time.Since(begun)
	// The GitOps tool comes by at least once more before orders are looked for.
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-time.After(b.gitops + time.Second):
	}
	sent, err := b.placements(ctx)
	if err != nil {
		return nil, 0, err
	}
	last := make([]time.Duration, len(sent.Last))
	for i, at := range sent.Last {
		last[i] = max(time.Unix(0, at).Sub(begun), 0).Round(time.Millisecond)
	}
	slices.Sort(last)
	release := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"release":{"by":%q,"reason":"measured"}}}`, b.user))
	return last, acknowledged.Round(time.Millisecond), b.admin.Patch(ctx, halt, release)
}

// awaitAcknowledgements waits until every agent says in its status that it obeys. A
// busy API server may end a watch; it is begun again.
func (b *bench) awaitAcknowledgements(ctx context.Context, halt types.UID) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	obeying := map[client.ObjectKey]bool{}
	note := func(agent *v1alpha1.TradingAgent) {
		if acknowledges(agent, halt) {
			obeying[client.ObjectKeyFromObject(agent)] = true
		}
	}
	for len(obeying) < b.agents {
		var agents v1alpha1.TradingAgentList
		if err := b.admin.List(ctx, &agents); err != nil {
			return fmt.Errorf("%d of %d agents have acknowledged: %w", len(obeying), b.agents, err)
		}
		for i := range agents.Items {
			note(&agents.Items[i])
		}
		since := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: agents.ResourceVersion}}
		watching, err := b.admin.Watch(ctx, &v1alpha1.TradingAgentList{}, since)
		if err != nil {
			return fmt.Errorf("%d of %d agents have acknowledged: %w", len(obeying), b.agents, err)
		}
		for event := range watching.ResultChan() {
			if agent, ok := event.Object.(*v1alpha1.TradingAgent); ok {
				note(agent)
			}
			if len(obeying) == b.agents {
				break
			}
		}
		watching.Stop()
	}
	return nil
}

func acknowledges(agent *v1alpha1.TradingAgent, halt types.UID) bool {
	return agent.Status.Trading != nil && slices.ContainsFunc(agent.Status.Trading.Halts, func(told v1alpha1.HaltAcknowledgement) bool { return told.UID == string(halt) })
}

func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}
