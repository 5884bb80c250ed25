// Package probe asks the providers of market data whether they have what agents
// will need. Agents look at the answers; providers are asked beside them, so that
// no pass waits for the network.
package probe

import (
	"context"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
)

const (
	// freshFor is how long a good answer is gone by: an agent that starts checks
	// for itself, so it need not be newer.
	freshFor = 10 * time.Minute
	// poorFor is how long an answer is gone by that may keep an agent from starting.
	poorFor = time.Minute
	// jitter keeps the questions of many agents from coming in step.
	jitter = 0.2
	// Bounds of the pause before a question is asked again that found no answer.
	minPause = time.Second
	maxPause = 5 * time.Minute
	// askTimeout bounds one question, which may be three requests and the wait for
	// those of others.
	askTimeout = 45 * time.Second
	// workers ask at once: a question waits for a provider most of its time.
	workers = 4
	// backlog of changes that nobody has taken yet; beyond it a worker waits.
	backlog = 1024
)

// Question is what one source has of one pair.
type Question struct {
	Source v1alpha1.DataSource
	coinbase.Span
}

// Answer is what is known. The zero value is not known yet.
type Answer struct {
	// Known says that the provider has answered.
	Known bool
	// Listed reports whether it has the pair at all; Coverage counts only then.
	Listed bool
	coinbase.Coverage
	// Problem is why there is no answer, in words that stay the same from one
	// attempt to the next; empty while the provider is asked for the first time.
	Problem string
}

// Provider answers questions about spans of candles.
type Provider interface {
	// Cover fails with coinbase.ErrNotListed for a product that is not there.
	Cover(context.Context, coinbase.Span) (coinbase.Coverage, error)
	// Unreachable says why Cover had no answer.
	Unreachable(error) string
}

// Prober keeps the answers that agents wait for. A nil one knows nothing and asks
// nobody.
type Prober struct {
	providers map[v1alpha1.DataSource]Provider
	queue     workqueue.TypedDelayingInterface[Question]
	limiter   workqueue.TypedRateLimiter[Question]
	changes   chan event.GenericEvent

	mu      sync.Mutex
	entries map[Question]*entry
	// asked is what each agent has looked for last.
	asked map[types.NamespacedName][]Question
}

// entry is one question, and the agents that wait for its answer.
type entry struct {
	answer Answer
	agents map[types.NamespacedName]bool
}

// New makes a prober that asks nobody until Start runs.
func New(providers map[v1alpha1.DataSource]Provider) *Prober {
	return &Prober{
		providers: providers,
		queue:     workqueue.NewTypedDelayingQueue[Question](),
		limiter:   workqueue.NewTypedItemExponentialFailureRateLimiter[Question](minPause, maxPause),
		changes:   make(chan event.GenericEvent, backlog),
		entries:   map[Question]*entry{},
		asked:     map[types.NamespacedName][]Question{},
	}
}

// Look returns what is known of each question, and has the providers asked, again
// and again, until the agent looks for something else. Without questions the
// agent waits for nothing any more.
func (p *Prober) Look(agent types.NamespacedName, questions ...Question) []Answer {
	if p == nil {
		return make([]Answer, len(questions))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, question := range p.asked[agent] {
		if known := p.entries[question]; known != nil {
			delete(known.agents, agent)
		}
	}
	if len(questions) == 0 {
		delete(p.asked, agent)
		return nil
	}
	p.asked[agent] = questions
	answers := make([]Answer, len(questions))
	for i, question := range questions {
		known := p.entries[question]
		if known == nil {
			known = &entry{agents: map[types.NamespacedName]bool{}}
			p.entries[question] = known
			p.queue.Add(question)
		}
		known.agents[agent] = true
		answers[i] = known.answer
	}
	return answers
}

// Changes carries every agent whose answer has changed.
func (p *Prober) Changes() <-chan event.GenericEvent { return p.changes }

// Start asks until the context ends.
func (p *Prober) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for p.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	p.queue.ShutDown()
	group.Wait()
	return nil
}

// next answers one question; false when there will be no more. The queue hands a
// question to one worker at a time.
func (p *Prober) next(ctx context.Context) bool {
	question, ended := p.queue.Get()
	if ended {
		return false
	}
	defer p.queue.Done(question)
	if !p.wanted(question) {
		p.limiter.Forget(question)
		return true
	}
	answer, retryAfter := p.ask(ctx, question)
	if ctx.Err() != nil {
		return false
	}
	p.schedule(question, answer, retryAfter)
	for _, agent := range p.learn(question, answer) {
		object := &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: agent.Name}}
		select {
		case p.changes <- event.GenericEvent{Object: object}:
		case <-ctx.Done():
		}
	}
	return true
}

// wanted forgets a question that no agent waits for.
func (p *Prober) wanted(question Question) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.entries[question]; known == nil || len(known.agents) == 0 {
		delete(p.entries, question)
		return false
	}
	return true
}

func (p *Prober) ask(ctx context.Context, question Question) (answer Answer, retryAfter time.Duration) {
	provider := p.providers[question.Source]
	if provider == nil {
		return Answer{Problem: "this operator cannot ask source " + string(question.Source)}, 0
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	coverage, err := provider.Cover(ctx, question.Span)
	switch {
	case err == nil:
		return Answer{Known: true, Listed: true, Coverage: coverage}, 0
	case errors.Is(err, coinbase.ErrNotListed):
		return Answer{Known: true}, 0
	}
	return Answer{Problem: provider.Unreachable(err)}, coinbase.RetryAfter(err)
}

// schedule says when the question is asked again.
func (p *Prober) schedule(question Question, answer Answer, retryAfter time.Duration) {
	pause := freshFor
	switch {
	case !answer.Known:
		pause = max(retryAfter, p.limiter.When(question))
	case !answer.Listed || !answer.Reaches || answer.Age > question.Granularity+poorFor:
		pause = poorFor
	}
	if answer.Known {
		p.limiter.Forget(question)
	}
	p.queue.AddAfter(question, wait.Jitter(pause, jitter))
}

// learn stores an answer and returns the agents that it is news for.
func (p *Prober) learn(question Question, answer Answer) []types.NamespacedName {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.entries[question]
	if known == nil || known.answer == answer {
		return nil
	}
	known.answer = answer
	agents := make([]types.NamespacedName, 0, len(known.agents))
	for agent := range known.agents {
		agents = append(agents, agent)
	}
	return agents
}
