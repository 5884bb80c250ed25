package venues_test

import (
	"context"
	"errors"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/alpaca"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/gemini"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/kraken"
)

// simulators play the venues.
var simulators = map[v1alpha1.Venue]struct {
	options func() exchange.Options
	front   func(*exchange.Exchange) exchange.Front
}{
	v1alpha1.VenueCoinbase: {coinbase.Options, func(e *exchange.Exchange) exchange.Front { return coinbase.New(e) }},
	v1alpha1.VenueAlpaca:   {alpaca.Options, func(e *exchange.Exchange) exchange.Front { return alpaca.New(e) }},
	v1alpha1.VenueKraken:   {kraken.Options, func(e *exchange.Exchange) exchange.Front { return kraken.New(e) }},
	v1alpha1.VenueGemini:   {gemini.Options, func(e *exchange.Exchange) exchange.Front { return gemini.New(e) }},
}

// secretOf makes a key that no exchange knows.
func secretOf(t *testing.T, name v1alpha1.Venue) key {
	t.Helper()
	secret, _ := accountOf(t, name, nil, "")
	return secret
}

// accountOf makes a key to an account, a new one if none is given.
func accountOf(t *testing.T, name v1alpha1.Venue, known *exchange.Exchange, account string) (key, string) {
	t.Helper()
	edit := func(k *exchange.Key) {
		k.Environment = "Sandbox"
		if account != "" {
			k.Account = account
		}
	}
	var first, second string
	var made exchange.Key
	switch name {
	case v1alpha1.VenueCoinbase:
		var err error
		if first, second, made, err = coinbase.NewKey(edit); err != nil {
			t.Fatal(err)
		}
	case v1alpha1.VenueAlpaca:
		first, second, made = alpaca.NewKey(edit)
	case v1alpha1.VenueKraken:
		first, second, made = kraken.NewKey(edit)
	case v1alpha1.VenueGemini:
		first, second, made = gemini.NewKey(edit)
	default:
		t.Fatalf("%s has no simulator", name)
	}
	if known != nil {
		known.PutKey(made)
	}
	names := map[v1alpha1.Venue][]string{
		v1alpha1.VenueCoinbase: {v1alpha1.CoinbaseKeyName, v1alpha1.CoinbasePrivateKey},
		v1alpha1.VenueAlpaca:   {v1alpha1.AlpacaKeyID, v1alpha1.AlpacaSecretKey},
		v1alpha1.VenueKraken:   {v1alpha1.KrakenAPIKey, v1alpha1.KrakenPrivateKey},
		v1alpha1.VenueGemini:   {v1alpha1.GeminiAPIKey, v1alpha1.GeminiAPISecret},
	}[name]
	return key{names[0]: []byte(first), names[1]: []byte(second)}, made.Account
}

// written is a log that can be read while it is written.
type written struct {
	mu    sync.Mutex
	lines []string
}

func (w *written) logger() logr.Logger {
	return funcr.New(func(_, line string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lines = append(w.lines, line)
	}, funcr.Options{})
}

func (w *written) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

