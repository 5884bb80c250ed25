package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"go.uber.org/goleak"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

var database *postgres.Server

func TestMain(m *testing.M) {
	code := postgres.Run(m, postgres.Options{
		Migrate: func(ctx context.Context, uri string) error {
			_, err := ledger.Migrate(ctx, uri)
			return err
		},
		NoSync: true,
	}, func(s *postgres.Server) { database = s })
	if code == 0 && goleak.Find() != nil {
		code = 1
	}
	os.Exit(code)
}

var noon = time.Date(2018, 3, 5, 12, 0, 0, 0, time.UTC)

func instrument(base string) market.Instrument {
	pair, err := market.NewInstrument(base, "USD", decimal.RequireFromString("0.01"), decimal.RequireFromString("0.0001"), decimal.Zero)
	utilruntime.Must(err)
	return pair
}

func money(text string) market.Money {
	amount, err := market.MoneyOf(decimal.RequireFromString(text))
	utilruntime.Must(err)
	return amount
}

// agent is an agent as the API sees it.
type agent struct {
	status   v1alpha1.TradingStatus
	snapshot *trader.Status
	desk     *Desk
	records  ledger.Reader
	pulse    *indicator.Board
	// asked are the wishes that came; answer and err are what they lead to.
	asked  []ledger.Request
	answer trader.Closed
	err    error
}

func (a *agent) Status() v1alpha1.TradingStatus { return a.status }
func (a *agent) Snapshot() *trader.Status       { return a.snapshot }
func (a *agent) Desk() *Desk                    { return a.desk }
func (a *agent) Records() ledger.Reader         { return a.records }
func (a *agent) Pulse() *indicator.Board        { return a.pulse }
func (a *agent) Close(_ context.Context, request ledger.Request) (trader.Closed, error) {
	a.asked = append(a.asked, request)
	return a.answer, a.err
}

// gate lets everybody in with one scope and keeps what it was told to record.
type gate struct {
	scope keys.Scope
	uses  []keys.Use
	err   error
}

func (g *gate) Authenticate(*http.Request) (keys.Identity, error) {
	return keys.Identity{KeyID: "k1", Name: "test", Scope: g.scope}, g.err
}

func (g *gate) Audit(_ context.Context, use keys.Use) error {
	g.uses = append(g.uses, use)
	return nil
}

var (
	btc     = instrument("BTC")
	eth     = instrument("ETH")
	orderID = uuid.MustParse("1d17b155-4a17-5119-8099-392774789dae")
)

