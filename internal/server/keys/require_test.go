package keys

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

// fakeRecord is a ledger that may be down.
type fakeRecord struct {
	down  error
	uses  []Use
	last  map[string]time.Time
	saves int
}

func (f *fakeRecord) Audit(_ context.Context, use Use) error {
	if f.down == nil {
		f.uses = append(f.uses, use)
	}
	return f.down
}

func (f *fakeRecord) LastUses(context.Context) (map[string]time.Time, error) { return f.last, f.down }

func (f *fakeRecord) SaveLastUses(_ context.Context, uses map[string]time.Time) error {
	if f.down != nil {
		return f.down
	}
	f.saves++
	if f.last == nil {
		f.last = map[string]time.Time{}
	}
	maps.Copy(f.last, uses)
	return nil
}

func (f *fakeRecord) words() []string {
	words := make([]string, 0, len(f.uses))
	for _, use := range f.uses {
		words = append(words, fmt.Sprintf("%s %s %s %s %s %d", use.Outcome, use.KeyName, use.Scope, use.Method, use.Path, use.Status))
	}
	return words
}

func TestRequire(t *testing.T) {
	entries := Entries{}
	key := map[Scope]string{}
	for _, scope := range []Scope{Read, Trade, Admin} {
		_, key[scope] = created(t, entries, string(scope)+"-key", scope, 0, time.Now())
	}
	const path = "/api/v1/positions/EUR-USD/close"
	for name, c := range map[string]struct {
		needs   Scope
		key     string
		status  int
		header  string
		value   string
		detail  string
		records []string
	}{
		"read with read":   {Read, key[Read], 202, "", "", "", nil},
		"read with admin":  {Read, key[Admin], 202, "", "", "", nil},
		"trade with trade": {Trade, key[Trade], 202, "", "", "", []string{"Begun trade-key trade POST " + path + " 0", "Done trade-key trade POST " + path + " 202"}},
		"trade with admin": {Trade, key[Admin], 202, "", "", "", []string{"Begun admin-key trade POST " + path + " 0", "Done admin-key trade POST " + path + " 202"}},
		"trade with read": {Trade, key[Read], 403, "WWW-Authenticate", `Bearer realm="trading-agent", error="insufficient_scope", scope="trade"`,
			"needs a key with the scope trade", []string{"Forbidden read-key trade POST " + path + " 403"}},
		"admin with trade": {Admin, key[Trade], 403, "WWW-Authenticate", `Bearer realm="trading-agent", error="insufficient_scope", scope="admin"`,
			"needs a key with the scope admin", []string{"Forbidden trade-key admin POST " + path + " 403"}},
		"no key":    {Trade, "", 401, "WWW-Authenticate", `Bearer realm="trading-agent"`, "Authorization: Bearer KEY", nil},
		"wrong key": {Trade, "nonsense", 401, "WWW-Authenticate", `Bearer realm="trading-agent", error="invalid_token"`, "no valid API key", nil},
	} {
		t.Run(name, func(t *testing.T) {
			record := &fakeRecord{}
			keyring := NewKeyring(Options{Record: record})
			keyring.Replace(entries)
			called := 0
			handler := Require(c.needs, keyring, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				called++
				if identity, ok := FromContext(r.Context()); !ok || !identity.Allows(c.needs) {
					t.Errorf("the handler got %+v, %t", identity, ok)
				}
				if c.needs != Read && len(record.uses) != 1 {
					t.Error("the request was carried out before it was on record")
				}
				if r.Header.Get("Authorization") != "" {
					t.Error("the handler sees the key")
				}
				w.WriteHeader(http.StatusAccepted)
			}))
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://host"+path+"?x=1", nil)
			if c.key != "" {
				r.Header.Set("Authorization", "Bearer "+c.key)
			}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, r)
			if answer.Code != c.status || (called == 1) != (c.status == 202) {
				t.Errorf("%d, handler called %d times: %s", answer.Code, called, answer.Body)
			}
			if c.status >= 400 && answer.Header().Get("Content-Type") != problem.ContentType {
				t.Errorf("the problem is a %s", answer.Header().Get("Content-Type"))
			}
			if c.header != "" && answer.Header().Get(c.header) != c.value || !strings.Contains(answer.Body.String(), c.detail) {
				t.Errorf("%s: %s\n%s", c.header, answer.Header().Get(c.header), answer.Body)
			}
			if diff := cmp.Diff(c.records, record.words(), cmp.Transformer("none", func(s []string) string { return strings.Join(s, "\n") })); diff != "" {
				t.Errorf("on record (-want +got):\n%s", diff)
			}
			if len(record.uses) == 2 && record.uses[0].Request != record.uses[1].Request {
				t.Error("Begun and Done are of two requests")
			}
		})
	}
}

