// Package listings remembers how venues trade the pairs that agents trade. Agents
// look; venues are asked beside them, so that no pass waits for the network.
package listings

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue/coinbase"
)

const (
	// freshFor is how long an answer is gone by: venues change increments a few
	// times a year, and close products within minutes rather than seconds.
	freshFor = 10 * time.Minute
	// poorFor is how long an answer is gone by that keeps an agent from starting.
	poorFor = 2 * time.Minute
	// jitter keeps the questions of many agents from coming in step.
	jitter = 0.2
	// Bounds of the pause before a question is asked again that found no answer.
	minPause = time.Second
	maxPause = 5 * time.Minute
	// lookedGrace is how long an agent that has looked may be unknown to others.
	lookedGrace = time.Minute
	// askTimeout bounds one question.
	askTimeout = 15 * time.Second
	// workers ask at once: a question waits for a venue most of its time.
	workers = 4
	// backlog of changes that nobody has taken yet; beyond it a worker waits.
	backlog = 1024
)

// Key is one question: how one account trades one product.
type Key struct {
	Account types.NamespacedName
	// UID of the account, so that another of its name is asked about anew.
	UID     types.UID
	Product string
}

// Answer is what is known.
type Answer struct {
	// Known is false until the venue has answered once. What it has said then
	// stands until it says something else.
	Known bool
	// Listed reports whether the account can see the product at all.
	Listed  bool
	Product coinbase.Product
	// Problem is why nothing is known; empty while the venue is being asked for
	// the first time.
	Problem string
}

func (a Answer) equal(other Answer) bool {
	return a.Known == other.Known && a.Listed == other.Listed && a.Problem == other.Problem && a.Product.Equal(other.Product)
}

// entry is an answer and when an agent looked at it last.
type entry struct {
	answer Answer
	looked time.Time
}

// ErrGone says that the account of a question does not exist any more.
var ErrGone = errors.New("the account does not exist any more")

// Ask puts one question to a venue. Its error must hold nothing secret; with
// ErrGone the question is dropped.
type Ask func(context.Context, Key) (coinbase.Product, error)

// Listings are the answers. A nil one knows nothing and asks nobody.
type Listings struct {
	ask     Ask
	queue   workqueue.TypedRateLimitingInterface[Key]
	changes chan event.GenericEvent

	mu      sync.Mutex
	entries map[Key]entry
}

// New makes listings that are empty until Start runs.
func New(ask Ask) *Listings {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[Key](minPause, maxPause)
	return &Listings{
		ask:     ask,
		queue:   workqueue.NewTypedRateLimitingQueue(limiter),
		changes: make(chan event.GenericEvent, backlog),
		entries: map[Key]entry{},
	}
}

// Look returns what is known of how an account trades a product, and has the
// venue asked where nothing is.
func (l *Listings) Look(account *v1alpha1.TradingAccount, product string) Answer {
	if l == nil {
		return Answer{}
	}
	key := keyOf(account, product)
	l.mu.Lock()
	defer l.mu.Unlock()
	known, asked := l.entries[key]
	if !asked {
		l.queue.Add(key)
	}
	known.looked = time.Now()
	l.entries[key] = known
	return known.answer
}

// Keep forgets what is known of an account beside the given products, unless an
// agent has looked at it a moment ago: whoever calls may not know of that agent
// yet. It asks again at once where no answer was had.
func (l *Listings) Keep(account *v1alpha1.TradingAccount, products []string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, known := range l.entries {
		switch {
		case key != keyOf(account, key.Product):
		case slices.Contains(products, key.Product):
			if known.answer.Problem != "" {
				l.queue.Forget(key)
				l.queue.Add(key)
			}
		case time.Since(known.looked) > lookedGrace:
			delete(l.entries, key)
		}
	}
}

// Changes carries the account of every answer that has changed.
func (l *Listings) Changes() <-chan event.GenericEvent { return l.changes }

// Start asks until the context ends.
func (l *Listings) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for l.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	l.queue.ShutDown()
	group.Wait()
	return nil
}

// next answers one question; false when there will be no more.
func (l *Listings) next(ctx context.Context) bool {
	key, ended := l.queue.Get()
	if ended {
		return false
	}
	defer l.queue.Done(key)
	if !l.wanted(key) {
		l.queue.Forget(key)
		return true
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	product, err := l.ask(asking, key)
	if ctx.Err() != nil {
		return false
	}
	if errors.Is(err, ErrGone) {
		l.drop(key)
		return true
	}
	l.schedule(key, product, err)
	if l.learn(key, product, err) {
		account := &v1alpha1.TradingAccount{ObjectMeta: metav1.ObjectMeta{Namespace: key.Account.Namespace, Name: key.Account.Name}}
		select {
		case l.changes <- event.GenericEvent{Object: account}:
		case <-ctx.Done():
		}
	}
	return true
}

func (l *Listings) wanted(key Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, asked := l.entries[key]
	return asked
}

func (l *Listings) drop(key Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, key)
	l.queue.Forget(key)
}

// schedule says when the question is asked again.
func (l *Listings) schedule(key Key, product coinbase.Product, err error) {
	limited, isLimited := errors.AsType[*coinbase.RateLimitedError](err)
	switch {
	case isLimited:
		l.queue.AddAfter(key, wait.Jitter(limited.After, jitter))
		return
	case err != nil && !errors.Is(err, coinbase.ErrNotFound):
		l.queue.AddRateLimited(key)
		return
	}
	l.queue.Forget(key)
	pause := freshFor
	if err != nil || product.Untradable != "" {
		pause = poorFor
	}
	l.queue.AddAfter(key, wait.Jitter(pause, jitter))
}

// learn stores an answer and reports whether it differs from the last. A question
// that found no answer takes nothing away from what is known.
func (l *Listings) learn(key Key, product coinbase.Product, err error) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, asked := l.entries[key]
	before := known.answer
	if !asked {
		return false
	}
	answer := Answer{Known: true, Listed: true, Product: product}
	switch {
	case errors.Is(err, coinbase.ErrNotFound):
		answer = Answer{Known: true}
	case err != nil && before.Known:
		return false
	case err != nil:
		answer = Answer{Problem: err.Error()}
	}
	known.answer = answer
	l.entries[key] = known
	return !answer.equal(before)
}

func keyOf(account *v1alpha1.TradingAccount, product string) Key {
	return Key{
		Account: types.NamespacedName{Namespace: account.Namespace, Name: account.Name},
		UID:     account.UID,
		Product: product,
	}
}
