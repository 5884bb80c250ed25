package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// outbox is a ledger's news; it fails as often as it is told to.
type outbox struct {
	mu    sync.Mutex
	news  []ledger.News
	fails int
	reads int
}

var errDown = errors.New("down")

func (o *outbox) NewsAfter(_ context.Context, after int64, most int) ([]ledger.News, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	if o.fails > 0 {
		o.fails--
		return nil, errDown
	}
	var found []ledger.News
	for _, n := range o.news {
		if n.ID > after && len(found) < most {
			found = append(found, n)
		}
	}
	return found, nil
}

func (o *outbox) LatestNews(_ context.Context, most int) ([]ledger.News, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fails > 0 {
		o.fails--
		return nil, errDown
	}
	return o.news[max(0, len(o.news)-most):], nil
}

func (o *outbox) commit(id int64, topic, key, payload string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.news = append(o.news, ledger.News{ID: id, Topic: topic, Key: key, Payload: []byte(payload), RecordedAt: noon})
}

func (o *outbox) fail(times int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fails = times
}

func (o *outbox) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads
}

// herald runs a herald until the world ends.
func (w *world) herald(source ledger.NewsReader) *Herald {
	w.t.Helper()
	h := NewHerald(w.hub, logr.Discard())
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx, source) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the herald ended with %v", err)
		}
	})
	return h
}

func TestHeraldTellsWhatWasCommitted(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		source := &outbox{}
		source.commit(3, "Order", "o1", `{"state":"Intended","pair":"BTC-USD"}`)
		h := w.herald(source)
		p := w.login()
		p.say(`{"subscribe":["fills","orders","decisions"]}`)
		p.expect("subscribed", "")
		source.commit(5, "Decision", "12", `{"pair":"BTC-USD","action":"Buy","barEnd":"2026-03-05T12:00:00Z"}`)
		source.commit(8, "Gossip", "x", `{}`)
		source.commit(9, "Order", "o1", `{"state":"Sent"}`)
		source.commit(11, "Fill", "t1", `{"order":"o1","price":"7.10","state":"Filled","marketTime":"2026-03-05T12:00:00Z"}`)
		h.Wake()
		p.expect("decisions", `{"action":"Buy","pair":"BTC-USD","sequence":12,"time":"2026-03-05T12:00:00Z"}`)
		order := p.expect("orders", `{"id":"o1","state":"Sent"}`)
		if want := "9." + w.hub.boot + ".2"; order.ID != want || !order.Time.Equal(noon) {
			w.t.Errorf("id %s at %s, want %s", order.ID, order.Time, want)
		}
		p.expect("fills", `{"orderID":"o1","orderState":"Filled","price":"7.10","time":"2026-03-05T12:00:00Z","tradeID":"t1"}`)

		// What is older than the process is told to who missed it.
		p = w.login()
		p.say(`{"subscribe":["orders"],"after":"2.before.9"}`)
		p.expect("subscribed", "")
		p.expect("orders", `{"id":"o1","pair":"BTC-USD","state":"Intended"}`)
		p.expect("orders", `{"id":"o1","state":"Sent"}`)
	})
}

func TestHeraldWaitsForTheLedger(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		source := &outbox{fails: 5}
		h := w.herald(source)
		source.commit(1, "Fill", "t1", `{}`)
		<-time.After(time.Minute)
		p := w.login()
		p.say(`{"subscribe":["fills"]}`)
		p.expect("subscribed", "")
		source.fail(3)
		source.commit(2, "Fill", "t2", `{}`)
		h.Wake()
		p.expect("fills", `{"tradeID":"t2"}`)
	})
}

func TestHeraldReadsManyNewsInParts(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		source := &outbox{}
		h := w.herald(source)
		p := w.login()
		p.say(`{"subscribe":["fills"]}`)
		p.expect("subscribed", "")
		const many = 2*heraldPart + 7
		for id := range int64(many) {
			source.commit(id+1, "Fill", fmt.Sprint("t", id+1), `{}`)
		}
		for range 100 { // Many commits, few reads.
			h.Wake()
			<-time.After(time.Millisecond)
		}
		for id := range many {
			p.expect("fills", fmt.Sprintf(`{"tradeID":"t%d"}`, id+1))
		}
		if reads := source.count(); reads > 9 {
			w.t.Errorf("%d reads", reads)
		}
	})
}

func TestTellerPublishesOnlyWhatChanges(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		teller := NewTeller(w.hub)
		p := w.login()
		p.say(`{"subscribe":["status","positions","equity"]}`)
		p.expect("subscribed", "")
		status := v1alpha1.TradingStatus{State: v1alpha1.TradingReduceOnly, Reason: "Recovering", Epoch: 2}
		teller.Status(&status)
		p.expect("status", `{"state":"ReduceOnly","reason":"Recovering","epoch":2,"decisions":0,"fills":0,"openOrders":0}`)
		teller.Status(&status)
		status = v1alpha1.TradingStatus{
			State: v1alpha1.TradingEnabled, Reason: "Trading", Epoch: 2, ReconciledEpoch: 2, Currency: "USD",
			Equity: "10001", PNL: "1", DrawdownFraction: "0",
			Positions: []v1alpha1.PositionStatus{{Pair: "BTC-USD", Quantity: "-0.5", AveragePrice: "100", LastPrice: "98"}},
		}
		teller.Status(&status)
		p.expect("status", `{"state":"Enabled","reason":"Trading","epoch":2,"reconciledEpoch":2,"decisions":0,"fills":0,"openOrders":0}`)
		p.expect("positions", `{"positions":[{"pair":"BTC-USD","quantity":"-0.5","averagePrice":"100"}]}`)
		p.expect("equity", `{"currency":"USD","equity":"10001","pnl":"1","drawdownFraction":"0"}`)
		status.Positions[0].LastPrice, status.Equity, status.PNL = "97", "10001.5", "1.5"
		teller.Status(&status)
		p.expect("equity", `{"currency":"USD","equity":"10001.5","pnl":"1.5","drawdownFraction":"0"}`)
		status.Positions = nil
		teller.Status(&status)
		p.expect("positions", `{"positions":[]}`)
	})
}

func TestTellerQuotesBars(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		btc, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("0.01"), decimal.RequireFromString("0.0001"), decimal.Zero)
		if err != nil {
			w.t.Fatal(err)
		}
		teller := NewTeller(w.hub)
		bar := market.Bar{Start: noon, End: noon.Add(time.Minute), Open: 700_000, High: 700_200, Low: 699_900, Close: 700_100}
		teller.Bar(btc, bar)
		bar.Bid, bar.Ask, bar.Volume = 700_050, 700_150, 25_000
		teller.Bar(btc, bar)
		p := w.login()
		p.say(`{"subscribe":["quotes"]}`)
		p.expect("subscribed", "")
		p.expect("quotes", `{"pair":"BTC-USD","start":"2026-03-05T12:00:00Z","end":"2026-03-05T12:01:00Z","open":"7000","high":"7002","low":"6999","close":"7001","bid":"7000.5","ask":"7001.5","volume":"2.5"}`)
	})
}
