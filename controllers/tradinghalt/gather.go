package tradinghalt

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// member is an agent that a halt binds.
type member struct {
	agent   *v1alpha1.TradingAgent
	account *v1alpha1.TradingAccount
	// runs is the agent as its process knows it, by the revision in its pod; without
	// a pod as its manifest says.
	runs *v1alpha1.TradingAgent
	// told is what the agent's present process says of the halt; nil if nothing.
	told *v1alpha1.HaltAcknowledgement
	// absent says that no process of the agent runs; else since is when it began.
	absent bool
	since  time.Time
	// pairs that are bound; nil is all of the agent's. loose is why the ledger of an
	// agent without a process could not be told of the halt.
	pairs []string
	loose error
	// fenced is what was done about an agent that is overdue.
	fenced v1alpha1.OverdueAgent
}

// acknowledgedBy is until when the agent may acknowledge: it has the whole time from
// the halt, and a process that came later has it from its own beginning.
func (m *member) acknowledgedBy(halt v1alpha1.Halt) time.Time {
	begun := halt.GetCreationTimestamp().Time
	if m.since.After(begun) {
		begun = m.since
	}
	return begun.Add(halt.HaltSpec().Deadline())
}

func (m *member) overdue(halt v1alpha1.Halt, now time.Time) bool {
	return m.told == nil && !m.absent && !now.Before(m.acknowledgedBy(halt))
}

// gather finds who is bound by a halt: by what its process runs and the manifests say
// now, or by the word of a process or of the ledger, which holds on when the manifests
// have changed. Beside these are the agents in its reach that are not bound as far as
// is known.
func (r *Reconciler) gather(ctx context.Context, halt v1alpha1.Halt) (members, outside []member, err error) {
	var agents v1alpha1.TradingAgentList
	// Nothing of the list is changed, and copying the agents of a cluster costs.
	if err := r.Client.List(ctx, &agents, client.InNamespace(halt.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list agents: %w", err)
	}
	var accounts v1alpha1.TradingAccountList
	if err := r.Client.List(ctx, &accounts, client.InNamespace(halt.GetNamespace())); err != nil {
		return nil, nil, fmt.Errorf("list accounts: %w", err)
	}
	byName := map[types.NamespacedName]*v1alpha1.TradingAccount{}
	for i := range accounts.Items {
		byName[client.ObjectKeyFromObject(&accounts.Items[i])] = &accounts.Items[i]
	}
	pairs, err := r.pairs(ctx, halt)
	if err != nil {
		return nil, nil, err
	}
	known := r.bondsOf(halt)
	for i := range agents.Items {
		m := member{agent: &agents.Items[i], runs: &agents.Items[i], told: wordOf(&agents.Items[i], halt)}
		m.account = byName[client.ObjectKey{Namespace: m.agent.Namespace, Name: m.agent.Spec.AccountRef.Name}]
		if m.told == nil {
			if err := r.attendance(ctx, &m); err != nil {
				return nil, nil, err
			}
		}
		binding := known.binding(halt, &m, pairs[m.agent.Namespace])
		if !binding.Bound {
			outside = append(outside, m)
			continue
		}
		m.pairs = binding.Pairs
		r.meet(halt, &m)
		members = append(members, m)
	}
	return members, outside, nil
}

// meet has the time of a process that has not acknowledged begin.
func (r *Reconciler) meet(halt v1alpha1.Halt, m *member) {
	if m.told != nil {
		return
	}
	// A process cannot report before the operator has named its pod, so its time
	// begins no earlier than this operator has seen it named.
	if seen := r.seenSince(process{halt.GetUID(), types.UID(m.agent.Status.PodUID)}); seen.After(m.since) {
		m.since = seen
	}
}

// seenSince is when this operator first met a process that has not acknowledged.
func (r *Reconciler) seenSince(met process) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) >= mostRemembered {
		clear(r.seen)
	}
	if _, known := r.seen[met]; !known {
		r.seen[met] = r.Clock.Now()
	}
	return r.seen[met]
}

// pairs by namespace, for a halt that is of a pair.
func (r *Reconciler) pairs(ctx context.Context, halt v1alpha1.Halt) (map[string][]v1alpha1.AssetPair, error) {
	if halt.HaltSpec().Scope.Type != v1alpha1.HaltAssetPair {
		return nil, nil
	}
	var pairs v1alpha1.AssetPairList
	if err := r.Client.List(ctx, &pairs, client.InNamespace(halt.GetNamespace())); err != nil {
		return nil, fmt.Errorf("list asset pairs: %w", err)
	}
	found := map[string][]v1alpha1.AssetPair{}
	for _, pair := range pairs.Items {
		found[pair.Namespace] = append(found[pair.Namespace], pair)
	}
	return found, nil
}

// wordOf is what the process says of a halt that the operator has named as the
// agent's. What another has said is not its word.
func wordOf(agent *v1alpha1.TradingAgent, halt v1alpha1.Halt) *v1alpha1.HaltAcknowledgement {
	trading := agent.Status.Trading
	if trading == nil || agent.Status.PodUID == "" || trading.PodUID != agent.Status.PodUID {
		return nil
	}
	for i := range trading.Halts {
		if trading.Halts[i].UID == string(halt.GetUID()) {
			return &trading.Halts[i]
		}
	}
	return nil
}

// attendance finds out whether a process of the agent runs, since when and by what.
func (r *Reconciler) attendance(ctx context.Context, m *member) error {
	status := &m.agent.Status
	if status.PodUID == "" {
		m.absent = true
		return nil
	}
	pod := &corev1.Pod{}
	// Nothing of the pod is changed, and every agent in reach is asked for.
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: m.agent.Namespace, Name: status.PodName}, pod, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		m.absent = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the pod of agent %s: %w", m.agent.Name, err)
	}
	m.runs = asRun(m.agent, pod)
	m.absent = true
	for i := range pod.Status.ContainerStatuses {
		if running := pod.Status.ContainerStatuses[i].State.Running; running != nil {
			m.absent, m.since = false, running.StartedAt.Time
		}
	}
	// A node that does not answer tells nothing of what runs on it.
	if pod.Status.Phase == corev1.PodRunning && len(pod.Status.ContainerStatuses) == 0 {
		m.absent, m.since = false, pod.CreationTimestamp.Time
	}
	return nil
}

// asRun is an agent with the part of its spec that the process in a pod was started
// with. A revision that cannot be read ends the process that it was handed to, so the
// manifest counts then.
func asRun(agent *v1alpha1.TradingAgent, pod *corev1.Pod) *v1alpha1.TradingAgent {
	revision, err := reconcile.RunningRevision(pod)
	if err != nil || revision == nil {
		return agent
	}
	runs := *agent
	revision.Into(&runs.Spec)
	return &runs
}

func labelsOf(agent *v1alpha1.TradingAgent) string { return labels.Set(agent.Labels).String() }