// onlyAuthenticates is an Authenticator that is no Auditor.
type onlyAuthenticates struct{ keyring *Keyring }

func (o onlyAuthenticates) Authenticate(r *http.Request) (Identity, error) {
	return o.keyring.Authenticate(r)
}

func TestNothingIsDoneWithoutARecord(t *testing.T) {
	entries := Entries{}
	_, key := created(t, entries, "desk", Admin, 0, time.Now())
	down := NewKeyring(Options{Record: &fakeRecord{down: errors.New("the ledger is down")}})
	down.Replace(entries)
	none := ring(t, entries)
	for name, auth := range map[string]Authenticator{"ledger down": down, "no ledger": none, "no auditor": onlyAuthenticates{keyring: none}} {
		for _, scope := range []Scope{Trade, Admin} {
			answer := httptest.NewRecorder()
			Require(scope, auth, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				t.Errorf("%s: the request was carried out", name)
			})).ServeHTTP(answer, request(t, key))
			if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" || !strings.Contains(answer.Body.String(), "not carried out") {
				t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
			}
		}
		answer := httptest.NewRecorder()
		Require(Read, auth, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(answer, request(t, key))
		if answer.Code != http.StatusOK {
			t.Errorf("%s: reading: %d", name, answer.Code)
		}
	}
}

func TestRecordTellsHowARequestEnded(t *testing.T) {
	entries := Entries{}
	_, key := created(t, entries, "desk", Trade, 0, time.Now())
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		status  int
	}{
		"nothing written": {func(http.ResponseWriter, *http.Request) {}, 200},
		"body alone":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }, 200},
		"hints first": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusConflict)
		}, 409},
		"panic": {func(_ http.ResponseWriter, r *http.Request) { r.Response.Body = nil }, 500},
	} {
		record := &fakeRecord{}
		keyring := NewKeyring(Options{Record: record})
		keyring.Replace(entries)
		func() {
			defer func() { _ = recover() }()
			Require(Trade, keyring, c.handler).ServeHTTP(httptest.NewRecorder(), request(t, key))
		}()
		if len(record.uses) != 2 || record.uses[1].Status != c.status {
			t.Errorf("%s: %v", name, record.words())
		}
	}
}

func TestLimitedIsToldWhenToComeBack(t *testing.T) {
	entries := Entries{}
	keyring := ring(t, entries)
	handler := Require(Read, keyring, http.NotFoundHandler())
	var answer *httptest.ResponseRecorder
	for range failuresAtOnce + 1 {
		answer = httptest.NewRecorder()
		handler.ServeHTTP(answer, request(t, "nonsense"))
	}
	if after := answer.Header().Get("Retry-After"); answer.Code != http.StatusTooManyRequests || after < "1" || after > "5" {
		t.Errorf("%d, Retry-After %q: %s", answer.Code, after, answer.Body)
	}
}

