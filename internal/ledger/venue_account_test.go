package ledger_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// An agent is bound to the first account at its venue, whoever has its epoch.
func TestVenueAccountsAreBoundOnce(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			accounts := b.(ledger.VenueAccounts)
			bind := func(agent, id, want string) {
				t.Helper()
				if got, err := accounts.BindVenueAccount(t.Context(), agent, id); err != nil || got != want {
					t.Errorf("%s is bound to %q, %v, want %q", agent, got, err, want)
				}
			}
			bind("uid-a", "first", "first")
			acquire(t, b, trader("a", btc))
			bind("uid-a", "second", "first")
			bind("uid-a", "first", "first")
			bind("uid-b", "second", "second")
			for _, wrong := range [][2]string{{"", "first"}, {"uid-c", ""}} {
				if got, err := accounts.BindVenueAccount(t.Context(), wrong[0], wrong[1]); err == nil {
					t.Errorf("%q is bound to %q", wrong, got)
				}
			}
			var wait sync.WaitGroup
			got := make([]string, 4)
			for i := range got {
				wait.Go(func() {
					var err error
					if got[i], err = accounts.BindVenueAccount(t.Context(), "uid-d", strconv.Itoa(i)); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			if strings.Join(got, "") != strings.Repeat(got[0], len(got)) {
				t.Errorf("at once one agent was bound to %q", got)
			}
		})
	}
}

func TestABoundVenueAccountStays(t *testing.T) {
	b, _ := openLedger(t)
	if _, err := b.BindVenueAccount(t.Context(), "uid-a", "first"); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE trading.venue_accounts SET venue_account = 'second'`, `DELETE FROM trading.venue_accounts`, `TRUNCATE trading.venue_accounts`,
	} {
		if err := exec(t, b, statement); err == nil {
			t.Errorf("%s was done", statement)
		}
	}
}
