package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/shopspring/decimal"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// pace is how often each agent has a bar, and so may decide.
const pace = 250 * time.Millisecond

// placed is what a worker answers when it is asked: when each of its agents last
// sent an order, in nanoseconds of the Unix time, and how many it has sent.
type placed struct {
	Last  []int64 `json:"last"`
	Count []int64 `json:"count"`
}

// countingVenue notes when orders are sent.
type countingVenue struct {
	*paper.Venue
	last, count atomic.Int64
}

// Place implements venue.Venue.
func (v *countingVenue) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	v.last.Store(time.Now().UnixNano())
	v.count.Add(1)
	return v.Venue.Place(ctx, request)
}

// coin rules by the last price alone, so that an agent trades without a pause.
type coin struct{}

// Name implements decision.Judge.
func (coin) Name() string { return "bench/coin" }

// Rule implements decision.Judge.
func (coin) Rule(_ context.Context, bull, bear decision.Argument, view decision.View) (decision.Ruling, error) {
	hash := fnv.New32a()
	_, _ = fmt.Fprintf(hash, "%d", view.Fast.Close)
	action := []decision.Action{decision.Buy, decision.Sell}[hash.Sum32()%2]
	return decision.Ruling{Action: action, ConfidenceMicros: 900_000, Judge: "bench/coin", Arguments: []decision.Argument{bull, bear}}, nil
}

// walk is an endless random walk of minute bars, one each pace.
type walk struct {
	random *rand.Rand
	at     time.Time
	price  market.Price
	pair   string
	ticker *time.Ticker
}

func newWalk(pair string, seed uint64) *walk {
	return &walk{
		random: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // prices of a benchmark
		at:     time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), price: 10_000, pair: pair,
	}
}

func (w *walk) bar() market.PairBar {
	open := w.price
	w.price = max(open+market.Price(w.random.IntN(41)-20), 1000)
	start := w.at
	w.at = start.Add(time.Minute)
	return market.PairBar{Pair: w.pair, Bar: market.Bar{Start: start, End: w.at, Open: open, Close: w.price, High: max(open, w.price) + 5, Low: min(open, w.price) - 5}}
}

// History implements market.Feed.
func (w *walk) History() []market.PairBar {
	bars := make([]market.PairBar, 500)
	for i := range bars {
		bars[i] = w.bar()
	}
	return bars
}

// Describe implements market.Feed.
func (w *walk) Describe() string { return "a random walk" }

// Next implements market.Feed.
func (w *walk) Next(ctx context.Context) (market.PairBar, error) {
	if w.ticker == nil {
		w.ticker = time.NewTicker(pace)
	}
	select {
	case <-ctx.Done():
		w.ticker.Stop()
		return market.PairBar{}, ctx.Err()
	case <-w.ticker.C:
		return w.bar(), nil
	}
}

// work runs agents until its input ends, and answers each line of it.
func work(ctx context.Context, opts options) error {
	config, err := clientcmd.BuildConfigFromFlags("", opts.kubeconfig)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	venues := make([]*countingVenue, opts.to-opts.from)
	for i := range venues {
		if venues[i], err = runAgent(ctx, group, config, opts.worker, opts.from+i); err != nil {
			return fmt.Errorf("%s: %w", agentName(opts.from+i), err)
		}
	}
	group.Go(func() error {
		lines := bufio.NewScanner(os.Stdin)
		answers := json.NewEncoder(os.Stdout)
		for lines.Scan() {
			answer := placed{Last: make([]int64, len(venues)), Count: make([]int64, len(venues))}
			for i, v := range venues {
				answer.Last[i], answer.Count[i] = v.last.Load(), v.count.Load()
			}
			if err := answers.Encode(answer); err != nil {
				return err
			}
		}
		return context.Canceled
	})
	return group.Wait()
}

