package v1alpha1

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var share = AccountShare{Currency: "USD", Balance: "1000"}

func coinbaseAccount(edit func(*TradingAccountSpec)) *TradingAccount {
	account := &TradingAccount{ObjectMeta: metav1.ObjectMeta{Name: "live"}, Spec: TradingAccountSpec{
		Venue: VenueCoinbase, LedgerRef: ObjectReference{Name: "main"},
		Coinbase: &CoinbaseAccountSpec{EnvironmentProduction, ObjectReference{Name: "key"}, share},
	}}
	if edit != nil {
		edit(&account.Spec)
	}
	return account
}

// atVenues are accounts at every real venue.
func atVenues(environment VenueEnvironment) map[Venue]*TradingAccount {
	key := ObjectReference{Name: "key"}
	specs := map[Venue]TradingAccountSpec{
		VenueCoinbase: {Coinbase: &CoinbaseAccountSpec{environment, key, share}},
		VenueAlpaca:   {Alpaca: &AlpacaAccountSpec{environment, key, share}},
		VenueKraken:   {Kraken: &KrakenAccountSpec{environment, key, share}},
		VenueGemini:   {Gemini: &GeminiAccountSpec{environment, key, share}},
	}
	accounts := map[Venue]*TradingAccount{}
	for venue, spec := range specs {
		spec.Venue, spec.LedgerRef.Name = venue, "main"
		accounts[venue] = &TradingAccount{ObjectMeta: metav1.ObjectMeta{Name: "live"}, Spec: spec}
	}
	return accounts
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
		{"Kraken with coinbase", func(s *TradingAccountSpec) { s.Venue = VenueKraken }, []string{"spec.coinbase: Forbidden", "spec.kraken: Required"}},
		{"Coinbase with paper", func(s *TradingAccountSpec) { s.Paper = paper }, []string{"spec.paper: Forbidden"}},
		{"Paper with coinbase", func(s *TradingAccountSpec) { s.Venue, s.Paper = VenuePaper, paper }, []string{"spec.coinbase: Forbidden"}},
		{"no such venue", func(s *TradingAccountSpec) { s.Venue, s.Coinbase = "Mars", nil }, []string{`spec.venue: Unsupported value: "Mars"`}},
		{"no such environment", func(s *TradingAccountSpec) { s.Coinbase.Environment = "Test" }, []string{`spec.coinbase.environment: Unsupported value: "Test"`}},
		{"no Secret", func(s *TradingAccountSpec) { s.Coinbase.CredentialsRef.Name = "" }, []string{"spec.coinbase.credentialsRef.name: Required"}},
		{"no share", func(s *TradingAccountSpec) { s.Coinbase.AccountShare = AccountShare{} }, []string{"spec.coinbase.currency: Required", "spec.coinbase.balance: Required"}},
		{"a share of nothing", func(s *TradingAccountSpec) { s.Coinbase.Balance = "0" }, []string{`spec.coinbase.balance: Invalid value: "0"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			wants(t, ValidateTradingAccount(coinbaseAccount(test.edit)), test.want)
		})
	}
	for venue, account := range atVenues(EnvironmentProduction) {
		wants(t, ValidateTradingAccount(account), nil)
		wants(t, ValidateTradingAccount(atVenues(EnvironmentSandbox)[venue]), nil)
	}
}

func wants(t *testing.T, errs field.ErrorList, want []string) {
	t.Helper()
	if len(errs) != len(want) {
		t.Fatalf("got %v, want %d errors", errs, len(want))
	}
	for i, prefix := range want {
		if !strings.HasPrefix(errs[i].Error(), prefix) {
			t.Errorf("got %q, want it to begin with %q", errs[i], prefix)
		}
	}
}

// Every venue that the schema knows has its row, and tells how it is reached and
// what an agent begins with.
func TestAccess(t *testing.T) {
	accounts := atVenues(EnvironmentSandbox)
	if len(accounts) != len(RealVenues()) {
		t.Errorf("%d venues are tried, and there are %v", len(accounts), RealVenues())
	}
	for _, venue := range RealVenues() {
		account := accounts[venue]
		access := account.Access()
		if access == nil || access.Secret != "key" || len(access.Keys) != 2 || access.Environment != EnvironmentSandbox || access.Field != strings.ToLower(string(venue)) {
			t.Errorf("%s: %+v", venue, access)
		}
		if got := account.Share(); got == nil || *got != share {
			t.Errorf("%s: the share is %+v", venue, got)
		}
		if account.IsLive() || !atVenues(EnvironmentProduction)[venue].IsLive() {
			t.Errorf("%s: only Production costs money", venue)
		}
	}
	bare := &TradingAccount{Spec: TradingAccountSpec{Venue: VenueGemini}}
	if bare.Access() != nil || bare.Share() != nil || !bare.IsLive() {
		t.Error("an account that says nothing must count as one that costs money")
	}
	paper := &TradingAccount{Spec: TradingAccountSpec{Venue: VenuePaper, Paper: &PaperAccountSpec{Currency: "EUR", Balance: "5"}}}
	if got := paper.Share(); paper.Access() != nil || got == nil || *got != (AccountShare{"EUR", "5"}) || paper.IsLive() {
		t.Errorf("the share of a paper account is %+v", got)
	}
}

func TestValidateDirection(t *testing.T) {
	short := agentWith(func(s *TradingAgentSpec) { s.Decision = &DecisionSpec{Direction: DirectionLongShort} })
	for venue, account := range atVenues(EnvironmentProduction) {
		want := `spec.decision.direction: Invalid value: "LongShort": TradingAccount "live" is at ` + string(venue) + ", which sells only what is held; use LongOnly"
		if errs := ValidateDirection(short, account); len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("%s: got %v", venue, errs)
		}
		for _, long := range []*TradingAgent{agentWith(nil), agentWith(func(s *TradingAgentSpec) { s.Decision = &DecisionSpec{Direction: DirectionLongOnly} })} {
			if errs := ValidateDirection(long, account); len(errs) != 0 {
				t.Errorf("%s: got %v", venue, errs)
			}
		}
	}
	paper := &TradingAccount{Spec: TradingAccountSpec{Venue: VenuePaper}}
	if errs := append(ValidateDirection(short, paper), ValidateDirection(short, nil)...); len(errs) != 0 {
		t.Errorf("got %v", errs)
	}
}

// Orders at prices of the past would cost money.
func TestLiveNeedsALiveSource(t *testing.T) {
	for _, test := range []struct {
		mode   Mode
		source DataSource
		want   []string
	}{
		{ModeLive, DataSourceReplay, []string{`spec.marketData.source: Invalid value: "Replay": is a recording`}},
		{ModeLive, DataSourceCoinbase, nil},
		{ModePaper, DataSourceReplay, nil},
	} {
		wants(t, ValidateTradingAgent(agentWith(func(s *TradingAgentSpec) { s.Mode, s.MarketData.Source = test.mode, test.source })), test.want)
	}
}

// The balance of an account at a venue is what its agents' limits are held to.
func TestRiskOfAShare(t *testing.T) {
	policy := &RiskPolicy{Spec: RiskPolicySpec{Currency: "USD", Order: OrderLimits{MaxNotional: "100000"}}}
	_, atVenue := ValidateRisk(agentWith(nil), policy, coinbaseAccount(nil), nil)
	_, onPaper := ValidateRisk(agentWith(nil), policy, &TradingAccount{Spec: TradingAccountSpec{Venue: VenuePaper, Paper: &PaperAccountSpec{Currency: "USD", Balance: "1000"}}}, nil)
	if len(onPaper) == 0 || !slices.Equal(atVenue, onPaper) {
		t.Errorf("at a venue: %v, on paper: %v", atVenue, onPaper)
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
