package tradinghalt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// World is what the controller reaches outside the API server. Errors must not
// carry a URI or a key.
type World struct {
	// Fence takes the epoch from one process of an agent in the ledger at a URI, and
	// reports whether it had it.
	Fence func(ctx context.Context, uri, agentUID, haltUID, podUID string) (bool, error)
	// Stop has an account's venue cancel everything in pairs; errors.ErrUnsupported
	// where it has no such control.
	Stop func(ctx context.Context, account *v1alpha1.TradingAccount, pairs []*v1alpha1.AssetPair) error
	// Latch records in the ledger at a URI that agents are bound, by their UIDs.
	Latch func(ctx context.Context, uri string, bound map[string]ledger.LatchedHalt) error
	// Bound are the UIDs of the agents that the ledger at a URI has latched by a halt.
	Bound func(ctx context.Context, uri, haltUID string) ([]string, error)
	// Unlatch records a release in the ledger at a URI.
	Unlatch func(ctx context.Context, uri, haltUID, by, reason string) error
}

const (
	// stepTimeout bounds one step against one agent.
	stepTimeout = 5 * time.Second
	// fencers is how many agents are fenced at a time.
	fencers = 16
	// mostRemembered bounds what is remembered of steps; a step that is forgotten is
	// taken again, which changes nothing.
	mostRemembered = 10_000
	longestOverdue = 1000
)

// process is one process of an agent under one halt.
type process struct{ halt, pod types.UID }

type steps []v1alpha1.FenceStep

// fence takes the steps against every agent that is overdue which have not been
// taken against its process yet. Each is tried whether the others succeed or not.
func (r *Reconciler) fence(ctx context.Context, halt v1alpha1.Halt, members []member) {
	now := r.Clock.Now()
	var fencing sync.WaitGroup
	slots := make(chan struct{}, fencers)
	for i := range members {
		m := &members[i]
		if !m.overdue(halt, now) {
			continue
		}
		slots <- struct{}{}
		fencing.Go(func() {
			defer func() { <-slots }()
			r.fenceOne(ctx, halt, m)
		})
	}
	fencing.Wait()
}

func (r *Reconciler) fenceOne(ctx context.Context, halt v1alpha1.Halt, m *member) {
	against := process{halt.GetUID(), types.UID(m.agent.Status.PodUID)}
	taken := r.recall(halt, m, against)
	if len(taken) == 0 && !r.confirm(ctx, halt, m) {
		return
	}
	var problems []string
	for _, step := range []struct {
		word   v1alpha1.FenceStep
		reason string
		take   func(context.Context, v1alpha1.Halt, *member) error
	}{
		{v1alpha1.FenceEpoch, v1alpha1.ReasonEpochAdvanced, r.advance},
		{v1alpha1.FenceVenue, v1alpha1.ReasonVenueStopped, r.stopAtVenue},
		{v1alpha1.FencePod, v1alpha1.ReasonPodDeleted, r.deletePod},
	} {
		if slices.Contains(taken, step.word) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, stepTimeout)
		err := step.take(limited, halt, m)
		cancel()
		switch {
		case err == nil:
			taken = append(taken, step.word)
			r.tell(halt, m, step.reason, fmt.Sprintf("agent %s/%s has not acknowledged within %s", m.agent.Namespace, m.agent.Name, halt.HaltSpec().Deadline()))
		case errors.Is(err, errors.ErrUnsupported):
		default:
			problems = append(problems, string(step.word)+": "+err.Error())
		}
	}
	r.remember(against, taken)
	m.fenced = v1alpha1.OverdueAgent{
		Namespace: m.agent.Namespace, Name: m.agent.Name, PodUID: m.agent.Status.PodUID,
		Steps: taken, Message: clip(strings.Join(problems, "; ")),
	}
}

func clip(text string) string {
	if len(text) <= longestOverdue {
		return text
	}
	return strings.ToValidUTF8(text[:longestOverdue], "") + "…"
}

// recall is which steps were taken against a process, by this operator or, as far
// as the status names them, by one before it.
func (r *Reconciler) recall(halt v1alpha1.Halt, m *member, against process) steps {
	r.mu.Lock()
	known := slices.Clone(r.taken[against])
	r.mu.Unlock()
	for _, named := range halt.HaltStatus().OverdueAgents {
		if named.Namespace != m.agent.Namespace || named.Name != m.agent.Name || named.PodUID != m.agent.Status.PodUID {
			continue
		}
		for _, step := range named.Steps {
			if !slices.Contains(known, step) {
				known = append(known, step)
			}
		}
	}
	return known
}

