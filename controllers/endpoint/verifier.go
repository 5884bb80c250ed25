package endpoint

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

const (
	// verifyEvery is how often an endpoint that works is tried again: what breaks
	// outside the cluster, such as DNS, no watch tells.
	verifyEvery = 10 * time.Minute
	// jitter keeps the endpoints of many agents from being tried in step.
	jitter = 0.2
	// Bounds of the pause before one is tried again that does not work.
	minVerifyPause = 2 * time.Second
	maxVerifyPause = 5 * time.Minute
	// verifyTimeout bounds one trial of one endpoint.
	verifyTimeout = 30 * time.Second
	// doubts is how many failures in a row it takes until an endpoint that worked
	// is said not to: one lost packet is no news.
	doubts = 3
	// workers try at once: a trial waits for the network most of its time.
	workers = 8
	// backlog of changes that nobody has taken yet; beyond it a worker waits.
	backlog = 1024
)

// Target is what is tried for one agent.
type Target struct {
	Host string
	// Secret with the endpoint's certificate.
	Secret types.NamespacedName
	// TrustSecret takes the certification authority in the Secret for one that
	// clients know: that of an issuer which is no ACME server.
	TrustSecret bool
	// Revision of the certificate; a new one is tried at once.
	Revision string
	// Internal is the DNS name of the agent's Service.
	Internal string
	// Pod is the UID of the agent's pod while that is Ready; another one is tried
	// at once.
	Pod types.UID
}

// Answer is what is known of an endpoint. The zero value is not known yet.
type Answer struct {
	Known    bool
	Verified bool
	// Reason and Message say what a client meets, in words that stay the same from
	// one trial to the next.
	Reason, Message string
}

// Verifier tries the endpoints of agents as clients would, beside the passes of
// the controller. A nil one knows nothing and tries nothing.
type Verifier struct {
	try     func(context.Context, Target) Answer
	queue   workqueue.TypedDelayingInterface[types.NamespacedName]
	limiter workqueue.TypedRateLimiter[types.NamespacedName]
	changes chan event.GenericEvent

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
}

// entry is one agent's endpoint.
type entry struct {
	target   Target
	answer   Answer
	failures int
}

// NewVerifier makes a verifier that tries nothing until Start runs.
func NewVerifier(try func(context.Context, Target) Answer) *Verifier {
	return &Verifier{
		try:     try,
		queue:   workqueue.NewTypedDelayingQueue[types.NamespacedName](),
		limiter: workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](minVerifyPause, maxVerifyPause),
		changes: make(chan event.GenericEvent, backlog),
		entries: map[types.NamespacedName]*entry{},
	}
}

// Look returns what is known of an agent's endpoint, and has it tried again and
// again until another target takes its place. Without a target nothing is tried
// any more.
func (v *Verifier) Look(agent types.NamespacedName, target *Target) Answer {
	if v == nil {
		return Answer{}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if target == nil {
		delete(v.entries, agent)
		return Answer{}
	}
	known := v.entries[agent]
	switch {
	case known == nil || known.target.Host != target.Host:
		known = &entry{target: *target}
		v.entries[agent] = known
		v.limiter.Forget(agent)
		v.queue.Add(agent)
	case known.target != *target:
		paused := *target
		paused.Pod = known.target.Pod
		// A pod that is not Ready for a moment is no reason to look at once.
		if target.Pod != "" || paused != known.target {
			v.limiter.Forget(agent)
			v.queue.Add(agent)
		}
		known.target = *target
	}
	return known.answer
}

// Changes carries every agent whose answer has changed.
func (v *Verifier) Changes() <-chan event.GenericEvent { return v.changes }

// Start tries until the context ends.
func (v *Verifier) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for v.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	v.queue.ShutDown()
	group.Wait()
	return nil
}

// next tries one endpoint; false when there will be no more. The queue hands an
// agent to one worker at a time.
func (v *Verifier) next(ctx context.Context) bool {
	agent, ended := v.queue.Get()
	if ended {
		return false
	}
	defer v.queue.Done(agent)
	v.mu.Lock()
	known := v.entries[agent]
	if known == nil {
		v.mu.Unlock()
		v.limiter.Forget(agent)
		return true
	}
	target := known.target
	v.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, verifyTimeout)
	answer := v.try(limited, target)
	cancel()
	if ctx.Err() != nil {
		return false
	}
	pause := verifyEvery
	if !answer.Verified {
		pause = v.limiter.When(agent)
	} else {
		v.limiter.Forget(agent)
	}
	v.queue.AddAfter(agent, wait.Jitter(pause, jitter))
	if v.learn(agent, target, answer) {
		object := &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: agent.Name}}
		select {
		case v.changes <- event.GenericEvent{Object: object}:
		case <-ctx.Done():
		}
	}
	return true
}

// learn stores an answer and reports whether it is news.
func (v *Verifier) learn(agent types.NamespacedName, target Target, answer Answer) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.entries[agent]
	if known == nil || known.target.Host != target.Host {
		return false
	}
	if answer.Verified {
		known.failures = 0
	} else {
		known.failures++
	}
	if known.answer == answer || known.answer.Verified && !answer.Verified && known.failures < doubts {
		return false
	}
	known.answer = answer
	return true
}
