// Package tradinghalt counts who obeys a halt, and fences who does not. The halt
// itself needs no operator: the agents see it at the API server themselves.
package tradinghalt

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// gathering is how long acknowledgements are collected before they are counted, so
// that a thousand of them are not a thousand writes.
const gathering = 200 * time.Millisecond

// What fails is tried again, at once and then ever later: a ledger that was away for
// an hour is told of a release within half a minute of its return.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Reconciler reports on halts of one kind.
type Reconciler struct {
	reconcile.Tools
	// New is an empty halt of the kind.
	New func() v1alpha1.Halt
	// World is what fences agents and remembers releases.
	World World
	// Metrics may be nil.
	Metrics *Metrics

	// taken are the steps that were taken against processes by halt, for those that
	// the status has no room for.
	mu    sync.Mutex
	taken map[process]steps
	// seen is since when processes are known that have not acknowledged.
	seen map[process]time.Time
	// bonds are what the ledgers are known to remember of each halt.
	bonds map[client.ObjectKey]*bonds
}

// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradinghalts,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=clustertradinghalts,verbs=get;list;watch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradinghalts/status;clustertradinghalts/status,verbs=patch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradingagents;tradingaccounts;assetpairs;ledgers,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile counts who obeys one halt, and fences who is overdue.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	halt := r.New()
	if err := r.Client.Get(ctx, request.NamespacedName, halt); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Metrics.forget(request.NamespacedName, r.kind())
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := halt.DeepCopyObject().(v1alpha1.Halt)
	spec := halt.HaltSpec()
	errs := v1alpha1.ValidateHalt(spec)
	judged := reconcile.Judge(halt, v1alpha1.ReasonInvalidSpec, errs, r.Clock.Now())
	members, outside, err := r.gather(ctx, halt)
	if err != nil {
		return r.Reporter.Finish(ctx, before, halt, reconcile.Outcome{}, err)
	}
	var outcome reconcile.Outcome
	if spec.Released() {
		// Whom it has bound while it was in force, and who has left its scope since,
		// nobody has written down for certain.
		outcome, err = r.release(ctx, halt, append(members, outside...))
	} else {
		r.fence(ctx, halt, members)
		outcome = r.count(ctx, halt, members, outside)
	}
	if len(errs) > 0 {
		outcome = judged.Within(max(outcome.After(), time.Second))
	}
	result, err := r.Reporter.Finish(ctx, before, halt, outcome, err)
	if err == nil {
		r.Metrics.tell(before, halt)
	}
	return result, err
}

// count reports who obeys, once the ledgers of those without a process remember the
// halt. A ledger that does not say whom it has latched is asked again.
func (r *Reconciler) count(ctx context.Context, halt v1alpha1.Halt, members, outside []member) reconcile.Outcome {
	members, unanswered := r.recollect(ctx, halt, members, outside)
	r.latch(ctx, halt, members)
	outcome := report(halt, members, r.Clock.Now())
	if unanswered != nil {
		outcome = outcome.Within(latchPause)
	}
	return outcome
}

// kind of the halts that this reconciler sees to.
func (r *Reconciler) kind() string {
	if _, own := r.New().(*v1alpha1.TradingHalt); own {
		return "TradingHalt"
	}
	return "ClusterTradingHalt"
}

// SetupWithManager registers the controller and what wakes it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.taken, r.seen, r.bonds = map[process]steps{}, map[process]time.Time{}, map[client.ObjectKey]*bonds{}
	retries := workqueue.NewTypedItemExponentialFailureRateLimiter[ctrlreconcile.Request](firstRetry, lastRetry)
	return ctrl.NewControllerManagedBy(mgr).
		WithOptions(controller.TypedOptions[ctrlreconcile.Request]{RateLimiter: retries}).
		For(r.New(), builder.WithPredicates(reconcile.OwnChanges())).
		Watches(&v1alpha1.TradingAgent{}, r.whenAgentsObey(mgr.GetClient())).
		Complete(r)
}

// whenAgentsObey wakes the halts in force that an agent may be bound by, a little
// later and together.
func (r *Reconciler) whenAgentsObey(reader client.Reader) handler.EventHandler {
	wake := func(ctx context.Context, agent client.Object, queue workqueue.TypedRateLimitingInterface[ctrlreconcile.Request]) {
		halts, err := r.inForce(ctx, reader, agent.GetNamespace())
		if err != nil {
			return // before the cache has synced, and everything is reconciled then
		}
		for _, halt := range halts {
			queue.AddAfter(ctrlreconcile.Request{NamespacedName: client.ObjectKeyFromObject(halt)}, gathering)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[ctrlreconcile.Request]) {
			wake(ctx, e.Object, queue)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[ctrlreconcile.Request]) {
			if obedience(e.ObjectOld.(*v1alpha1.TradingAgent)) != obedience(e.ObjectNew.(*v1alpha1.TradingAgent)) {
				wake(ctx, e.ObjectNew, queue)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[ctrlreconcile.Request]) {
			wake(ctx, e.Object, queue)
		},
	}
}

// inForce are the halts of the reconciler's kind that nobody has released.
func (r *Reconciler) inForce(ctx context.Context, reader client.Reader, namespace string) ([]v1alpha1.Halt, error) {
	var own v1alpha1.TradingHaltList
	var cluster v1alpha1.ClusterTradingHaltList
	var err error
	if _, namespaced := r.New().(*v1alpha1.TradingHalt); namespaced {
		err = reader.List(ctx, &own, client.InNamespace(namespace))
	} else {
		err = reader.List(ctx, &cluster)
	}
	var halts []v1alpha1.Halt
	for _, halt := range v1alpha1.Halts(own.Items, cluster.Items) {
		if !halt.HaltSpec().Released() {
			halts = append(halts, halt)
		}
	}
	return halts, err
}

// obeying is all of an agent that a halt's report speaks of.
type obeying struct {
	podUID, reporter string
	generation       int64
	labels, halts    string
}

func obedience(agent *v1alpha1.TradingAgent) obeying {
	o := obeying{podUID: agent.Status.PodUID, generation: agent.Generation, labels: labelsOf(agent)}
	if trading := agent.Status.Trading; trading != nil {
		o.reporter = trading.PodUID
		for i := range trading.Halts {
			o.halts += trading.Halts[i].UID + string(trading.Halts[i].State)
		}
	}
	return o
}
