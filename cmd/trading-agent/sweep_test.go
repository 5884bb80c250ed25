package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

func (*fixedDesk) Heard() time.Time     { return time.Now() }
func (*fixedDesk) Expect(time.Duration) {}

// halt creates halts of which nobody is told.
func (f *fixedDesk) halt(specs ...v1alpha1.TradingHaltSpec) {
	for _, spec := range specs {
		name := "stop-" + strconv.Itoa(len(f.desk.Halts))
		spec.Reason = "prices are wrong"
		f.desk.Halts = append(slices.Clip(f.desk.Halts), &v1alpha1.TradingHalt{
			ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: name, UID: types.UID(name)}, Spec: spec,
		})
	}
}

func everything(state v1alpha1.HaltState, task v1alpha1.HaltTask) v1alpha1.TradingHaltSpec {
	return v1alpha1.TradingHaltSpec{State: state, Task: task, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}}
}

// resting is a stage on which the agent trades BTC and ETH, with an order of its
// account open in each, and one in SOL, which is another agent's.
type resting struct {
	*stage
	account string
}

func newResting(t *testing.T) *resting {
	t.Helper()
	s := &resting{stage: newStage(t)}
	s.account = s.key("")
	desk := &s.watched.desk
	desk.Agent.Status.PodUID = "test"
	ether := *desk.Pairs[0].DeepCopy()
	ether.Name, ether.Spec.Base = "eth-usd", "ETH"
	desk.Pairs = append(desk.Pairs, ether)
	desk.Agent.Spec.AssetPairs = append(desk.Agent.Spec.AssetPairs, v1alpha1.AssetPairSelector{Name: "eth-usd"})
	s.played.SetBalance(s.account, "USD", decimal.NewFromInt(10_000))
	for symbol, base := range map[string]string{"XBTUSD": "BTC", "ETHUSD": "ETH", "SOLUSD": "SOL"} {
		s.played.PutProduct(exchange.Product{
			Symbol: symbol, Base: base, Quote: "USD", Tick: decimal.New(1, -1), Lot: decimal.New(1, -4),
			MinQuantity: decimal.New(1, -4), MinNotional: decimal.NewFromInt(5),
		})
		s.played.SetPrice(symbol, decimal.NewFromInt(1000))
		placement := exchange.Placement{
			Account: s.account, ClientID: uuid.NewString(), Symbol: symbol, Side: exchange.Buy, Quantity: decimal.NewFromInt(1), Limit: decimal.NewFromInt(900),
		}
		if _, _, err := s.played.Place(t.Context(), placement); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// open are the symbols of what is open.
func (s *resting) open() string {
	orders := s.played.OpenOrders(s.account)
	symbols := make([]string, 0, len(orders))
	for i := range orders {
		symbols = append(symbols, orders[i].Symbol)
	}
	slices.Sort(symbols)
	return strings.Join(symbols, " ")
}

// trade lets the agent come as far as to its ledger, which is asked by the given
// function, until the function that it returns is called.
func (s *resting) trade(ask func(context.Context) (string, error)) (stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.running.trade(ctx, s.watched, func() (string, error) { return ask(ctx) }) }()
	return func() {
		s.Helper()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			s.Error(err)
		}
	}
}

// pass lets time go by.
func (s *resting) pass(span time.Duration) {
	<-time.After(span)
	synctest.Wait()
}

func ledgerIsDown(context.Context) (string, error) { return "", ledger.ErrUnavailable }

// ledgerHangs until the process ends.
func ledgerHangs(ctx context.Context) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

