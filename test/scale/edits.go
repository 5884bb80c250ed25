package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// editDeadline bounds one edit. It is no target.
const editDeadline = 5 * time.Minute

// edit changes agents, one after the other, while the operator looks at every
// agent of the desk again and again.
func (d *desk) edit(ctx context.Context, r *result) error {
	ctx, stop := context.WithCancel(ctx)
	rounds := make(chan int, 1)
	failed := make(chan error, 1)
	go func() {
		n, err := d.resync(ctx)
		rounds <- n
		failed <- err
	}()
	err := d.editAgents(ctx, r)
	stop()
	r.Resyncs = <-rounds
	return errors.Join(err, <-failed)
}

func (d *desk) editAgents(ctx context.Context, r *result) error {
	for i := range d.edits {
		// Spread over the desk, each agent once.
		agent := i * max(1, d.shape.agents/d.edits) % d.shape.agents
		observed, inForce, err := d.editLimit(ctx, agent, 900+i%50)
		if err != nil {
			return err
		}
		replaced, err := d.editInterval(ctx, agent, 301+i%50)
		if err != nil {
			return err
		}
		r.LimitObserved = append(r.LimitObserved, observed)
		r.LimitInForce = append(r.LimitInForce, inForce)
		r.PodReplaced = append(r.PodReplaced, replaced)
	}
	return nil
}

// patch merges a change into an object of the desk.
func (d *desk) patch(ctx context.Context, object client.Object, change string) error {
	if err := d.admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(change))); err != nil {
		return fmt.Errorf("edit %T %s: %w", object, object.GetName(), err)
	}
	return nil
}

// editLimit tightens an agent's own limit. It returns how long it took until the
// operator had observed that, and until the agent's process acted on it.
func (d *desk) editLimit(ctx context.Context, i, notional int) (seen, inForce time.Duration, err error) {
	name, edited := agentName(i), &v1alpha1.TradingAgent{ObjectMeta: agentMeta(i)}
	start := time.Now()
	if err := d.patch(ctx, edited, fmt.Sprintf(`{"spec":{"limits":{"order":{"maxNotional":"%d"}}}}`, notional)); err != nil {
		return 0, 0, err
	}
	byOperator, err := d.crowd.awaitAgents(ctx, "an edited limit is observed", name, 1, func(agent *v1alpha1.TradingAgent) bool {
		return agent.Status.ObservedGeneration >= edited.Generation
	})
	if err != nil {
		return 0, 0, err
	}
	byAgent, err := d.crowd.awaitAgents(ctx, "an edited limit is in force", name, 1, func(agent *v1alpha1.TradingAgent) bool {
		return agent.Status.Trading != nil && agent.Status.Trading.ObservedGeneration >= edited.Generation
	})
	if err != nil {
		return 0, 0, err
	}
	seenAt, err := byOperator.wait(ctx, editDeadline)
	if err != nil {
		return 0, 0, err
	}
	inForceAt, err := byAgent.wait(ctx, editDeadline)
	return seenAt.Sub(start), inForceAt.Sub(start), err
}

// editInterval changes what a process reads only at its start, and returns how
// long it took until another pod was ready.
func (d *desk) editInterval(ctx context.Context, i, seconds int) (time.Duration, error) {
	edited := &v1alpha1.TradingAgent{ObjectMeta: agentMeta(i)}
	if err := d.admin.Get(ctx, client.ObjectKeyFromObject(edited), edited); err != nil {
		return 0, err
	}
	pod := edited.Status.PodUID
	start := time.Now()
	if err := d.patch(ctx, edited, fmt.Sprintf(`{"spec":{"decision":{"intervalSeconds":%d}}}`, seconds)); err != nil {
		return 0, err
	}
	another, err := d.crowd.awaitPod(ctx, "an edited agent has another pod", edited.Status.PodName, func(found *corev1.Pod) bool {
		return string(found.UID) != pod && ready(found)
	})
	if err != nil {
		return 0, err
	}
	at, err := another.wait(ctx, editDeadline)
	if err != nil {
		return 0, err
	}
	// The next edit is of an agent at rest.
	settled, err := d.crowd.awaitAgents(ctx, "an edited agent is observed", agentName(i), 1, func(agent *v1alpha1.TradingAgent) bool {
		return agent.Generation >= edited.Generation && observed(agent)
	})
	if err != nil {
		return 0, err
	}
	_, err = settled.wait(ctx, editDeadline)
	return at.Sub(start), err
}

