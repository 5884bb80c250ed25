package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// awaited is a number of objects that shall come to meet a condition.
type awaited[O client.Object] struct {
	what string
	// name of the only object that counts; empty for any.
	name  string
	want  int
	meets func(O) bool
	once  sync.Once
	done  chan struct{}

	met map[string]bool
	// at is when the last of them did.
	at time.Time
}

// told tells everybody who waits of an object, and returns those who still wait.
func told[O client.Object](waiting []*awaited[O], name string, object O) []*awaited[O] {
	still := waiting[:0]
	for _, w := range waiting {
		if !w.tell(name, object) {
			still = append(still, w)
		}
	}
	return still
}

// tell takes an object's newest state in and reports whether that was the last
// that was waited for. An object that no longer meets the condition counts no
// more.
func (w *awaited[O]) tell(name string, object O) bool {
	if w.name != "" && w.name != name {
		return false
	}
	if !w.meets(object) {
		delete(w.met, name)
		return false
	}
	w.met[name] = true
	if len(w.met) < w.want {
		return false
	}
	w.once.Do(func() {
		w.at = time.Now()
		close(w.done)
	})
	return true
}

// wait returns when the last of the objects met the condition.
func (w *awaited[O]) wait(ctx context.Context, deadline time.Duration) (time.Time, error) {
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case <-w.done:
		return w.at, nil
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("%s: %w", w.what, context.Cause(ctx))
	case <-timer.C:
		return time.Time{}, fmt.Errorf("%s: not within %s", w.what, deadline)
	}
}

// awaitAgents waits for agents to meet a condition: a number of them, or the one
// of a name.
func (c *crowd) awaitAgents(ctx context.Context, what, name string, want int, meets func(*v1alpha1.TradingAgent) bool) (*awaited[*v1alpha1.TradingAgent], error) {
	w := &awaited[*v1alpha1.TradingAgent]{what: what, name: name, want: want, meets: meets, done: make(chan struct{}), met: map[string]bool{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	var list v1alpha1.TradingAgentList
	if err := c.cache.List(ctx, &list); err != nil {
		return nil, err
	}
	c.agents = append(c.agents, w)
	for i := range list.Items {
		c.agents = told(c.agents, list.Items[i].Name, &list.Items[i])
	}
	return w, nil
}

// awaitPod waits for the pod of a name to meet a condition.
func (c *crowd) awaitPod(ctx context.Context, what, name string, meets func(*corev1.Pod) bool) (*awaited[*corev1.Pod], error) {
	w := &awaited[*corev1.Pod]{what: what, name: name, want: 1, meets: meets, done: make(chan struct{}), met: map[string]bool{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	var list corev1.PodList
	if err := c.cache.List(ctx, &list); err != nil {
		return nil, err
	}
	c.pods = append(c.pods, w)
	for i := range list.Items {
		c.pods = told(c.pods, list.Items[i].Name, &list.Items[i])
	}
	return w, nil
}

// observed reports whether the operator has seen an agent's newest spec and
// found the desk as that asks for: its pod runs and trades by it.
func observed(agent *v1alpha1.TradingAgent) bool {
	return agent.Status.ObservedGeneration == agent.Generation && agentReady(agent) &&
		agent.Status.Trading.ObservedGeneration == agent.Generation
}

// reported reports whether an agent's process trades.
func reported(agent *v1alpha1.TradingAgent) bool {
	trading := agent.Status.Trading
	return trading != nil && trading.Epoch > 0 && trading.Epoch == trading.ReconciledEpoch
}

func agentReady(agent *v1alpha1.TradingAgent) bool {
	if agent.Status.Trading == nil || agent.Status.Trading.PodUID != agent.Status.PodUID {
		return false
	}
	for _, condition := range agent.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition.Status == "True"
		}
	}
	return false
}
