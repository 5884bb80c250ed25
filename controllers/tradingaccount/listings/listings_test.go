package listings

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// teller is a venue that answers as it is told and counts what it is asked.
type teller struct {
	mu    sync.Mutex
	tick  string
	err   error
	asked int
}

func (v *teller) ask(context.Context, Key) (venue.Product, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	return venue.Product{PriceIncrement: decimal.RequireFromString(v.tick), BaseIncrement: decimal.New(1, 0)}, v.err
}

func (v *teller) set(tick string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tick, v.err = tick, err
}

func (v *teller) times() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

func account(uid types.UID) *v1alpha1.TradingAccount {
	return &v1alpha1.TradingAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "live", UID: uid}}
}

// bubble runs a test with a clock that moves on when all wait.
func bubble(t *testing.T, test func(*teller, *Listings)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		asked := &teller{tick: "0.01"}
		known := New(asked.ask)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- known.Start(ctx) }()
		test(asked, known)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// after lets time pass.
func after(pause time.Duration) {
	<-time.After(pause)
	synctest.Wait()
}

func changes(known *Listings) int {
	count := 0
	for {
		select {
		case <-known.Changes():
			count++
		default:
			return count
		}
	}
}

func TestAsksOnceForAll(t *testing.T) {
	bubble(t, func(asked *teller, known *Listings) {
		for range 100 {
			if answer := known.Look(account("1"), "BTC-USD"); answer.Known {
				t.Fatal("it is known before the venue was asked")
			}
		}
		synctest.Wait()
		answer := known.Look(account("1"), "BTC-USD")
		if !answer.Known || !answer.Listed || answer.Product.PriceIncrement.String() != "0.01" {
			t.Errorf("got %+v", answer)
		}
		if asked.times() != 1 || changes(known) != 1 {
			t.Errorf("the venue was asked %d times", asked.times())
		}
		after(freshFor + freshFor/2)
		if asked.times() != 2 || changes(known) != 0 {
			t.Errorf("asked %d times, want a second time, and nobody woken for the same answer", asked.times())
		}
		asked.set("0.1", nil)
		after(freshFor + freshFor/2)
		if changes(known) != 1 || known.Look(account("1"), "BTC-USD").Product.PriceIncrement.String() != "0.1" {
			t.Error("the new increment did not arrive")
		}
	})
}

func TestTriesAgainUntilAnswered(t *testing.T) {
	bubble(t, func(asked *teller, known *Listings) {
		asked.set("0.01", fmt.Errorf("%w: dial", venue.ErrUnreachable))
		known.Look(account("1"), "BTC-USD")
		after(10 * time.Minute)
		answer := known.Look(account("1"), "BTC-USD")
		if answer.Known || answer.Problem != "the venue does not answer: dial" {
			t.Errorf("got %+v", answer)
		}
		if n := asked.times(); n < 8 || n > 12 {
			t.Errorf("asked %d times within ten minutes, want growing pauses", n)
		}
		if n := changes(known); n != 1 {
			t.Errorf("woken %d times by the same problem", n)
		}
		asked.set("0.01", nil)
		// A pause has some jitter.
		after(2 * maxPause)
		if answer = known.Look(account("1"), "BTC-USD"); !answer.Known || answer.Problem != "" || changes(known) != 1 {
			t.Errorf("got %+v", answer)
		}
		// What the venue has said stands while it is away.
		asked.set("0.01", venue.ErrUnreachable)
		after(time.Hour)
		if answer = known.Look(account("1"), "BTC-USD"); !answer.Known || changes(known) != 0 {
			t.Errorf("got %+v", answer)
		}
	})
}

func TestHonoursRetryAfter(t *testing.T) {
	bubble(t, func(asked *teller, known *Listings) {
		asked.set("0.01", &venue.RateLimitedError{After: time.Minute})
		known.Look(account("1"), "BTC-USD")
		after(59 * time.Second)
		if n := asked.times(); n != 1 {
			t.Errorf("asked %d times, though the exchange wants to be left alone", n)
		}
		after(15 * time.Second)
		if n := asked.times(); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
	})
}

func TestDelistedAndListedAgain(t *testing.T) {
	bubble(t, func(asked *teller, known *Listings) {
		asked.set("0.01", venue.ErrNoSuchThing)
		known.Look(account("1"), "BTC-USD")
		synctest.Wait()
		if answer := known.Look(account("1"), "BTC-USD"); !answer.Known || answer.Listed {
			t.Errorf("got %+v", answer)
		}
		asked.set("0.01", nil)
		after(poorFor + poorFor/2)
		if answer := known.Look(account("1"), "BTC-USD"); !answer.Listed {
			t.Errorf("got %+v", answer)
		}
	})
}

func TestKeepsWhatIsTraded(t *testing.T) {
	bubble(t, func(asked *teller, known *Listings) {
		other := account("2")
		other.Name = "other"
		for _, product := range []string{"BTC-USD", "ETH-USD"} {
			known.Look(account("1"), product)
		}
		known.Look(other, "BTC-USD")
		synctest.Wait()
		known.Keep(account("1"), []string{"ETH-USD"})
		if len(known.entries) != 3 {
			t.Errorf("%d entries: what an agent has looked at a moment ago must stay", len(known.entries))
		}
		after(2 * lookedGrace)
		known.Keep(account("1"), []string{"ETH-USD"})
		if len(known.entries) != 2 || !known.Look(account("1"), "ETH-USD").Known || !known.Look(other, "BTC-USD").Known {
			t.Errorf("kept %v", known.entries)
		}
		before := asked.times()
		after(freshFor + freshFor/2)
		if got := asked.times(); got != before+2 {
			t.Errorf("the venue was asked %d times about what is traded, want 2", got-before)
		}
	})
}

func TestForgetsAnAccountThatIsGone(t *testing.T) {
	bubble(t, func(asked *teller, known *Listings) {
		known.Look(account("1"), "BTC-USD")
		synctest.Wait()
		asked.set("0.01", ErrGone)
		after(time.Hour)
		if len(known.entries) != 0 || asked.times() != 2 {
			t.Errorf("kept %v and asked %d times", known.entries, asked.times())
		}
	})
}

// An answer that the account's credentials kept away is asked for again as soon
// as the account says that they are right.
func TestKeepAsksAgainWhereNoAnswerWasHad(t *testing.T) {
	bubble(t, func(asked *teller, known *Listings) {
		asked.set("0.01", venue.ErrRefused)
		known.Look(account("1"), "BTC-USD")
		after(10 * time.Minute)
		asked.set("0.01", nil)
		known.Keep(account("1"), []string{"BTC-USD"})
		synctest.Wait()
		if answer := known.Look(account("1"), "BTC-USD"); !answer.Known {
			t.Errorf("got %+v", answer)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	var none *Listings
	none.Keep(account("1"), nil)
	if answer := none.Look(account("1"), "BTC-USD"); answer.Known {
		t.Errorf("got %+v", answer)
	}
}