// resync has the operator look at every agent again until the context ends, and
// returns how often it did. Every agent has a pair, and an edit of a pair wakes
// all who trade it; unlike a resync of the cache, which the queue puts last, this
// stands in line with the edits that are measured.
func (d *desk) resync(ctx context.Context) (int, error) {
	rounds := 0
	for ctx.Err() == nil {
		err := each(ctx, d.shape.desks()*d.shape.pairs, func(ctx context.Context, i int) error {
			return d.patch(ctx, &v1alpha1.AssetPair{ObjectMeta: inDesk(i/d.shape.pairs, pairName(i%d.shape.pairs))}, fmt.Sprintf(`{"spec":{"aliases":["ALIAS%04dX%d"]}}`, i, rounds))
		})
		if err == nil {
			err = d.drained(ctx)
		}
		if err == nil {
			rounds++
		} else if ctx.Err() == nil {
			return rounds, err
		}
	}
	return rounds, nil
}

// drained waits until nothing is queued.
func (d *desk) drained(ctx context.Context) error {
	return poll(ctx, 100*time.Millisecond, editDeadline, "the operator has looked at every agent", func(ctx context.Context) (bool, error) {
		found, err := d.leader.scrape(ctx)
		return err == nil && found.queued() == 0, err
	})
}

// editPolicies edits one policy, then all of them, and waits until every agent
// that they bind shows the new limit.
func (d *desk) editPolicies(ctx context.Context, r *result) error {
	var err error
	if r.Policy, err = d.editPolicy(ctx, 1, d.shape.boundBy(0), 6); err != nil {
		return err
	}
	if err := d.settle(ctx); err != nil {
		return err
	}
	r.Policies, err = d.editPolicy(ctx, d.shape.allPolicies(), d.shape.agents, 7)
	return err
}

func (d *desk) editPolicy(ctx context.Context, policies, agents, trades int) (float64, error) {
	want := v1alpha1.EffectiveValue{Field: "limits.agent.maxTradesPerDay", Value: strconv.Itoa(trades), Source: v1alpha1.SourceRiskPolicy}
	all, err := d.crowd.awaitAgents(ctx, "an edited policy is observed", "", agents, func(agent *v1alpha1.TradingAgent) bool {
		return slices.Contains(agent.Status.Effective, want)
	})
	if err != nil {
		return 0, err
	}
	start := time.Now()
	err = each(ctx, policies, func(ctx context.Context, i int) error {
		return d.patch(ctx, &v1alpha1.RiskPolicy{ObjectMeta: d.shape.policyMeta(i)}, fmt.Sprintf(`{"spec":{"agent":{"maxTradesPerDay":%d}}}`, trades))
	})
	if err != nil {
		return 0, err
	}
	end, err := all.wait(ctx, d.patience())
	return end.Sub(start).Seconds(), err
}

// failover kills the leader and waits until the standby reconciles, and has
// observed an edit that was made at that moment.
func (d *desk) failover(ctx context.Context, r *result) error {
	last := d.shape.agents - 1
	name, edited := agentName(last), &v1alpha1.TradingAgent{ObjectMeta: agentMeta(last)}
	start := time.Now()
	if err := d.leader.kill(); err != nil {
		return err
	}
	if err := d.patch(ctx, edited, `{"spec":{"limits":{"order":{"maxNotional":"800"}}}}`); err != nil {
		return err
	}
	seen, err := d.crowd.awaitAgents(ctx, "the standby has observed an edit", name, 1, func(agent *v1alpha1.TradingAgent) bool {
		return agent.Status.ObservedGeneration >= edited.Generation
	})
	if err != nil {
		return err
	}
	err = poll(ctx, 20*time.Millisecond, editDeadline, "the standby reconciles", func(ctx context.Context) (bool, error) {
		found, err := d.standby.scrape(ctx)
		return err == nil && found.passes() > 0, err
	})
	if err != nil {
		return err
	}
	r.Failover = time.Since(start).Seconds()
	at, err := seen.wait(ctx, editDeadline)
	r.FailoverObserved = at.Sub(start).Seconds()
	return err
}