// runAgent starts the link and the trader of one agent, with the rights that its
// pod would have.
func runAgent(ctx context.Context, group *errgroup.Group, base *rest.Config, namespace string, index int) (*countingVenue, error) {
	config := rest.CopyConfig(base)
	config.QPS, config.Burst = 5, 20
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + agentName(index) + "-trader",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		Extra:    map[string][]string{"authentication.kubernetes.io/pod-uid": {podUID(index)}},
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	writer, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	agent := &v1alpha1.TradingAgent{}
	if err := writer.Get(ctx, client.ObjectKey{Namespace: namespace, Name: agentName(index)}, agent); err != nil {
		return nil, err
	}
	identity := link.Identity{Namespace: namespace, Name: agent.Name, UID: agent.UID}
	watcher, err := link.NewWatcher(ctx, config, identity)
	if err != nil {
		return nil, err
	}
	settings := trader.Settings{Trading: risk.Enabled, Generation: 1, Limits: risk.NoLimits()}
	settings.Limits.MaxDataAge, settings.Limits.MaxPositionFraction = time.Hour, 100_000_000
	shell, counted, err := newTrader(agent, settings, uint64(index)) //nolint:gosec // never negative
	if err != nil {
		return nil, err
	}
	group.Go(func() error { return watcher.Run(ctx) })
	group.Go(func() error {
		if !watcher.WaitForSync(ctx) {
			return nil
		}
		inner, ctx := errgroup.WithContext(ctx)
		inner.Go(func() error { return shell.Run(ctx) })
		inner.Go(func() error { return obey(ctx, watcher, shell, settings) })
		inner.Go(func() error {
			status := func() v1alpha1.TradingStatus { return shell.Status().API(podUID(index)) }
			return link.NewReporter(writer, watcher, identity, link.DefaultReportInterval, logr.Discard()).Run(ctx, status, shell.Changed())
		})
		return inner.Wait()
	})
	return counted, nil
}

func newTrader(agent *v1alpha1.TradingAgent, settings trader.Settings, seed uint64) (*trader.Shell, *countingVenue, error) {
	instrument, err := market.NewInstrument("EUR", "USD", decimal.RequireFromString("0.01"), decimal.RequireFromString("0.001"), decimal.Zero)
	if err != nil {
		return nil, nil, err
	}
	debate, err := decision.NewDebate(v1alpha1.DefaultBullModel, v1alpha1.DefaultBearModel, v1alpha1.DefaultJudgeModel)
	if err != nil {
		return nil, nil, err
	}
	debate.Judge = coin{}
	const balance = 10_000 * market.MoneyUnit
	config := trader.Config{
		Agent: ledger.Agent{UID: string(agent.UID), Namespace: agent.Namespace, Name: agent.Name, Account: "account", Venue: paper.Name,
			Currency: "USD", Balance: balance, Instruments: []market.Instrument{instrument}, Holder: "bench"},
		Interval: time.Minute, LongShort: true, Risk: 10_000_000, Stop: 500_000_000, Debate: debate, Settings: settings,
	}
	simulated, err := paper.New(paper.NewMemoryBook(), paper.Config{
		Account: "account", Currency: "USD", Balance: balance, Spread: 500_000, Seed: 1, Instruments: config.Agent.Instruments,
	})
	if err != nil {
		return nil, nil, err
	}
	counted := &countingVenue{Venue: simulated}
	shell, err := trader.NewShell(config, trader.Options{
		Ledger: ledger.NewMemory(), Venue: counted,
		Feed: func(map[string]time.Time) (market.Feed, error) { return newWalk(instrument.Pair, seed), nil },
	})
	return shell, counted, err
}

// obey puts every halt that binds in force, as cmd/trading-agent does.
func obey(ctx context.Context, watcher *link.Watcher, shell *trader.Shell, settings trader.Settings) error {
	latch := &link.Latch{}
	for {
		desk, err := watcher.Desk(ctx)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		settings.Halts = nil
		for _, bound := range latch.See(&desk) {
			settings.Halts = append(settings.Halts, trader.NewHalt(string(bound.UID), bound.Name, &bound.Spec, bound.Pairs))
		}
		settings.Generation = desk.Agent.Generation
		shell.Update(settings)
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Changes():
		}
	}
}
