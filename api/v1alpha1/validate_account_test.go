package v1alpha1

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func coinbaseAccount(edit func(*TradingAccountSpec)) *TradingAccount {
	account := &TradingAccount{ObjectMeta: metav1.ObjectMeta{Name: "live"}, Spec: TradingAccountSpec{
		Venue: VenueCoinbase, LedgerRef: ObjectReference{Name: "main"},
		Coinbase: &CoinbaseAccountSpec{Environment: EnvironmentProduction, CredentialsRef: ObjectReference{Name: "coinbase"}},
	}}
	if edit != nil {
		edit(&account.Spec)
	}
	return account
}

func TestValidateTradingAccount(t *testing.T) {
	paper := &PaperAccountSpec{Currency: "USD", Balance: "10000"}
	for _, test := range []struct {
		name string
		edit func(*TradingAccountSpec)
		want []string
	}{
		{"Coinbase", nil, nil},
		{"Paper", func(s *TradingAccountSpec) { s.Venue, s.Coinbase, s.Paper = VenuePaper, nil, paper }, nil},
		{"Paper without paper", func(s *TradingAccountSpec) { s.Venue, s.Coinbase = VenuePaper, nil }, []string{"spec.paper: Required"}},
		{"Coinbase without coinbase", func(s *TradingAccountSpec) { s.Coinbase = nil }, []string{"spec.coinbase: Required"}},
		{"Coinbase with paper", func(s *TradingAccountSpec) { s.Paper = paper }, []string{"spec.paper: Forbidden"}},
		{"Paper with coinbase", func(s *TradingAccountSpec) { s.Venue, s.Paper = VenuePaper, paper }, []string{"spec.coinbase: Forbidden"}},
		{"no such venue", func(s *TradingAccountSpec) { s.Venue, s.Coinbase = "Mars", nil }, []string{`spec.venue: Unsupported value: "Mars"`}},
		{"no such environment", func(s *TradingAccountSpec) { s.Coinbase.Environment = "Test" }, []string{`spec.coinbase.environment: Unsupported value: "Test"`}},
		{"no Secret", func(s *TradingAccountSpec) { s.Coinbase.CredentialsRef.Name = "" }, []string{"spec.coinbase.credentialsRef.name: Required"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			errs := ValidateTradingAccount(coinbaseAccount(test.edit))
			if len(errs) != len(test.want) {
				t.Fatalf("got %v, want %d errors", errs, len(test.want))
			}
			for i, want := range test.want {
				if !strings.HasPrefix(errs[i].Error(), want) {
					t.Errorf("got %q, want it to begin with %q", errs[i], want)
				}
			}
		})
	}
}

// Only Production costs money, and an agent's mode says which of the two it means.
func TestModeOnCoinbase(t *testing.T) {
	production := coinbaseAccount(nil)
	sandbox := coinbaseAccount(func(s *TradingAccountSpec) { s.Coinbase.Environment = EnvironmentSandbox })
	for _, test := range []struct {
		account *TradingAccount
		mode    Mode
		want    string
	}{
		{production, ModeLive, ""},
		{production, ModePaper, "live account (venue Coinbase, Production)"},
		{sandbox, ModePaper, ""},
		{sandbox, ModeLive, "paper account (venue Coinbase, Sandbox)"},
	} {
		errs := ValidateMode(agentWith(func(s *TradingAgentSpec) { s.Mode = test.mode }), test.account)
		if (test.want == "") != (len(errs) == 0) || len(errs) > 0 && !strings.Contains(errs[0].Error(), test.want) {
			t.Errorf("%s on %s: got %v, want %q", test.mode, test.account.venueWords(), errs, test.want)
		}
	}
}
