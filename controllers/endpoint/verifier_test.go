package endpoint

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

var (
	alice  = types.NamespacedName{Namespace: "desk", Name: "alice"}
	works  = Answer{Known: true, Verified: true, Reason: v1alpha1.ReasonVerified}
	broken = Answer{Known: true, Reason: v1alpha1.ReasonEndpointUnreachable, Message: "the connection is refused"}
)

// world answers as it is told, and notes what was tried.
type world struct {
	mu       sync.Mutex
	answer   Answer
	tried    []time.Time
	at, most int
	takes    time.Duration
}

func (w *world) try(ctx context.Context, _ Target) Answer {
	w.mu.Lock()
	w.tried = append(w.tried, time.Now())
	w.at++
	w.most = max(w.most, w.at)
	takes := w.takes
	w.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at--
	return w.answer
}

func (w *world) is(answer Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

func (w *world) times() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.tried)
}

// verifying runs a verifier inside a bubble, where time costs nothing.
func verifying(t *testing.T, test func(t *testing.T, verifier *Verifier, around *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		around := &world{answer: works}
		verifier := NewVerifier(around.try)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- verifier.Start(ctx) }()
		test(t, verifier, around)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func pass(span time.Duration) { <-time.After(span) }

// news counts the changes that were told so far.
func news(verifier *Verifier) int {
	synctest.Wait()
	for told := 0; ; told++ {
		select {
		case <-verifier.Changes():
		default:
			return told
		}
	}
}

func TestEndpointIsTriedBesideThePass(t *testing.T) {
	verifying(t, func(t *testing.T, verifier *Verifier, around *world) {
		t.Helper()
		around.takes = 3 * time.Second
		target := &Target{Host: "eur.desk.example.com"}
		if got := verifier.Look(alice, target); got != (Answer{}) {
			t.Fatalf("known before it was tried: %+v", got)
		}
		pass(4 * time.Second)
		if news(verifier) != 1 || verifier.Look(alice, target) != works {
			t.Errorf("after the trial it is %+v", verifier.Look(alice, target))
		}
		pass(time.Hour)
		// Every ten to twelve minutes, without a word while nothing changes.
		if times := around.times(); times < 5 || times > 7 || news(verifier) != 0 {
			t.Errorf("tried %d times in an hour", times)
		}
	})
}

func TestOneFailureIsNoNews(t *testing.T) {
	verifying(t, func(t *testing.T, verifier *Verifier, around *world) {
		t.Helper()
		target := &Target{Host: "eur.desk.example.com"}
		verifier.Look(alice, target)
		pass(time.Second)
		news(verifier)
		around.is(broken)
		for before := around.times(); around.times() == before; {
			pass(time.Second)
		}
		if news(verifier) != 0 || verifier.Look(alice, target) != works {
			t.Error("one failure is told")
		}
		pass(30 * time.Second)
		if news(verifier) != 1 || verifier.Look(alice, target) != broken {
			t.Errorf("after failures in a row it is %+v", verifier.Look(alice, target))
		}
		before := around.times()
		pass(time.Hour)
		if times := around.times() - before; times < 8 || times > 20 {
			t.Errorf("tried %d times in an hour of failure", times)
		}
		around.is(works)
		pass(6*time.Minute + time.Second)
		if news(verifier) != 1 || verifier.Look(alice, target) != works {
			t.Error("it works again, and nobody is told")
		}
	})
}

func TestWhatIsTriedAtOnce(t *testing.T) {
	verifying(t, func(t *testing.T, verifier *Verifier, around *world) {
		t.Helper()
		target := Target{Host: "eur.desk.example.com", Revision: "1", Pod: "a"}
		for _, step := range []struct {
			name   string
			change func(*Target)
			tries  int
		}{
			{"first", func(*Target) {}, 1},
			{"nothing", func(*Target) {}, 0},
			{"a new certificate", func(t *Target) { t.Revision = "2" }, 1},
			{"no pod", func(t *Target) { t.Pod = "" }, 0},
			{"another pod", func(t *Target) { t.Pod = "b" }, 1},
			{"another host", func(t *Target) { t.Host = "btc.desk.example.com" }, 1},
		} {
			before := around.times()
			step.change(&target)
			answer := verifier.Look(alice, new(target))
			if step.name == "another host" && answer != (Answer{}) {
				t.Errorf("the answer of the former host is taken for it: %+v", answer)
			}
			pass(time.Second)
			if tries := around.times() - before; tries != step.tries {
				t.Errorf("%s: tried %d times, want %d", step.name, tries, step.tries)
			}
		}
		verifier.Look(alice, nil)
		before := around.times()
		pass(time.Hour)
		if tries := around.times() - before; tries != 0 {
			t.Errorf("tried %d times after it was forgotten", tries)
		}
	})
}

func TestOnePoolForAllAgents(t *testing.T) {
	verifying(t, func(t *testing.T, verifier *Verifier, around *world) {
		t.Helper()
		around.takes = time.Minute
		for i := range 50 {
			agent := types.NamespacedName{Namespace: "desk", Name: string(rune('a'+i/26)) + string(rune('a'+i%26))}
			verifier.Look(agent, &Target{Host: agent.Name + ".example.com"})
		}
		pass(time.Hour)
		around.mu.Lock()
		defer around.mu.Unlock()
		if around.most != workers {
			t.Errorf("%d were tried at once, want %d", around.most, workers)
		}
		if first := around.tried[workers].Sub(around.tried[0]); first > verifyTimeout {
			t.Errorf("a trial took %s, its limit is %s", first, verifyTimeout)
		}
	})
}
