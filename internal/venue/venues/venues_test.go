package venues_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key is what a venue hands out: the content of a Secret.
type key map[string][]byte

// keys that are well-formed and known to nobody.
func keys(t *testing.T) map[v1alpha1.Venue]key {
	t.Helper()
	return map[v1alpha1.Venue]key{
		v1alpha1.VenueCoinbase: secretOf(t, v1alpha1.VenueCoinbase),
		v1alpha1.VenueAlpaca:   secretOf(t, v1alpha1.VenueAlpaca),
		v1alpha1.VenueKraken:   secretOf(t, v1alpha1.VenueKraken),
		v1alpha1.VenueGemini:   secretOf(t, v1alpha1.VenueGemini),
	}
}

// Every venue of the API is in the table, and what the API says of it is what its
// adapter says.
func TestEveryVenueIsWired(t *testing.T) {
	if !slices.Equal(venues.Names(), v1alpha1.RealVenues()) {
		t.Fatalf("the table has %v, the API %v", venues.Names(), v1alpha1.RealVenues())
	}
	reached, err := venues.New(venues.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bitcoin := &v1alpha1.AssetPair{Spec: v1alpha1.AssetPairSpec{Base: "BTC", Quote: "USD"}}
	spelled := map[v1alpha1.Venue]string{
		v1alpha1.VenueCoinbase: "BTC-USD", v1alpha1.VenueAlpaca: "BTC/USD", v1alpha1.VenueKraken: "XBTUSD", v1alpha1.VenueGemini: "btcusd",
	}
	for name, secret := range keys(t) {
		credentials, err := venues.ParseCredentials(name, secret)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		opened, err := reached.Open(venues.Account{Venue: name, Environment: v1alpha1.EnvironmentProduction}, credentials)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if spot := opened.Traits().Spot; spot != name.IsSpot() {
			t.Errorf("%s: that only what is held can be sold is %t for the adapter and %t for the API", name, spot, name.IsSpot())
		}
		opened.Close()
		if got := venues.Symbol(name, bitcoin); got != spelled[name] {
			t.Errorf("%s spells BTC-USD as %s, want %s", name, got, spelled[name])
		}
		for other := range keys(t) {
			if _, err := reached.Open(venues.Account{Venue: other, Environment: v1alpha1.EnvironmentProduction}, credentials); (err == nil) != (other == name) {
				t.Errorf("the credentials of %s opened an account at %s: %v", name, other, err)
			}
		}
	}
	if _, err := venues.ParseCredentials("Mars", nil); err == nil || !strings.Contains(err.Error(), `"Mars" is not known`) {
		t.Errorf("got %v", err)
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	for name, secret := range keys(t) {
		credentials, err := venues.ParseCredentials(name, secret)
		if err != nil {
			t.Fatal(err)
		}
		marshalled, err := json.Marshal(map[string]any{"credentials": credentials})
		if err != nil {
			t.Fatal(err)
		}
		printed := fmt.Sprintf("%v %+v %#v %s %s", credentials, credentials, credentials, credentials, marshalled)
		if strings.Count(printed, "(credentials)") != 5 {
			t.Errorf("%s: they print as %s", name, printed)
		}
		for part, content := range secret {
			if strings.Contains(printed, strings.TrimSpace(string(content))) {
				t.Errorf("%s: %s is printed", name, part)
			}
			spoilt := maps.Clone(secret)
			spoilt[part] = []byte("canary\n" + string(content[:len(content)/2]))
			if _, err := venues.ParseCredentials(name, spoilt); err == nil || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), string(content[:12])) && name != v1alpha1.VenueCoinbase {
				t.Errorf("%s: a spoilt %s gives %v", name, part, err)
			}
		}
	}
}

func TestGateways(t *testing.T) {
	var flag venues.Gateways
	for _, text := range []string{"Kraken=https://gateway.example/kraken,Gemini=http://127.0.0.1:8080", "Alpaca=https://other.example"} {
		if err := flag.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if got := flag.String(); got != "Alpaca=https://other.example,Gemini=http://127.0.0.1:8080,Kraken=https://gateway.example/kraken" {
		t.Errorf("the flag is %s", got)
	}
	for _, wrong := range []string{"", "Kraken", "Kraken=", "Mars=https://gateway.example", "https://gateway.example", "Paper=https://gateway.example"} {
		if err := flag.Set(wrong); err == nil || !strings.Contains(err.Error(), "Kraken=https://gateway.example") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	for address, good := range map[string]bool{
		"https://gateway.example": true, "http://127.0.0.1:8080": true, "http://gateway.example": false, "https://user:pw@gateway.example": false,
	} {
		for _, name := range v1alpha1.RealVenues() {
			_, err := venues.New(venues.Options{Gateways: venues.Gateways{name: address}})
			if (err == nil) != good {
				t.Errorf("%s at %s: %v", name, address, err)
			}
			if err != nil && (strings.Contains(err.Error(), "pw") || !strings.Contains(err.Error(), "the gateway of "+string(name))) {
				t.Errorf("%s at %s: %v", name, address, err)
			}
		}
	}
}
