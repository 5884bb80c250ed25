package endpoint

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	// verifyEvery is how often an endpoint that works is tried again: what breaks
	// outside the cluster, such as DNS, no watch tells.
	verifyEvery = 10 * time.Minute
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
	*reconcile.Asker[types.NamespacedName]

	try func(context.Context, Target) Answer

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
	v := &Verifier{try: try, entries: map[types.NamespacedName]*entry{}}
	v.Asker = reconcile.NewAsker(reconcile.AskerOptions{
		Workers: workers, Timeout: verifyTimeout, MinPause: minVerifyPause, MaxPause: maxVerifyPause,
	}, v.verify)
	return v
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
		v.Put(agent)
	case known.target != *target:
		paused := *target
		paused.Pod = known.target.Pod
		// A pod that is not Ready for a moment is no reason to look at once.
		if target.Pod != "" || paused != known.target {
			v.Put(agent)
		}
		known.target = *target
	}
	return known.answer
}

// verify tries the endpoint of one agent, if it still has one, and tells its
// controller of a new answer.
func (v *Verifier) verify(ctx context.Context, agent types.NamespacedName) reconcile.Asked {
	v.mu.Lock()
	known := v.entries[agent]
	if known == nil {
		v.mu.Unlock()
		return reconcile.Asked{}
	}
	target := known.target
	v.mu.Unlock()
	answer := v.try(ctx, target)
	asked := reconcile.Asked{Failed: !answer.Verified}
	if answer.Verified {
		asked.Again = verifyEvery
	}
	if v.learn(agent, target, answer) {
		asked.News = []client.Object{&v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: agent.Name}}}
	}
	return asked
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
