package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/kraken"
)

// within carries requests to a handler without a network, so that time can be made up.
type within struct{ http.Handler }

func (w within) RoundTrip(request *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	if request.Body == nil {
		request = request.Clone(request.Context())
		request.Body = http.NoBody
	}
	w.ServeHTTP(recorder, request)
	return recorder.Result(), nil
}

// fixedDesk is what an API server says of an agent.
type fixedDesk struct {
	desk    link.Desk
	changes chan struct{}
}

func (*fixedDesk) WaitForSync(context.Context) bool          { return true }
func (f *fixedDesk) Changes() <-chan struct{}                { return f.changes }
func (f *fixedDesk) Desk(context.Context) (link.Desk, error) { return f.desk, nil }

// stage is an agent that starts at a simulated Kraken.
type stage struct {
	*testing.T

	played  *exchange.Exchange
	keys    string
	reached *venues.Venues
	running *process
	watched *fixedDesk
	kept    books
}

func newStage(t *testing.T) *stage {
	t.Helper()
	manifests, err := link.LoadFiles(t.Context(), []string{liveDesk(t, "Paper", "Sandbox", replayed)})
	if err != nil {
		t.Fatal(err)
	}
	desk, err := manifests.Desk(&manifests.Agents[0])
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{T: t, played: exchange.New(kraken.Options()), keys: t.TempDir(), kept: memoryBooks()}
	s.watched = &fixedDesk{desk, make(chan struct{}, 1)}
	s.reached, err = venues.New(venues.Options{
		Gateways: venues.Gateways{v1alpha1.VenueKraken: "http://127.0.0.1:1"}, Transport: within{s.played.Handler(kraken.New(s.played))},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.restart()
	return s
}

// restart puts a new process in the place of the one before.
func (s *stage) restart() {
	s.running = newProcess("test", market.NewLibrary(nil), logr.Discard())
	s.running.route = route{s.reached, s.keys}
}

// key puts a key of an account into the files, of a new one if none is given, and
// returns the account.
func (s *stage) key(account string) string {
	s.Helper()
	name, secret, made := kraken.NewKey(func(k *exchange.Key) {
		k.Environment = "Sandbox"
		if account != "" {
			k.Account = account
		}
	})
	s.played.PutKey(made)
	for file, text := range map[string]string{v1alpha1.KrakenAPIKey: name, v1alpha1.KrakenPrivateKey: secret} {
		if err := os.WriteFile(filepath.Join(s.keys, file), []byte(text), 0o600); err != nil {
			s.Fatal(err)
		}
	}
	return made.Account
}

// inCluster and fromFiles are the two ways to start.
func (s *stage) inCluster(ctx context.Context) (*trader.Shell, error) {
	shell, _, err := s.running.awaitStart(ctx, s.watched, s.kept)
	return shell, err
}

func (s *stage) fromFiles(ctx context.Context) (*trader.Shell, error) {
	return s.running.startFromFiles(ctx, &s.watched.desk, s.kept)
}

// start lets the agent start until the function that it returns is called, which
// holds that there is a trader by then.
func (s *stage) start(way func(context.Context) (*trader.Shell, error)) (started func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := way(ctx)
		ended <- err
	}()
	return func() {
		s.Helper()
		<-time.After(2 * mostAskPause)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil || s.running.trading() == nil {
			s.Errorf("the agent has not started: %v, and waits with %s", err, s.running.Status().Reason)
		}
	}
}

// fail has the venue not answer, or answer again.
func (s *stage) fail(faults ...exchange.Fault) {
	s.Helper()
	if err := s.played.SetFaults(faults...); err != nil {
		s.Fatal(err)
	}
}

// waits holds that the agent waits for this reason.
func (s *stage) waits(reason string) {
	s.Helper()
	<-time.After(3 * mostAskPause)
	synctest.Wait()
	if status := s.running.Status(); status.Reason != reason || s.running.trading() != nil {
		s.Errorf("the agent waits with %s (%s), want %s", status.Reason, status.Message, reason)
	}
}

// A process that starts again trades on the account that the operator has verified,
// and on no other; while the venue does not say whose the key is, it waits and obeys.
func TestARestartKeepsToItsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		account := s.key("")
		s.watched.desk.Account.Status.VenueAccount = &v1alpha1.VenueAccountStatus{ID: venueIDOf(s)}
		s.fail(exchange.Fault{Kind: exchange.StatusBefore})
		started := s.start(s.inCluster)
		s.waits(v1alpha1.ReasonVenueUnreachable)
		s.watched.desk.Halts = []v1alpha1.Halt{&v1alpha1.TradingHalt{
			ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "stop", UID: "halt-uid"},
			Spec:       v1alpha1.TradingHaltSpec{State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}, Reason: "prices are wrong"},
		}}
		s.watched.changes <- struct{}{}
		synctest.Wait()
		if state := s.running.Status().State; state != v1alpha1.TradingHalted {
			t.Errorf("while the venue does not answer a halt is told as %s", state)
		}
		s.watched.desk.Halts = nil
		s.fail()
		s.key("")
		s.waits(v1alpha1.ReasonVenueAccountChanged)
		s.key(account)
		started()
	})
}

