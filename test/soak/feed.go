package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase/coinbasetest"
)

const (
	granularity = time.Minute
	// failsOnce is one connection in so many that fails first.
	failsOnce = 20
	// freshEvery is how many connections one exchange sees: it remembers all that it
	// was asked.
	freshEvery = 50
)

// failures are the ways in which a connection fails, in turn.
var failures = []http.HandlerFunc{
	coinbasetest.HangUp, coinbasetest.CutOff, coinbasetest.Broken(http.StatusBadGateway), coinbasetest.Page, coinbasetest.ImpossibleCandle,
}

// exchange is one whose clock can be wound on.
type exchange struct {
	server *httptest.Server

	mu      sync.RWMutex
	skew    time.Duration
	current *coinbasetest.Exchange
}

func newExchange() *exchange {
	e := &exchange{}
	e.renew()
	e.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.RLock()
		defer e.mu.RUnlock()
		e.current.ServeHTTP(w, r)
	}))
	// Every request is a connection of its own.
	e.server.Config.SetKeepAlivesEnabled(false)
	e.server.Start()
	return e
}

func (e *exchange) renew() {
	e.current = &coinbasetest.Exchange{Products: []string{"BTC-USD"}, Skew: e.skew}
}

// wind lets a candle end, and the next connection fail if it is its turn.
func (e *exchange) wind(connection int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.skew += granularity
	if connection%freshEvery == 0 {
		e.renew()
	}
	e.current.Skew = e.skew
	if connection%failsOnce == 0 {
		e.current.Fail(failures[connection/failsOnce%len(failures)])
	}
}

// reconnecting is a feed that opens one of Coinbase Exchange for every bar, follows
// it for a moment and gives it up.
type reconnecting struct {
	exchange *exchange
	pair     market.Instrument
	pace     time.Duration
	history  []market.PairBar
	// made counts connections, after each of which the owner is called.
	made  int
	after func(made int) error
	due   time.Time
	last  time.Time
}

// followFor is how long a connection is followed beyond its history.
const followFor = 5 * time.Millisecond

// open connects anew and returns what is known at once.
func (r *reconnecting) open(ctx context.Context, warmUp int) ([]market.PairBar, error) {
	connection, err := coinbase.Open(ctx, []market.Instrument{r.pair}, coinbase.Options{Granularity: granularity, WarmUp: warmUp, URL: r.exchange.server.URL})
	if err != nil {
		return nil, err
	}
	follow, stop := context.WithTimeout(ctx, followFor)
	defer stop()
	if bar, err := connection.Next(follow); err == nil {
		return append(connection.History(), bar), nil
	}
	return connection.History(), ctx.Err()
}

func (r *reconnecting) History() []market.PairBar { return r.history }
func (r *reconnecting) Describe() string          { return fmt.Sprintf("connection %d", r.made) }

// Next implements market.Feed.
func (r *reconnecting) Next(ctx context.Context) (market.PairBar, error) {
	for {
		timer := time.NewTimer(time.Until(r.due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return market.PairBar{}, ctx.Err()
		}
		r.due = r.due.Add(r.pace)
		r.exchange.wind(r.made)
		bars, err := r.open(ctx, 2)
		if err != nil {
			return market.PairBar{}, err
		}
		r.made++
		if err := r.after(r.made); err != nil {
			return market.PairBar{}, err
		}
		for _, bar := range bars {
			if bar.End.After(r.last) {
				r.last = bar.End
				return bar, nil
			}
		}
	}
}
