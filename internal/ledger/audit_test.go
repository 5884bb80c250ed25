package ledger_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// usesOf are the recorded uses as text, the oldest first.
func usesOf(t *testing.T, b book) []string {
	t.Helper()
	var found []string
	if kept, ok := b.(*ledger.Memory); ok {
		for _, use := range kept.Uses("uid-a") {
			found = append(found, use.Outcome+" "+use.KeyID+" "+use.Method+" "+use.Path)
		}
	} else {
		found = query[[]string](t, b, `SELECT coalesce(array_agg(outcome || ' ' || key_id || ' ' || method || ' ' || path ORDER BY id), '{}')
			FROM trading.api_uses WHERE agent_uid = 'uid-a'`)
	}
	return found
}

func closing(outcome string, status int) ledger.Use {
	return ledger.Use{
		Request: uuid.NewSHA1(uuid.Nil, []byte("request")), Outcome: outcome, KeyID: "abcd2345", KeyName: "desk", Scope: "trade",
		Method: "POST", Path: "/api/v1/positions/BTC-USD/close", Status: status,
	}
}

func TestUsesAreRecordedOnce(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			audit := b.(ledger.Audit)
			if err := audit.RecordUse(t.Context(), "uid-a", closing("Begun", 0)); !errors.Is(err, ledger.ErrUnknownAgent) {
				t.Errorf("for an agent that the ledger does not know: %v", err)
			}
			lease := acquire(t, b, trader("a", btc))
			for _, use := range []ledger.Use{closing("Begun", 0), closing("Begun", 0), closing("Done", 202), closing("Done", 202)} {
				if err := audit.RecordUse(t.Context(), lease.Agent.UID, use); err != nil {
					t.Fatal(err)
				}
			}
			// Another process has taken over; what is asked of this one is recorded still.
			acquire(t, b, trader("a", btc))
			other := closing("Forbidden", 403)
			other.Request = uuid.NewSHA1(uuid.Nil, []byte("another"))
			if err := audit.RecordUse(t.Context(), lease.Agent.UID, other); err != nil {
				t.Fatal(err)
			}
			const what = " abcd2345 POST /api/v1/positions/BTC-USD/close"
			if diff := cmp.Diff([]string{"Begun" + what, "Done" + what, "Forbidden" + what}, usesOf(t, b)); diff != "" {
				t.Errorf("uses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUsesThatSayTooMuchOrTooLittleAreRefused(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			acquire(t, b, trader("a", btc))
			for name, change := range map[string]func(*ledger.Use){
				"a query":            func(u *ledger.Use) { u.Path += "?token=x" },
				"no key":             func(u *ledger.Use) { u.KeyID = "" },
				"the scope read":     func(u *ledger.Use) { u.Scope = "read" },
				"an unknown outcome": func(u *ledger.Use) { u.Outcome = "Lost" },
				"an early status":    func(u *ledger.Use) { u.Status = 200 },
				"no status":          func(u *ledger.Use) { u.Outcome = "Done" },
			} {
				use := closing("Begun", 0)
				change(&use)
				if err := b.(ledger.Audit).RecordUse(t.Context(), "uid-a", use); err == nil {
					t.Errorf("a use with %s was recorded", name)
				}
			}
			if found := usesOf(t, b); len(found) != 0 {
				t.Errorf("recorded: %v", found)
			}
		})
	}
}

func TestDatabaseKeepsUses(t *testing.T) {
	b, _ := openLedger(t)
	acquire(t, b, trader("a", btc))
	if err := b.RecordUse(t.Context(), "uid-a", closing("Begun", 0)); err != nil {
		t.Fatal(err)
	}
	for name, statement := range map[string]string{
		"a changed use":  `UPDATE trading.api_uses SET key_name = 'another'`,
		"a deleted use":  `DELETE FROM trading.api_uses`,
		"emptied uses":   `TRUNCATE trading.api_uses`,
		"a query":        `INSERT INTO trading.api_uses (agent_uid, request, outcome, key_id, key_name, scope, method, path) SELECT agent_uid, gen_random_uuid(), outcome, key_id, key_name, scope, method, '/?token=x' FROM trading.api_uses`,
		"Done for Begun": `INSERT INTO trading.api_uses (agent_uid, request, outcome, key_id, key_name, scope, method, path) SELECT agent_uid, request, 'Done', key_id, key_name, scope, method, path FROM trading.api_uses`,
	} {
		if err := exec(t, b, statement); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestLastUsesOnlyMoveForward(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			audit := b.(ledger.Audit)
			if err := audit.SaveLastUses(t.Context(), "uid-a", map[string]time.Time{"k1": noon}); !errors.Is(err, ledger.ErrUnknownAgent) {
				t.Errorf("for an agent that the ledger does not know: %v", err)
			}
			acquire(t, b, trader("a", btc))
			acquire(t, b, trader("b", eth))
			later := noon.Add(time.Minute)
			var wait sync.WaitGroup
			for _, uses := range []map[string]time.Time{{"k1": noon, "k2": later}, {"k1": later}, {"k1": noon}, {"k2": noon}, {}} {
				wait.Go(func() {
					if err := audit.SaveLastUses(t.Context(), "uid-a", uses); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			if err := audit.SaveLastUses(t.Context(), "uid-b", map[string]time.Time{"k1": noon}); err != nil {
				t.Fatal(err)
			}
			got, err := audit.LastUses(t.Context(), "uid-a")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]time.Time{"k1": later, "k2": later}, got); diff != "" {
				t.Errorf("last uses (-want +got):\n%s", diff)
			}
		})
	}
}
