package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/link"
)

const (
	// recovery is how long an agent's process compares its ledger with its venue
	// before it trades.
	recovery = time.Second

	// firstDecision is when an agent has decided for the first time, spread over
	// this and twice this.
	firstDecision = 30 * time.Second
)

// crowd plays the agents' processes: for every pod that runs, one reporter of
// internal/link writes status.trading with the rights of that pod. What it does
// not play is their watches: each real agent has five of its own, while the
// crowd shares one cache.
type crowd struct {
	scheme *runtime.Scheme
	config *rest.Config
	mapper meta.RESTMapper
	cache  cache.Cache
	ctx    context.Context //nolint:containedctx // Ends the processes, which handlers of events start.
	end    context.CancelFunc
	group  sync.WaitGroup

	mu        sync.Mutex
	processes map[types.UID]*simulated
	epochs    map[string]int64
	agents    []*awaited[*v1alpha1.TradingAgent]
	pods      []*awaited[*corev1.Pod]
}

// simulated is one agent's process.
type simulated struct {
	pod     types.UID
	epoch   int64
	started time.Time
	changed chan struct{}
	stop    context.CancelFunc
}

// startCrowd watches the desk and plays its agents until the crowd is stopped.
func startCrowd(ctx context.Context, p *plane) (*crowd, error) {
	httpClient, err := rest.HTTPClientFor(p.config)
	if err != nil {
		return nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(p.config, httpClient)
	if err != nil {
		return nil, err
	}
	watched, err := cache.New(p.config, cache.Options{
		HTTPClient: httpClient, Scheme: p.scheme, Mapper: mapper,
		DefaultTransform: cache.TransformStripManagedFields(),
	})
	if err != nil {
		return nil, err
	}
	c := &crowd{
		scheme: p.scheme, config: p.config, mapper: mapper, cache: watched,
		processes: map[types.UID]*simulated{}, epochs: map[string]int64{},
	}
	c.ctx, c.end = context.WithCancel(ctx)
	for object, handler := range map[client.Object]toolscache.ResourceEventHandlerFuncs{
		&v1alpha1.TradingAgent{}: handling(c.sawAgent, func(*v1alpha1.TradingAgent) {}),
		&corev1.Pod{}:            handling(c.sawPod, c.lostPod),
	} {
		informer, err := watched.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err == nil {
			_, err = informer.AddEventHandler(handler)
		}
		if err != nil {
			c.end()
			return nil, fmt.Errorf("watch %T: %w", object, err)
		}
	}
	c.group.Go(func() {
		// It ends with the context; a watch that breaks is taken up again by itself.
		_ = watched.Start(c.ctx)
	})
	if !watched.WaitForCacheSync(ctx) {
		c.end()
		return nil, errors.New("the caches of the crowd have not synced")
	}
	return c, nil
}

// handling adapts typed functions to an informer.
func handling[O client.Object](saw, lost func(O)) toolscache.ResourceEventHandlerFuncs {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { saw(object.(O)) },
		UpdateFunc: func(_, object any) { saw(object.(O)) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			lost(object.(O))
		},
	}
}

// stop ends every process and the watches.
func (c *crowd) stop() {
	c.end()
	c.group.Wait()
}

func (c *crowd) sawAgent(agent *v1alpha1.TradingAgent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agents = told(c.agents, agent.Name, agent)
	if process := c.processes[types.UID(agent.Status.PodUID)]; process != nil && agent.Status.Trading != nil && agent.Status.Trading.ObservedGeneration != agent.Generation {
		process.signal()
	}
}

func (c *crowd) sawPod(pod *corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = told(c.pods, pod.Name, pod)
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "TradingAgent" {
		return
	}
	process := c.processes[pod.UID]
	switch {
	case process == nil && pod.DeletionTimestamp.IsZero() && ready(pod):
		c.epochs[owner.Name]++
		process = &simulated{pod: pod.UID, epoch: c.epochs[owner.Name], started: time.Now(), changed: make(chan struct{}, 1)}
		c.processes[pod.UID] = process
		c.start(process, link.Identity{Namespace: pod.Namespace, Name: owner.Name, UID: owner.UID}, pod)
	case process != nil && !pod.DeletionTimestamp.IsZero():
		process.stop()
	}
}

