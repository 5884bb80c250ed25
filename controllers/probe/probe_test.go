package probe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
)

// provider answers as it is told, and notes what it was asked.
type provider struct {
	mu       sync.Mutex
	coverage coinbase.Coverage
	err      error
	asked    []time.Time
	at       int
	most     int
	takes    time.Duration
}

func (p *provider) Cover(ctx context.Context, _ coinbase.Span) (coinbase.Coverage, error) {
	p.mu.Lock()
	p.asked = append(p.asked, time.Now())
	p.at++
	p.most = max(p.most, p.at)
	takes := p.takes
	p.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at--
	if ctx.Err() != nil {
		return coinbase.Coverage{}, ctx.Err()
	}
	return p.coverage, p.err
}

func (p *provider) Unreachable(error) string { return "does not answer" }

func (p *provider) tell(coverage coinbase.Coverage, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.coverage, p.err = coverage, err
}

func (p *provider) times() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Time(nil), p.asked...)
}

var (
	good  = coinbase.Coverage{Age: 20 * time.Second, Reaches: true}
	alice = types.NamespacedName{Namespace: "desk", Name: "alice"}
	bob   = types.NamespacedName{Namespace: "desk", Name: "bob"}
)

func question(base string) Question {
	return Question{Source: v1alpha1.DataSourceCoinbase, Span: coinbase.Span{Base: base, Quote: "USD", Granularity: time.Minute, Past: time.Hour}}
}

// probing runs a prober inside a bubble.
func probing(t *testing.T, test func(t *testing.T, prober *Prober, asked *provider)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		asked := &provider{coverage: good}
		prober := New(map[v1alpha1.DataSource]Provider{v1alpha1.DataSourceCoinbase: asked})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- prober.Start(ctx) }()
		test(t, prober, asked)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// pass lets time pass in a bubble, where it costs nothing.
func pass(span time.Duration) { <-time.After(span) }

// news takes the agents that were woken so far.
func news(prober *Prober) []string {
	synctest.Wait()
	var woken []string
	for {
		select {
		case change := <-prober.Changes():
			woken = append(woken, change.Object.GetNamespace()+"/"+change.Object.GetName())
		default:
			return woken
		}
	}
}

func TestAnswersComeBesideThePass(t *testing.T) {
	probing(t, func(t *testing.T, prober *Prober, asked *provider) {
		t.Helper()
		asked.takes = 3 * time.Second
		if got := prober.Look(alice, question("BTC")); got[0] != (Answer{}) {
			t.Fatalf("known before it was asked: %+v", got)
		}
		prober.Look(bob, question("BTC"))
		pass(5 * time.Second)
		if woken := news(prober); len(woken) != 2 {
			t.Errorf("woken are %v", woken)
		}
		if got := prober.Look(alice, question("BTC")); got[0] != (Answer{Known: true, Listed: true, Coverage: good}) {
			t.Errorf("got %+v", got)
		}
		if times := asked.times(); len(times) != 1 {
			t.Errorf("one question of two agents was asked %d times", len(times))
		}
		// While anybody waits, it is asked again, and the same answer is no news.
		pass(time.Hour)
		if times := asked.times(); len(times) < 5 || len(times) > 8 {
			t.Errorf("asked %d times in an hour", len(times))
		}
		if woken := news(prober); len(woken) != 0 {
			t.Errorf("woken are %v", woken)
		}
	})
}

func TestNobodyAsksForWhoIsGone(t *testing.T) {
	probing(t, func(t *testing.T, prober *Prober, asked *provider) {
		t.Helper()
		prober.Look(alice, question("BTC"), question("ETH"))
		prober.Look(bob, question("BTC"))
		pass(time.Minute)
		prober.Look(alice)
		pass(time.Hour)
		// BTC goes on for Bob, ETH does not.
		if times := asked.times(); len(times) < 6 || len(times) > 9 {
			t.Errorf("asked %d times", len(times))
		}
		prober.Look(bob)
		pass(time.Hour)
		before := len(asked.times())
		pass(time.Hour)
		if after := len(asked.times()); after != before || len(prober.entries) != 0 || len(prober.asked) != 0 {
			t.Errorf("asked %d times more, %d entries are kept", after-before, len(prober.entries))
		}
	})
}

func TestFailuresAreRepeatedWithGrowingPauses(t *testing.T) {
	probing(t, func(t *testing.T, prober *Prober, asked *provider) {
		t.Helper()
		asked.tell(coinbase.Coverage{}, errors.New("connection refused"))
		prober.Look(alice, question("BTC"))
		pass(time.Hour)
		times := asked.times()
		for i := 2; i < len(times); i++ {
			pause, before := times[i].Sub(times[i-1]), times[i-1].Sub(times[i-2])
			if pause > 6*time.Minute || (before < time.Minute && pause < before) {
				t.Errorf("pause %d is %s after %s", i, pause, before)
			}
		}
		if len(times) < 15 || len(times) > 25 {
			t.Errorf("asked %d times in an hour", len(times))
		}
		if got := prober.Look(alice, question("BTC")); got[0] != (Answer{Problem: "does not answer"}) {
			t.Errorf("got %+v", got)
		}
		if woken := news(prober); len(woken) != 1 {
			t.Errorf("the same trouble woke %v", woken)
		}
		asked.tell(good, nil)
		pass(10 * time.Minute)
		if woken := news(prober); len(woken) != 1 {
			t.Errorf("woken are %v", woken)
		}
		asked.tell(coinbase.Coverage{}, fmt.Errorf("no: %w", coinbase.ErrNotListed))
		pass(20 * time.Minute)
		if got := prober.Look(alice, question("BTC")); got[0] != (Answer{Known: true}) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWorkersAreBounded(t *testing.T) {
	probing(t, func(t *testing.T, prober *Prober, asked *provider) {
		t.Helper()
		asked.takes = 10 * time.Second
		for i := range 20 {
			prober.Look(types.NamespacedName{Name: strconv.Itoa(i)}, question(fmt.Sprintf("C%d", i)))
		}
		pass(time.Minute)
		if len(asked.times()) != 20 || asked.most != workers {
			t.Errorf("%d questions, at most %d at once", len(asked.times()), asked.most)
		}
	})
}

func TestSlowProviderIsGivenUp(t *testing.T) {
	probing(t, func(t *testing.T, prober *Prober, asked *provider) {
		t.Helper()
		asked.takes = time.Hour
		prober.Look(alice, question("BTC"))
		pass(time.Minute)
		if got := prober.Look(alice, question("BTC")); got[0].Problem == "" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestNilProber(t *testing.T) {
	var prober *Prober
	if got := prober.Look(alice, question("BTC")); len(got) != 1 || got[0] != (Answer{}) {
		t.Errorf("got %+v", got)
	}
}