// traded is an agent that has decided, bought, and holds 0.5 BTC.
func traded(tb testing.TB, book ledger.Ledger) *agent {
	tb.Helper()
	lease, err := book.Acquire(tb.Context(), ledger.Agent{
		UID: "uid-a", Namespace: "desk", Name: "eur-trend", Account: "account", Venue: "Paper", Currency: "USD",
		Balance: money("10000"), Instruments: []market.Instrument{btc, eth}, Holder: "pod",
	})
	if err != nil {
		tb.Fatal(err)
	}
	said := `{"action":"Buy","confidenceMicros":812500,"judge":"builtin/quorum","reasons":["One side convinces."],"arguments":[` +
		`{"role":"Bull","model":"builtin/trend","confidenceMicros":812500,"reasons":["ADX is 31.0: 0.16 for."]},` +
		`{"role":"Bear","model":"builtin/reversion","confidenceMicros":200000,"reasons":null}]}`
	bought := order.Intent{
		ID: orderID, Account: "account", AgentUID: "uid-a", Sequence: 1, Pair: "BTC-USD", Side: order.Buy, Quantity: 20_000, Limit: 1_010_000,
		Reserved: money("20200"), MarketTime: noon, Reason: trader.OrderDecision,
	}
	steps := make([]error, 0, 8)
	steps = append(steps,
		book.Decide(tb.Context(), lease, ledger.Decision{
			Sequence: 1, Pair: "BTC-USD", BarEnd: noon, Action: "Buy", ConfidenceMicros: 812_500, Outcome: "Ordered", Reasoning: []byte(said),
		}, []order.Intent{bought}, time.Time{}),

		second(book.BookFill(tb.Context(), lease, order.Fill{
			Venue: "Paper", Account: "account", TradeID: "t1", OrderID: orderID, Pair: "BTC-USD", Side: order.Buy, Quantity: 5_000, Price: 1_000_000,
			Fee: money("3"), FeeCurrency: "USD", MarketTime: noon.Add(time.Minute),
		})),
		book.UpdateOrder(tb.Context(), lease, ledger.OrderUpdate{ID: orderID, State: order.Cancelled, VenueOrderID: "v1", Reason: trader.EndExpired, MarketTime: noon.Add(3 * time.Minute)}),
		book.Decide(tb.Context(), lease, ledger.Decision{Sequence: 2, Pair: "ETH-USD", BarEnd: noon.Add(time.Hour), Action: "Hold", Outcome: "Hold"}, nil, time.Time{}),
	)
	for hour, equity := range []string{"10000", "9997", "10003.5"} {
		steps = append(steps, book.SaveMark(tb.Context(), lease, ledger.Mark{
			Pair: "BTC-USD", MarketTime: noon.Add(time.Duration(hour) * time.Hour), Price: 1_000_000, Equity: money(equity), PeakEquity: money("10003.5"),
			DayStart: noon, DayStartEquity: money("10000"),
		}))
	}
	if err := errors.Join(steps...); err != nil {
		tb.Fatal(err)
	}
	return &agent{
		status: v1alpha1.TradingStatus{
			PodUID: "pod", ObservedGeneration: 3, Epoch: 2, ReconciledEpoch: 2, State: v1alpha1.TradingEnabled, Reason: v1alpha1.ReasonTrading,
			Loop: v1alpha1.LoopIdle, Currency: "USD", Equity: "10003.5", PNL: "3.5", Decisions: 2, Fills: 1,
		},
		snapshot: &trader.Status{Known: true, Currency: "USD", Positions: []trader.PositionStatus{
			{Instrument: btc, Position: ledger.Position{Quantity: 5_000, Cost: money("5000")}, LastPrice: 1_001_300},
		}},
		desk: &Desk{Generation: 3, Instruments: []market.Instrument{btc, eth}, Values: []v1alpha1.EffectiveValue{
			{Field: "trading", Value: "Enabled", Source: v1alpha1.SourceSpec},
		}},
		pulse: board(),
	}
}

func second[A any](_ A, err error) error { return err }

// board has seen 100 quarters of an hour of BTC-USD.
func board() *indicator.Board {
	seen := indicator.NewBoard()
	for i := range 100 {
		at := noon.Add(time.Duration(i) * 15 * time.Minute)
		price := market.Price(1_000_000 + 700*(i%7) - 900*(i%5))
		seen.Add(market.PairBar{Pair: "BTC-USD", Bar: market.Bar{Start: at, End: at.Add(15 * time.Minute), Open: price, High: price + 400, Low: price - 500, Close: price + 100}})
	}
	return seen
}

// inMemory is the agent with its records in memory.
func inMemory(t *testing.T) *agent {
	t.Helper()
	book := ledger.NewMemoryWithHistory()
	a := traded(t, book)
	a.records = book.Reader("uid-a")
	return a
}

// inPostgres is the same with its records in a database.
func inPostgres(t *testing.T) *agent {
	t.Helper()
	uri := database.Database(t)
	book, err := ledger.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(book.Close)
	a := traded(t, book)
	reader, err := ledger.OpenReader(t.Context(), func() (string, error) { return uri, nil }, "uid-a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	a.records = reader
	return a
}

func handlerOf(a *agent, door *gate) http.Handler {
	return New(Options{Namespace: "desk", Name: "eur-trend", Agent: a, Auth: door, Log: logr.Discard()})
}

// reply is the head of an answer.
type reply struct {
	StatusCode int
	Header     http.Header
}

// ask sends a request, with an idempotency key if one is given, and returns the
// answer and its body as JSON.
func ask(t *testing.T, handler http.Handler, method, target string, key ...string) (reply, map[string]any) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
	for _, value := range key {
		request.Header.Set("Idempotency-Key", value)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	response := reply{StatusCode: recorder.Code, Header: recorder.Header()}
	var body map[string]any
	if err := json.NewDecoder(recorder.Body).Decode(&body); err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	wanted := "application/json"
	if response.StatusCode >= http.StatusBadRequest {
		wanted = "application/problem+json"
	}
	if got := response.Header.Get("Content-Type"); !strings.HasPrefix(got, wanted) {
		t.Errorf("%s %s: %d with the content type %s", method, target, response.StatusCode, got)
	}
	return response, body
}
