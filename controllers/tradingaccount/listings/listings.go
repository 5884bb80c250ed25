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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

const (
	// freshFor is how long an answer is gone by: venues change increments a few
	// times a year, and close products within minutes rather than seconds.
	freshFor = 10 * time.Minute
	// poorFor is how long an answer is gone by that keeps an agent from starting.
	poorFor = 2 * time.Minute
	// Bounds of the pause before a question is asked again that found no answer.
	minPause = time.Second
	maxPause = 5 * time.Minute
	// lookedGrace is how long an agent that has looked may be unknown to others.
	lookedGrace = time.Minute
	// askTimeout bounds one question.
	askTimeout = 15 * time.Second
	// workers ask at once: a question waits for a venue most of its time.
	workers = 4
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
	Product venue.Product
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
type Ask func(context.Context, Key) (venue.Product, error)

// Listings are the answers. A nil one knows nothing and asks nobody.
type Listings struct {
	*reconcile.Asker[Key]

	ask Ask

	mu      sync.Mutex
	entries map[Key]entry
}

// New makes listings that are empty until Start runs.
func New(ask Ask) *Listings {
	l := &Listings{ask: ask, entries: map[Key]entry{}}
	l.Asker = reconcile.NewAsker(reconcile.AskerOptions{Workers: workers, Timeout: askTimeout, MinPause: minPause, MaxPause: maxPause}, l.deal)
	return l
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
		l.Put(key)
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
				l.Put(key)
			}
		case time.Since(known.looked) > lookedGrace:
			delete(l.entries, key)
		}
	}
}

// deal puts one question to a venue, and tells the account of a new answer.
func (l *Listings) deal(ctx context.Context, key Key) reconcile.Asked {
	if !l.wanted(key) {
		return reconcile.Asked{}
	}
	product, err := l.ask(ctx, key)
	if errors.Is(err, ErrGone) {
		l.drop(key)
		return reconcile.Asked{}
	}
	asked := again(product, err)
	if l.learn(key, product, err) {
		asked.News = []client.Object{&v1alpha1.TradingAccount{ObjectMeta: metav1.ObjectMeta{Namespace: key.Account.Namespace, Name: key.Account.Name}}}
	}
	return asked
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
}

// again says when a question is put again after this answer.
func again(product venue.Product, err error) reconcile.Asked {
	if limited, ok := errors.AsType[*venue.RateLimitedError](err); ok {
		return reconcile.Asked{Again: limited.After}
	}
	switch {
	case err != nil && !errors.Is(err, venue.ErrNoSuchThing):
		return reconcile.Asked{Failed: true}
	case err != nil, product.Untradable != "":
		return reconcile.Asked{Again: poorFor}
	}
	return reconcile.Asked{Again: freshFor}
}

// learn stores an answer and reports whether it differs from the last. A question
// that found no answer takes nothing away from what is known.
func (l *Listings) learn(key Key, product venue.Product, err error) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, asked := l.entries[key]
	before := known.answer
	if !asked {
		return false
	}
	answer := Answer{Known: true, Listed: true, Product: product}
	switch {
	case errors.Is(err, venue.ErrNoSuchThing):
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
