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

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
)

const (
	// freshFor is how long a good answer is gone by: an agent that starts checks
	// for itself, so it need not be newer.
	freshFor = 10 * time.Minute
	// poorFor is how long an answer is gone by that may keep an agent from starting.
	poorFor = time.Minute
	// Bounds of the pause before a question is asked again that found no answer.
	minPause = time.Second
	maxPause = 5 * time.Minute
	// askTimeout bounds one question, which may be three requests and the wait for
	// those of others.
	askTimeout = 45 * time.Second
	// workers ask at once: a question waits for a provider most of its time.
	workers = 4
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
	*reconcile.Asker[Question]

	providers map[v1alpha1.DataSource]Provider

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
	p := &Prober{
		providers: providers,
		entries:   map[Question]*entry{},
		asked:     map[types.NamespacedName][]Question{},
	}
	p.Asker = reconcile.NewAsker(reconcile.AskerOptions{Workers: workers, Timeout: askTimeout, MinPause: minPause, MaxPause: maxPause}, p.deal)
	return p
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
			p.Put(question)
		}
		known.agents[agent] = true
		answers[i] = known.answer
	}
	return answers
}

// deal puts one question that agents wait for, and tells them of a new answer.
func (p *Prober) deal(ctx context.Context, question Question) reconcile.Asked {
	if !p.wanted(question) {
		return reconcile.Asked{}
	}
	answer, retryAfter := p.ask(ctx, question)
	asked := reconcile.Asked{Again: freshFor}
	switch {
	case !answer.Known:
		asked.Again, asked.Failed = retryAfter, true
	case !answer.Listed || !answer.Reaches || answer.Age > question.Granularity+poorFor:
		asked.Again = poorFor
	}
	for _, agent := range p.learn(question, answer) {
		asked.News = append(asked.News, &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: agent.Name}})
	}
	return asked
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
	coverage, err := provider.Cover(ctx, question.Span)
	switch {
	case err == nil:
		return Answer{Known: true, Listed: true, Coverage: coverage}, 0
	case errors.Is(err, coinbase.ErrNotListed):
		return Answer{Known: true}, 0
	}
	return Answer{Problem: provider.Unreachable(err)}, coinbase.RetryAfter(err)
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
