package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// ErrAgentGone means that the TradingAgent this process serves no longer exists,
// or that another has taken its name: the process must end.
var ErrAgentGone = errors.New("the TradingAgent that this process serves is gone")

// Identity is the TradingAgent that a process serves.
type Identity struct {
	Namespace, Name string
	// UID tells the object from a later one of the same name.
	UID types.UID
}

// Watcher follows the manifests of one agent at the API server, so that a change
// reaches the agent while the operator is down.
type Watcher struct {
	identity Identity
	cache    cache.Cache
	changes  chan struct{}
	pulse    *pulse
	pinned   *v1alpha1.AgentRevision
}

// NewWatcher prepares to follow the agent's own object, the accounts, policies,
// pairs, ledgers and halts of its namespace, and the halts of the cluster.
func NewWatcher(ctx context.Context, config *rest.Config, identity Identity) (*Watcher, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register the desk's kinds: %w", err)
	}
	watched, err := cache.New(config, cache.Options{
		Scheme:            scheme,
		DefaultNamespaces: map[string]cache.Config{identity.Namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.TradingAgent{}: {Field: fields.OneTermEqualSelector("metadata.name", identity.Name)},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare to watch namespace %q: %w", identity.Namespace, err)
	}
	w := &Watcher{identity: identity, cache: watched, changes: make(chan struct{}, 1)}
	if w.pulse, err = newPulse(config, scheme, identity.Namespace, w.signal); err != nil {
		return nil, err
	}
	kinds := []client.Object{&v1alpha1.TradingAgent{}, &v1alpha1.TradingAccount{}, &v1alpha1.RiskPolicy{}, &v1alpha1.AssetPair{}, &v1alpha1.Ledger{},
		&v1alpha1.TradingHalt{}, &v1alpha1.ClusterTradingHalt{}}
	for _, kind := range kinds {
		informer, err := watched.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("prepare to watch %T: %w", kind, err)
		}
		if _, err := informer.AddEventHandler(w.signalling()); err != nil {
			return nil, fmt.Errorf("prepare to watch %T: %w", kind, err)
		}
	}
	return w, nil
}

// Pin makes the agent run by a revision: of its spec only what needs no new
// process is followed from then on. It is called before Run.
func (w *Watcher) Pin(revision *v1alpha1.AgentRevision) { w.pinned = revision }

// signal says that something may have changed; any number of signals that nobody
// has received are one.
func (w *Watcher) signal() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

func (w *Watcher) signalling() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { w.signal() },
		UpdateFunc: func(any, any) { w.signal() },
		DeleteFunc: func(any) { w.signal() },
	}
}

// Run watches until the context ends.
func (w *Watcher) Run(ctx context.Context) error {
	var asking sync.WaitGroup
	asking.Go(func() { w.pulse.run(ctx) })
	defer asking.Wait()
	return w.cache.Start(ctx)
}

// Heard is when the API server last answered which halts there are.
func (w *Watcher) Heard() time.Time { return time.Unix(0, w.pulse.heard.Load()) }

// Expect has the API server asked so often that its silence shows within the given
// time.
func (w *Watcher) Expect(within time.Duration) { w.pulse.stale.Store(int64(within)) }

// WaitForSync blocks until everything has been read once; false if the context
// ended first.
func (w *Watcher) WaitForSync(ctx context.Context) bool { return w.cache.WaitForCacheSync(ctx) }

// Changes signals that Desk may return something new.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Version implements Versioned.
func (w *Watcher) Version(ctx context.Context) (string, error) {
	agent, err := w.agent(ctx)
	if err != nil {
		return "", err
	}
	return agent.ResourceVersion, nil
}

// agent is the object that this process serves. It fails with ErrAgentGone.
func (w *Watcher) agent(ctx context.Context) (*v1alpha1.TradingAgent, error) {
	agent := &v1alpha1.TradingAgent{}
	err := w.cache.Get(ctx, types.NamespacedName{Namespace: w.identity.Namespace, Name: w.identity.Name}, agent)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %s/%s does not exist", ErrAgentGone, w.identity.Namespace, w.identity.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the agent's manifest: %w", err)
	}
	if agent.UID != w.identity.UID {
		return nil, fmt.Errorf("%w: %s/%s is another object of that name", ErrAgentGone, w.identity.Namespace, w.identity.Name)
	}
	return agent, nil
}

// Desk is what the API server says now. It fails with ErrAgentGone.
func (w *Watcher) Desk(ctx context.Context) (Desk, error) {
	agent, err := w.agent(ctx)
	if err != nil {
		return Desk{}, err
	}
	var (
		accounts v1alpha1.TradingAccountList
		policies v1alpha1.RiskPolicyList
		pairs    v1alpha1.AssetPairList
		ledgers  v1alpha1.LedgerList
		halts    v1alpha1.TradingHaltList
		everyone v1alpha1.ClusterTradingHaltList
	)
	for _, list := range []client.ObjectList{&accounts, &policies, &pairs, &ledgers, &halts} {
		if err := w.cache.List(ctx, list, client.InNamespace(w.identity.Namespace)); err != nil {
			return Desk{}, fmt.Errorf("read the agent's manifests: %w", err)
		}
	}
	if err := w.cache.List(ctx, &everyone); err != nil {
		return Desk{}, fmt.Errorf("read the cluster's halts: %w", err)
	}
	if w.pinned != nil {
		w.pinned.Into(&agent.Spec)
	}
	desk := assemble(agent, accounts.Items, policies.Items, pairs.Items, ledgers.Items)
	// What either way of seeing shows is taken up; a release counts wherever it is.
	desk.Halts = append(v1alpha1.Halts(halts.Items, everyone.Items), w.pulse.known()...)
	return desk, nil
}