// A process that comes up without its ledger has the venue cancel within a second what
// halts want cancelled, and nothing else.
func TestHaltsWithoutALedgerCancelAtTheVenue(t *testing.T) {
	const all, others = "ETHUSD SOLUSD XBTUSD", "SOLUSD"
	for name, test := range map[string]struct {
		halts   []v1alpha1.TradingHaltSpec
		trading v1alpha1.TradingState
		left    string
	}{
		"no halt":               {nil, v1alpha1.TradingEnabled, all},
		"of everything":         {[]v1alpha1.TradingHaltSpec{everything(v1alpha1.HaltHalted, "")}, v1alpha1.TradingEnabled, others},
		"that flattens":         {[]v1alpha1.TradingHaltSpec{everything(v1alpha1.HaltHalted, v1alpha1.HaltFlatten)}, v1alpha1.TradingEnabled, others},
		"that keeps orders":     {[]v1alpha1.TradingHaltSpec{everything(v1alpha1.HaltHalted, v1alpha1.HaltKeep)}, v1alpha1.TradingEnabled, all},
		"that only reduces":     {[]v1alpha1.TradingHaltSpec{everything(v1alpha1.HaltReduceOnly, "")}, v1alpha1.TradingEnabled, all},
		"of a pair":             {[]v1alpha1.TradingHaltSpec{{State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltAssetPair, Name: "eth-usd"}}}, v1alpha1.TradingEnabled, "SOLUSD XBTUSD"},
		"by the agent's own":    {nil, v1alpha1.TradingHalted, others},
		"the strictest of both": {[]v1alpha1.TradingHaltSpec{everything(v1alpha1.HaltHalted, v1alpha1.HaltKeep), everything(v1alpha1.HaltReduceOnly, "")}, v1alpha1.TradingEnabled, others},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newResting(t)
				s.watched.desk.Agent.Spec.Trading = test.trading
				s.watched.halt(test.halts...)
				stop := s.trade(ledgerIsDown)
				s.pass(time.Second)
				if open := s.open(); open != test.left {
					t.Errorf("open are %s; want %s", open, test.left)
				}
				if told := s.running.Status().Halts; len(told) != len(test.halts) {
					t.Errorf("told %+v", told)
				}
				s.pass(time.Minute)
				requests := s.played.Requests()
				if test.left == all && len(requests) > 0 {
					t.Errorf("the venue was asked for nothing: %+v", requests)
				}
				// Each sweep asks a few questions, and there is one in ten seconds.
				if most := 40; s.open() != test.left || len(requests) > most {
					t.Errorf("after a minute open are %s, and the venue was asked %d times", s.open(), len(requests))
				}
				stop()
			})
		})
	}
}

// What cannot be cancelled is said and tried again, and a halt that comes meanwhile is
// acknowledged and obeyed although the ledger hangs; nothing is told to be done before
// the ledger has said what was open.
func TestSweepsSayWhatTheyDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newResting(t)
		stop := s.trade(ledgerHangs)
		s.pass(time.Minute)
		s.fail(exchange.Fault{Kind: exchange.StatusBefore, Endpoint: exchange.EndpointCancel, Status: http.StatusServiceUnavailable})
		s.watched.halt(everything(v1alpha1.HaltHalted, ""))
		said := func(words string) {
			t.Helper()
			told := s.running.Status().Halts
			if len(told) != 1 || told[0].State != v1alpha1.HaltAcknowledged || !strings.Contains(told[0].Message, words) {
				t.Errorf("told %+v; want %q", told, words)
			}
		}
		asked := time.Now()
		s.pass(time.Second)
		said("open orders in BTC-USD, ETH-USD could not be cancelled at the venue yet")
		if told := s.running.Status().Halts; len(told) == 1 && told[0].AcknowledgedTime.Sub(asked) > time.Second {
			t.Errorf("acknowledged %s after it was created", told[0].AcknowledgedTime.Sub(asked))
		}
		s.fail()
		s.pass(2 * sweepPause)
		said("open orders in BTC-USD, ETH-USD were cancelled at the venue")
		if open := s.open(); open != "SOLUSD" {
			t.Errorf("open are %s", open)
		}
		stop()
	})
}

// A venue that takes the question whose the key is, and does not answer, holds up no
// acknowledgement.
func TestHaltsWhileTheVenueDoesNotSayWhoseTheKeyIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newResting(t)
		s.fail(exchange.Fault{Kind: exchange.DelayAnswer, Endpoint: exchange.EndpointAccount, Delay: exchange.Duration(20 * time.Second)})
		stop := s.running.obeyMeanwhile(t.Context(), s.watched)
		started := s.start(s.inCluster)
		s.pass(5 * time.Second)
		s.watched.halt(everything(v1alpha1.HaltHalted, ""))
		s.pass(time.Second)
		status := s.running.Status()
		if s.running.trading() != nil || len(status.Halts) != 1 || status.State != v1alpha1.TradingHalted {
			t.Errorf("%+v", status)
		}
		s.fail()
		started()
		stop()
	})
}