func (c *crowd) lostPod(pod *corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if process := c.processes[pod.UID]; process != nil {
		process.stop()
		delete(c.processes, pod.UID)
	}
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// start begins to report for a pod, as its ServiceAccount and with its name and
// UID, which its bound token would carry.
func (c *crowd) start(process *simulated, identity link.Identity, pod *corev1.Pod) {
	ctx, stop := context.WithCancel(c.ctx)
	process.stop = stop
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + pod.Namespace + ":" + pod.Spec.ServiceAccountName,
		Groups:   serviceAccountGroups(pod.Namespace),
		Extra: map[string][]string{
			"authentication.kubernetes.io/pod-name": {pod.Name},
			"authentication.kubernetes.io/pod-uid":  {string(pod.UID)},
		},
	}
	c.group.Go(func() {
		defer stop()
		writer, err := c.writer(config)
		if err != nil {
			return // Only a wrong configuration, which the start of the crowd has ruled out.
		}
		for _, after := range []time.Duration{recovery, wait.Jitter(firstDecision, 1)} {
			timer := time.AfterFunc(after, process.signal)
			defer timer.Stop()
		}
		reporter := link.NewReporter(writer, versioned{c, identity}, identity, link.DefaultReportInterval, logr.Discard())
		_ = reporter.Run(ctx, func() v1alpha1.TradingStatus { return c.status(process, identity) }, process.changed)
	})
}

// writer is a client of its own for one process. All share their connections,
// because they differ in nothing that TLS knows.
func (c *crowd) writer(config *rest.Config) (client.Client, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	httpClient = &http.Client{Transport: httpClient.Transport}
	return client.New(config, client.Options{HTTPClient: httpClient, Scheme: c.scheme, Mapper: c.mapper})
}

func (s *simulated) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// versioned implements link.Versioned by the crowd's cache.
type versioned struct {
	crowd    *crowd
	identity link.Identity
}

func (v versioned) Version(ctx context.Context) (string, error) {
	agent := &v1alpha1.TradingAgent{}
	err := v.crowd.cache.Get(ctx, client.ObjectKey{Namespace: v.identity.Namespace, Name: v.identity.Name}, agent)
	if err != nil {
		return "", err
	}
	if agent.UID != v.identity.UID {
		return "", link.ErrAgentGone
	}
	return agent.ResourceVersion, nil
}

// status is what a process reports: it recovers, then trades, then has decided,
// and its equity never rests, so that every minute has figures to write.
func (c *crowd) status(process *simulated, identity link.Identity) v1alpha1.TradingStatus {
	agent := &v1alpha1.TradingAgent{}
	// An agent that is not in the cache is answered for by versioned.
	_ = c.cache.Get(c.ctx, client.ObjectKey{Namespace: identity.Namespace, Name: identity.Name}, agent)
	return statusAfter(time.Since(process.started), string(process.pod), agent.Generation, process.epoch)
}

// statusAfter is the status of a process of some age.
func statusAfter(age time.Duration, pod string, generation, epoch int64) v1alpha1.TradingStatus {
	status := v1alpha1.TradingStatus{
		PodUID: pod, ObservedGeneration: generation, Epoch: epoch, Currency: "USD",
		State: v1alpha1.TradingReduceOnly, Reason: v1alpha1.ReasonRecovering, Loop: v1alpha1.LoopRecovering,
	}
	if age < recovery {
		return status
	}
	status.ReconciledEpoch = epoch
	status.State, status.Reason, status.Loop = v1alpha1.TradingEnabled, v1alpha1.ReasonTrading, v1alpha1.LoopIdle
	cents := age.Milliseconds() % 100000
	status.Equity = v1alpha1.SignedDecimal(fmt.Sprintf("10%03d.%02d", cents/100, cents%100))
	status.PNL = v1alpha1.SignedDecimal(fmt.Sprintf("%d.%02d", cents/100, cents%100))
	status.DrawdownFraction = "0"
	status.Data = &v1alpha1.DataStatus{Source: "Replay " + recordingName + " at 60x", LastBarTime: new(metav1.NewTime(time.Unix(1262304000, 0).Add(age)))}
	if age >= firstDecision {
		status.Decisions = int64(age / firstDecision)
		status.LastDecision = &v1alpha1.DecisionStatus{
			Time: new(metav1.NewTime(time.Unix(1262304000, 0).Add(age.Truncate(firstDecision)))),
			Pair: "EUR-USD", Action: "Hold", ConfidenceFraction: "0.55", Outcome: "Hold",
		}
	}
	return status
}