// simulated is the way to a simulator of a venue.
func simulated(t *testing.T, name v1alpha1.Venue) (*venues.Venues, *exchange.Exchange) {
	t.Helper()
	played := exchange.New(simulators[name].options())
	server := httptest.NewServer(played.Handler(simulators[name].front(played)))
	t.Cleanup(server.Close)
	reached, err := venues.New(venues.Options{Gateways: venues.Gateways{name: server.URL}, LookEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return reached, played
}

func write(t *testing.T, folder string, secret key) {
	t.Helper()
	for name, text := range secret {
		// A kubelet changes the files of a Secret together; the second is last here.
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A key that is rotated in its files is taken without a restart, if the venue says
// that it is for the same account; whatever else is put there is not, and the log
// says why without a word of it.
func TestRotatedKeys(t *testing.T) {
	for name := range simulators {
		t.Run(string(name), func(t *testing.T) {
			reached, played := simulated(t, name)
			first, id := accountOf(t, name, played, "")
			folder, log := t.TempDir(), &written{}
			if err := os.Mkdir(filepath.Join(folder, "key"), 0o700); err != nil {
				t.Fatal(err)
			}
			inside := filepath.Join(folder, "key")
			write(t, inside, first)
			access := v1alpha1.VenueAccess{Environment: v1alpha1.EnvironmentSandbox, Secret: "key", Keys: slices.Sorted(maps.Keys(first))}
			opened, err := reached.OpenKeyed(t.Context(), venues.Account{Venue: name}, access, folder, log.logger())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(opened.Close)
			says(t, opened)

			stranger, _ := accountOf(t, name, played, "")
			write(t, inside, stranger)
			eventually(t, log, func() bool { return strings.Contains(log.text(), "the agent trades on") })
			says(t, opened)
			write(t, inside, secretOf(t, name))
			eventually(t, log, func() bool { return strings.Contains(log.text(), venue.ErrRefused.Error()) })
			says(t, opened)
			broken := maps.Clone(first)
			broken[access.Keys[0]] = []byte("canary!")
			write(t, inside, broken)
			eventually(t, log, func() bool { return strings.Contains(log.text(), `Secret \"key\": `) })
			says(t, opened)

			rotated, _ := accountOf(t, name, played, id)
			write(t, inside, rotated)
			eventually(t, log, func() bool { return strings.Contains(log.text(), "the new ones are in use") })
			says(t, opened)
			for _, secret := range []key{first, stranger, broken, rotated} {
				for part, text := range secret {
					if strings.Contains(log.text(), strings.TrimSpace(string(text))) {
						t.Errorf("the log has the %s: %s", part, log.text())
					}
				}
			}
		})
	}
}

// says makes sure that the account can be used.
func says(t *testing.T, opened venue.Checker) {
	t.Helper()
	if said, err := opened.Account(t.Context()); err != nil || said.ID == "" || !said.CanTrade {
		t.Errorf("the account is %+v, %v", said, err)
	}
}

func eventually(t *testing.T, log *written, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-ctx.Done():
			t.Fatalf("what was waited for did not come; the log:\n%s", log.text())
		case <-tick.C:
		}
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	reached, played := simulated(t, v1alpha1.VenueKraken)
	good, _ := accountOf(t, v1alpha1.VenueKraken, played, "")
	access := v1alpha1.VenueAccess{Environment: v1alpha1.EnvironmentSandbox, Secret: "key", Keys: slices.Sorted(maps.Keys(good))}
	for name, test := range map[string]struct {
		change func(key)
		reason string
		says   string
	}{
		"all is there":     {func(key) {}, "", ""},
		"one is missing":   {func(k key) { delete(k, v1alpha1.KrakenPrivateKey) }, v1alpha1.ReasonCredentialsNotFound, `the file with "private-key" of Secret "key" does not exist: `},
		"one is empty":     {func(k key) { k[v1alpha1.KrakenAPIKey] = nil }, v1alpha1.ReasonCredentialsInvalid, "is empty or too long"},
		"one is no key":    {func(k key) { k[v1alpha1.KrakenPrivateKey] = []byte("canary!") }, v1alpha1.ReasonCredentialsInvalid, `Secret "key": the private key is not in base64`},
		"one is very long": {func(k key) { k[v1alpha1.KrakenAPIKey] = make([]byte, 1<<20) }, v1alpha1.ReasonCredentialsInvalid, "is empty or too long"},
	} {
		folder, secret := t.TempDir(), maps.Clone(good)
		test.change(secret)
		// The files may be in the directory itself.
		write(t, folder, secret)
		opened, err := reached.OpenKeyed(t.Context(), venues.Account{Venue: v1alpha1.VenueKraken}, access, folder, logr.Discard())
		if test.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			opened.Close()
			continue
		}
		wrong, ok := errors.AsType[*venues.CredentialsError](err)
		if !ok || wrong.Reason != test.reason || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// saidOf is the id that a venue says of the account that a key is for.
func saidOf(t *testing.T, reached *venues.Venues, name v1alpha1.Venue, secret key) string {
	t.Helper()
	credentials, err := venues.ParseCredentials(name, secret)
	if err != nil {
		t.Fatal(err)
	}
	said, err := reached.Account(t.Context(), name, v1alpha1.EnvironmentSandbox, credentials)
	if err != nil {
		t.Fatal(err)
	}
	return said.ID
}

// strike replaces an exchange's faults by one, or by none.
func strike(t *testing.T, played *exchange.Exchange, fault *exchange.Fault) {
	t.Helper()
	var faults []exchange.Fault
	if fault != nil {
		faults = append(faults, *fault)
	}
	if err := played.SetFaults(faults...); err != nil {
		t.Fatal(err)
	}
}

// Whoever starts goes by the key that is there only if the venue says that it is for
// the account that is known, and asks again where the venue does not say.
func TestTheAccountIsVerifiedAtTheStart(t *testing.T) {
	for name := range simulators {
		reached, played := simulated(t, name)
		first, account := accountOf(t, name, played, "")
		rotated, _ := accountOf(t, name, played, account)
		stranger, _ := accountOf(t, name, played, "")
		id, other := saidOf(t, reached, name, first), saidOf(t, reached, name, stranger)
		for what, test := range map[string]struct {
			secret key
			known  string
			fault  *exchange.Fault
			want   string
		}{
			"nothing is known yet":          {first, "", nil, ""},
			"the same key":                  {first, id, nil, ""},
			"another key of the account":    {rotated, id, nil, ""},
			"another account's key":         {stranger, id, nil, v1alpha1.ReasonVenueAccountChanged},
			"a key that nobody knows":       {secretOf(t, name), id, nil, v1alpha1.ReasonCredentialsRefused},
			"no answer":                     {first, id, &exchange.Fault{Kind: exchange.StatusBefore}, v1alpha1.ReasonVenueUnreachable},
			"no answer, and nothing known":  {first, "", &exchange.Fault{Kind: exchange.StatusBefore}, v1alpha1.ReasonVenueUnreachable},
			"an answer of another language": {first, id, &exchange.Fault{Kind: exchange.BodyBefore, Body: "<html>"}, v1alpha1.ReasonVenueAnswerUnknown},
		} {
			t.Run(string(name)+", "+what, func(t *testing.T) {
				strike(t, played, test.fault)
				folder := t.TempDir()
				write(t, folder, test.secret)
				access := v1alpha1.VenueAccess{Environment: v1alpha1.EnvironmentSandbox, Secret: "key", Keys: slices.Sorted(maps.Keys(first))}
				opened, err := reached.OpenKeyed(t.Context(), venues.Account{Venue: name, ID: test.known}, access, folder, logr.Discard())
				if err == nil {
					t.Cleanup(opened.Close)
				}
				wrong, isWrong := errors.AsType[*venues.CredentialsError](err)
				away, isAway := errors.AsType[*venues.UnverifiedError](err)
				switch {
				case test.want == "":
					if err != nil || opened.ID() != id || opened.BoundTo(id) != nil || opened.BoundTo(other) == nil {
						t.Errorf("got %v, want account %s", err, id)
					}
				case test.fault != nil:
					if !isAway || away.Reason != test.want {
						t.Errorf("got %v, want %s", err, test.want)
					}
				default:
					if !isWrong || wrong.Reason != test.want || !strings.Contains(err.Error(), `Secret "key"`) {
						t.Errorf("got %v, want %s", err, test.want)
					}
				}
				for part, text := range test.secret {
					if err != nil && strings.Contains(err.Error(), strings.TrimSpace(string(text))) {
						t.Errorf("the error has the %s: %v", part, err)
					}
				}
			})
		}
	}
}