func (r *Reconciler) remember(against process, taken steps) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.taken) >= mostRemembered {
		clear(r.taken)
	}
	r.taken[against] = taken
}

// confirm reports whether the agent is overdue at the API server too: a cache that
// has fallen behind must not have a process fenced that has obeyed. Where the API
// server does not say, what is known counts.
func (r *Reconciler) confirm(ctx context.Context, halt v1alpha1.Halt, m *member) bool {
	limited, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	agent := &v1alpha1.TradingAgent{}
	err := r.Live.Get(limited, client.ObjectKeyFromObject(m.agent), agent)
	switch {
	case apierrors.IsNotFound(err):
		m.absent = true
		return false
	case err != nil:
		return true
	}
	m.told = wordOf(agent, halt)
	if agent.Status.PodUID != m.agent.Status.PodUID {
		m.agent = agent // and its process has the whole time
		r.meet(halt, m)
	}
	return m.overdue(halt, r.Clock.Now())
}

// tell emits an Event on the halt, about the agent.
func (r *Reconciler) tell(halt v1alpha1.Halt, m *member, reason, message string) {
	r.Reporter.Recorder.Eventf(halt, m.agent, corev1.EventTypeWarning, reason, "Fence", "%s", message)
}

// advance takes the epoch from the agent's process.
func (r *Reconciler) advance(ctx context.Context, halt v1alpha1.Halt, m *member) error {
	uri, err := r.ledgerOf(ctx, m)
	if err != nil {
		return err
	}
	_, err = r.World.Fence(ctx, uri, string(m.agent.UID), string(halt.GetUID()), m.agent.Status.PodUID)
	return err
}

// errMissing is of an object that is needed on the way to an agent's ledger.
var errMissing = errors.New("does not exist")

// ledgerOf reads the connection URI of an agent's ledger past the cache, so that the
// operator never holds the cluster's Secrets in memory.
func (r *Reconciler) ledgerOf(ctx context.Context, m *member) (string, error) {
	if m.account == nil {
		return "", fmt.Errorf("TradingAccount %q %w", m.agent.Spec.AccountRef.Name, errMissing)
	}
	kept := &v1alpha1.Ledger{}
	if err := r.Client.Get(ctx, m.ledger(), kept); err != nil {
		return "", fmt.Errorf("read Ledger %q: %w", m.account.Spec.LedgerRef.Name, err)
	}
	ref := kept.Spec.URISecretRef
	secret := &corev1.Secret{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: m.agent.Namespace, Name: ref.Name}, secret); err != nil {
		return "", fmt.Errorf("read Secret %q: %w", ref.Name, err)
	}
	uri := string(secret.Data[ref.Key])
	if uri == "" {
		return "", fmt.Errorf("key %q of Secret %q %w", ref.Key, ref.Name, errMissing)
	}
	return uri, nil
}

// stopAtVenue cancels everything in the pairs that the agent's process trades, by the
// venue's own control. Never is it told no pairs, which may mean all of the account.
func (r *Reconciler) stopAtVenue(ctx context.Context, _ v1alpha1.Halt, m *member) error {
	if m.account == nil {
		return fmt.Errorf("TradingAccount %q does not exist", m.agent.Spec.AccountRef.Name)
	}
	var pairs v1alpha1.AssetPairList
	if err := r.Client.List(ctx, &pairs, client.InNamespace(m.agent.Namespace)); err != nil {
		return fmt.Errorf("list asset pairs: %w", err)
	}
	var traded []*v1alpha1.AssetPair
	var errs []error
	for _, selector := range m.runs.Spec.AssetPairs {
		if pair := v1alpha1.FindPair(pairs.Items, selector.Name); pair != nil {
			traded = append(traded, pair)
		} else {
			errs = append(errs, fmt.Errorf("AssetPair %q does not exist", selector.Name))
		}
	}
	if len(traded) > 0 {
		errs = append(errs, r.World.Stop(ctx, m.account, traded))
	}
	return errors.Join(errs...)
}

// deletePod ends the agent's process with the time that it is given to do so. It is
// never forced: a pod that is gone by force may run on.
func (r *Reconciler) deletePod(ctx context.Context, _ v1alpha1.Halt, m *member) error {
	uid := types.UID(m.agent.Status.PodUID)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: m.agent.Namespace, Name: m.agent.Status.PodName}}
	err := r.Client.Delete(ctx, pod, client.Preconditions{UID: &uid})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // another has taken its place
	}
	return err
}