// Where no status names the account, as in files, the ledger knows on which one the
// agent has traded.
func TestTheLedgerKnowsTheAgentsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		account := s.key("")
		s.start(s.fromFiles)()
		s.restart()
		s.key("")
		if _, err := s.fromFiles(t.Context()); !isReason(err, v1alpha1.ReasonVenueAccountChanged) {
			t.Errorf("with a key of another account: %v", err)
		}
		started := s.start(s.inCluster)
		s.waits(v1alpha1.ReasonVenueAccountChanged)
		s.key(account)
		started()
	})
}

func isReason(err error, reason string) bool {
	wrong, ok := errors.AsType[*venues.CredentialsError](err)
	return ok && wrong.Reason == reason
}

// Without an API server a venue that does not answer is waited for as well.
func TestAnAgentOfFilesWaitsForItsVenue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.key("")
		s.fail(exchange.Fault{Kind: exchange.StatusBefore, Status: http.StatusTooManyRequests, RetryAfter: 20})
		started := s.start(s.fromFiles)
		s.waits(v1alpha1.ReasonVenueRateLimited)
		s.fail()
		started()
	})
}

// venueIDOf is the id of the account whose key is in the files, in the venue's words.
func venueIDOf(s *stage) string {
	s.Helper()
	access := s.watched.desk.Account.Access()
	opened, err := s.reached.OpenKeyed(s.Context(), venues.Account{Venue: v1alpha1.VenueKraken}, *access, s.keys, logr.Discard())
	if err != nil {
		s.Fatal(err)
	}
	defer opened.Close()
	return opened.ID()
}

// What waiting may mend is waited for, and a venue is asked less and less often.
func TestWhatHoldsAStart(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		before time.Duration
		reason string
		pause  time.Duration
	}{
		"no file":               {&venues.CredentialsError{Reason: v1alpha1.ReasonCredentialsNotFound}, mostAskPause, v1alpha1.ReasonCredentialsNotFound, leastAskPause},
		"another account":       {&venues.CredentialsError{Reason: v1alpha1.ReasonVenueAccountChanged}, 0, v1alpha1.ReasonVenueAccountChanged, leastAskPause},
		"a refused key, again":  {&venues.CredentialsError{Reason: v1alpha1.ReasonCredentialsRefused}, leastAskPause, v1alpha1.ReasonCredentialsRefused, 2 * leastAskPause},
		"no answer for long":    {&venues.UnverifiedError{Reason: v1alpha1.ReasonVenueUnreachable}, mostAskPause, v1alpha1.ReasonVenueUnreachable, mostAskPause},
		"asked to wait":         {&venues.UnverifiedError{Reason: v1alpha1.ReasonVenueRateLimited, After: 5 * time.Minute}, 0, v1alpha1.ReasonVenueRateLimited, 5 * time.Minute},
		"no ledger":             {ledger.ErrUnavailable, mostAskPause, v1alpha1.ReasonLedgerUnavailable, leastAskPause},
		"what nobody waits for": {errors.New("the manifests cannot be understood"), 0, "", 0},
		"nothing":               {nil, 0, "", 0},
	} {
		if reason, pause := held(test.err, test.before); reason != test.reason || pause != test.pause {
			t.Errorf("%s: got %q and %s, want %q and %s", name, reason, pause, test.reason, test.pause)
		}
	}
}