func TestPathsThatHoldKeysAreBlackened(t *testing.T) {
	_, key := created(t, Entries{}, "desk", Read, 0, noon)
	for path, want := range map[string]string{
		"/api/v1/positions/BTC-USD/close":         "/api/v1/positions/BTC-USD/close",
		"/api/v1/" + key + "/close":               "/api/v1/[redacted]/close",
		"/api/v1/%74a" + key[2:]:                  "/api/v1/[redacted]",
		"/api/v1/a%3Fb%00c/close?token=" + key:    "/api/v1/a%3Fb%00c/close",
		"/" + strings.Repeat("%C3%A9", 600) + key: "/" + strings.Repeat("%C3%A9", 600)[:511],
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://host"+path, nil)
		if got := pathOf(r); got != want {
			t.Errorf("%s is recorded as %s, want %s", path, got, want)
		}
	}
}

func TestForbiddenRequestsDoNotFillTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := Entries{}
		_, key := created(t, entries, "desk", Read, 0, time.Now())
		_, other := created(t, entries, "other", Read, 0, time.Now())
		record := &fakeRecord{}
		keyring := NewKeyring(Options{Record: record})
		keyring.Replace(entries)
		handler := Require(Trade, keyring, http.NotFoundHandler())
		ask := func(key string) {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request(t, key))
			if answer.Code != http.StatusForbidden {
				t.Fatalf("%d", answer.Code)
			}
		}
		for range 1000 {
			ask(key)
		}
		if n := len(record.uses); n != failuresAtOnce {
			t.Errorf("%d rows of a thousand requests", n)
		}
		ask(other)
		<-time.After(failuresEvery)
		ask(key)
		if n := len(record.uses); n != failuresAtOnce+2 {
			t.Errorf("%d rows after another key's and a later request", n)
		}
	})
}

func TestKeysAreAwaited(t *testing.T) {
	entries := Entries{}
	_, key := created(t, entries, "desk", Read, 0, time.Now())
	keyring := NewKeyring(Options{})
	handler := Require(Read, keyring, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	ask := func(key string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request(t, key))
		return answer
	}
	for range 2 * failuresAtOnce {
		if answer := ask(key); answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
			t.Fatalf("before the keys are read a key is answered %d %s", answer.Code, answer.Body)
		}
	}
	if answer := ask(""); answer.Code != http.StatusUnauthorized {
		t.Errorf("no key is answered %d", answer.Code)
	}
	keyring.Replace(entries)
	if answer := ask(key); answer.Code != http.StatusOK {
		t.Errorf("after the keys are read: %d", answer.Code)
	}
}

func TestLastUsesAreSavedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := Entries{}
		id, key := created(t, entries, "desk", Read, 0, time.Now())
		idle, _ := created(t, entries, "idle", Read, 0, time.Now())
		before := time.Now().Add(-time.Hour)
		record := &fakeRecord{down: ErrNoRecord}
		keyring := NewKeyring(Options{Record: record})
		keyring.Replace(entries)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- keyring.Run(ctx, logr.Discard()) }()
		<-time.After(20 * time.Second)
		synctest.Wait()
		record.down, record.last = nil, map[string]time.Time{idle: before, "gone": before}
		<-time.After(loadInterval)
		synctest.Wait()
		for _, status := range keyring.Keys() {
			if status.ID == idle && !status.LastUse.Equal(before) || status.ID == id && !status.LastUse.IsZero() {
				t.Errorf("after a restart the last use of %s is %s", status.Entry.Name, status.LastUse)
			}
		}
		for range 600 {
			if _, err := keyring.Authenticate(request(t, key)); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
		}
		synctest.Wait()
		if record.saves < 9 || record.saves > 11 {
			t.Errorf("saved %d times in ten minutes of constant use", record.saves)
		}
		if _, err := keyring.Authenticate(request(t, key)); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		cancel()
		if err := <-ended; err != nil || !record.last[id].Equal(at) {
			t.Errorf("at the end: %v, saved %s, want %s", err, record.last[id], at)
		}
		if record.last[idle] != before {
			t.Error("a key that was not used was saved")
		}
	})
}
