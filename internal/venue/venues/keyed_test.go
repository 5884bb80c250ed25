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
	for name, simulator := range simulators {
		t.Run(string(name), func(t *testing.T) {
			played := exchange.New(simulator.options())
			server := httptest.NewServer(played.Handler(simulator.front(played)))
			t.Cleanup(server.Close)
			first, id := accountOf(t, name, played, "")
			folder, log := t.TempDir(), &written{}
			if err := os.Mkdir(filepath.Join(folder, "key"), 0o700); err != nil {
				t.Fatal(err)
			}
			inside := filepath.Join(folder, "key")
			write(t, inside, first)
			reached, err := venues.New(venues.Options{Gateways: venues.Gateways{name: server.URL}, LookEvery: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
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
	reached, err := venues.New(venues.Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := secretOf(t, v1alpha1.VenueKraken)
	access := v1alpha1.VenueAccess{Environment: v1alpha1.EnvironmentProduction, Secret: "key", Keys: slices.Sorted(maps.Keys(good))}
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
