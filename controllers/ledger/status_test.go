package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func healthy() ledger.ServerInfo {
	return ledger.ServerInfo{ServerVersion: "15.18", SchemaVersion: 3, Latest: 3, Fsync: "on", FullPageWrites: "on", SynchronousCommit: "on"}
}

func TestReport(t *testing.T) {
	server := func(edit func(*ledger.ServerInfo)) finding {
		info := healthy()
		edit(&info)
		return finding{server: info}
	}
	const t0, f, u = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	for _, test := range []struct {
		name                          string
		found                         finding
		reason                        string
		ready, stalled                bool
		resolved, reachable, migrated metav1.ConditionStatus
	}{
		{"healthy", server(func(*ledger.ServerInfo) {}), v1alpha1.ReasonReady, true, false, t0, t0, t0},
		{"no secret", finding{missing: &v1alpha1.SecretKeyReference{Name: "ledger", Key: "uri"}}, v1alpha1.ReasonLedgerSecretNotFound, false, false, f, u, u},
		{"no answer", finding{err: fmt.Errorf("%w: connection refused", database.ErrUnavailable)}, v1alpha1.ReasonLedgerUnreachable, false, false, t0, f, ""},
		{"starting up", finding{err: errors.Join(database.ErrUnavailable, &pgconn.PgError{Code: "57P03"})}, v1alpha1.ReasonLedgerUnreachable, false, false, t0, f, ""},
		{"wrong password", finding{err: errors.Join(database.ErrUnavailable, &pgconn.PgError{Code: "28P01"})}, v1alpha1.ReasonLedgerRefused, false, true, t0, f, ""},
		{"no such database", finding{err: errors.Join(database.ErrUnavailable, &pgconn.PgError{Code: "3D000"})}, v1alpha1.ReasonLedgerRefused, false, true, t0, f, ""},
		{"a URI that cannot be read", finding{err: errors.New("its scheme is not postgres")}, v1alpha1.ReasonLedgerRefused, false, true, t0, f, ""},
		{"a standby", server(func(s *ledger.ServerInfo) { s.ReadOnly = true }), v1alpha1.ReasonLedgerRefused, false, true, t0, f, ""},
		{"fsync is off", server(func(s *ledger.ServerInfo) { s.Fsync = "off" }), v1alpha1.ReasonLedgerNotDurable, false, true, t0, f, ""},
		{"synchronous_commit is off", server(func(s *ledger.ServerInfo) { s.SynchronousCommit = "off" }), v1alpha1.ReasonLedgerNotDurable, false, true, t0, f, ""},
		{"a newer schema", server(func(s *ledger.ServerInfo) { s.SchemaVersion = 4 }), v1alpha1.ReasonLedgerNewer, false, true, t0, t0, f},
		{"a migration that failed", finding{server: healthy(), migration: errors.New("no right to create")}, v1alpha1.ReasonLedgerMigration, false, true, t0, t0, f},
	} {
		t.Run(test.name, func(t *testing.T) {
			object := &v1alpha1.Ledger{ObjectMeta: metav1.ObjectMeta{Generation: 1}}
			outcome := report(object, test.found, now)
			status := reconcile.StatusOf(object)
			status.Summarize(outcome, now)
			if outcome.Reason() != test.reason || outcome.Stalled() != test.stalled {
				t.Errorf("got %s (%s), stalled %v", outcome.Reason(), outcome.Message(), outcome.Stalled())
			}
			for conditionType, wanted := range map[string]metav1.ConditionStatus{
				v1alpha1.ConditionResolvedRefs: test.resolved, v1alpha1.ConditionReachable: test.reachable, v1alpha1.ConditionMigrated: test.migrated,
			} {
				var got metav1.ConditionStatus
				if condition := status.Get(conditionType); condition != nil {
					got = condition.Status
				}
				if got != wanted {
					t.Errorf("%s is %q, want %q", conditionType, got, wanted)
				}
			}
			if (status.Get(v1alpha1.ConditionReady).Status == metav1.ConditionTrue) != test.ready {
				t.Errorf("Ready is %+v", status.Get(v1alpha1.ConditionReady))
			}
		})
	}
}

// No condition may hold what stands in the Secret, whatever goes wrong.
func TestNoConditionHoldsTheSecret(t *testing.T) {
	const password = "hunter2"
	for _, uri := range []string{
		"postgres://agent:" + password + "@127.0.0.1:1/trading",
		"postgres://agent:" + password + "@127.0.0.1:port/trading",
		"mysql://agent:" + password + "@127.0.0.1/trading",
		password,
	} {
		_, err := ledger.Info(t.Context(), uri)
		if err == nil {
			t.Fatal("a database answers where there is none")
		}
		object := &v1alpha1.Ledger{}
		reconcile.StatusOf(object).Summarize(report(object, finding{err: err}, now), now)
		for _, condition := range object.Status.Conditions {
			if strings.Contains(condition.Message, password) {
				t.Errorf("%s tells the password: %s", condition.Type, condition.Message)
			}
		}
	}
}

// A database that does not answer is asked at once, then less and less often.
func TestRetryPauses(t *testing.T) {
	object := &v1alpha1.Ledger{}
	lost := finding{err: database.ErrUnavailable}
	for _, test := range []struct{ out, pause time.Duration }{
		{0, time.Second}, {4 * time.Second, 2 * time.Second}, {40 * time.Second, 20 * time.Second}, {time.Hour, 30 * time.Second},
	} {
		got := report(object, lost, now.Add(test.out)).After()
		if got != test.pause {
			t.Errorf("after %v the pause is %v, want %v", test.out, got, test.pause)
		}
	}
}
