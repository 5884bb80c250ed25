package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fakeAgent struct {
	status       v1alpha1.TradingStatus
	alive, ready error
}

func (a *fakeAgent) Status() v1alpha1.TradingStatus { return a.status }
func (a *fakeAgent) Alive() error                   { return a.alive }
func (a *fakeAgent) Ready() error                   { return a.ready }

// silent is a ledger that takes everything.
type silent struct{}

func (silent) Audit(context.Context, keys.Use) error                    { return nil }
func (silent) LastUses(context.Context) (map[string]time.Time, error)   { return nil, nil }
func (silent) SaveLastUses(context.Context, map[string]time.Time) error { return nil }

// desk is a server of the tests, and a key of each scope.
type desk struct {
	*Server
	keyring *keys.Keyring
	entries keys.Entries
	key     map[keys.Scope]string
}

func newDesk(t *testing.T, agent Agent) *desk {
	t.Helper()
	d := &desk{keyring: keys.NewKeyring(keys.Options{Record: silent{}}), entries: keys.Entries{}, key: map[keys.Scope]string{}}
	for _, scope := range []keys.Scope{keys.Read, keys.Trade, keys.Admin} {
		var err error
		if _, d.key[scope], err = d.entries.Create("a-"+string(scope)+"-key", scope, time.Hour, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	d.keyring.Replace(d.entries)
	t.Cleanup(d.keyring.Stop)
	api := http.NewServeMux()
	api.Handle("GET /api/v1/status", keys.Require(keys.Read, d.keyring, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(agent.Status())
	})))
	api.Handle("POST /api/v1/positions/{pair}/close", keys.Require(keys.Trade, d.keyring, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	})))
	api.Handle("GET /api/v1/panic", keys.Require(keys.Read, d.keyring, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("a secret of the handler") //nolint:forbidigo // That is what is tried.
	})))
	api.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { problem.Write(w, http.StatusNotFound, "no such route") })
	stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if identity, err := d.keyring.Authenticate(r); err != nil {
			problem.Write(w, http.StatusTeapot, err.Error())
		} else {
			_, _ = io.WriteString(w, identity.Name)
		}
	})
	d.Server = New(Options{Namespace: "desk", Name: "eur-trend", Agent: agent, Keyring: d.keyring, API: api, Stream: stream, Log: logr.Discard()})
	return d
}

func get(t *testing.T, handler http.Handler, method, path string) (int, http.Header, string) {
	t.Helper()
	return ask(t, handler, httptest.NewRequestWithContext(t.Context(), method, path, nil))
}

func ask(t *testing.T, handler http.Handler, r *http.Request) (int, http.Header, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	body, err := io.ReadAll(recorder.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Code, recorder.Header(), string(body)
}

// secure is a request that came over TLS.
func secure(t *testing.T, method, path, key string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "https://eur.desk.example.com"+path, nil)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return r
}

func TestProbesFollowTheAgent(t *testing.T) {
	agent := &fakeAgent{ready: errors.New("reconciling with the venue")}
	handler := newDesk(t, agent).Inside()
	if code, _, body := get(t, handler, "GET", "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz of a live agent: %d %q", code, body)
	}
	code, header, body := get(t, handler, "GET", "/readyz")
	if code != http.StatusServiceUnavailable || header.Get("Content-Type") != problem.ContentType || !strings.Contains(body, "reconciling with the venue") {
		t.Errorf("/readyz of an agent that is not ready: %d %s %q", code, header.Get("Content-Type"), body)
	}
	agent.ready, agent.alive = nil, errors.New("the loop hangs")
	if code, _, _ := get(t, handler, "GET", "/readyz"); code != http.StatusOK {
		t.Errorf("/readyz of a ready agent: %d", code)
	}
	if code, _, _ := get(t, handler, "GET", "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("/healthz of an agent that hangs: %d", code)
	}
}

func TestMetricsTellTheStatus(t *testing.T) {
	agent := &fakeAgent{status: v1alpha1.TradingStatus{
		State: v1alpha1.TradingReduceOnly, Reason: "MaxDrawdown", Currency: "USD", Equity: "9876.54", PNL: "-123.46",
		Decisions: 7, Fills: 3, Epoch: 2,
		Data: &v1alpha1.DataStatus{LastBarTime: new(metav1.Unix(1_500_000_000, 0))},
	}}
	d := newDesk(t, agent)
	ask(t, d.Outside(), secure(t, "GET", "/api/v1/status", d.key[keys.Read]))
	ask(t, d.Outside(), secure(t, "GET", "/api/v1/status", "nonsense"))
	_, _, metrics := get(t, d.Inside(), "GET", "/metrics")
	for _, want := range []string{
		`trading_equity{agent="eur-trend",agent_namespace="desk",currency="USD"} 9876.54`,
		`trading_pnl{agent="eur-trend",agent_namespace="desk",currency="USD"} -123.46`,
		`trading_decisions_total{agent="eur-trend",agent_namespace="desk"} 7`,
		`trading_state{agent="eur-trend",agent_namespace="desk",reason="MaxDrawdown",state="ReduceOnly"} 1`,
		`trading_state{agent="eur-trend",agent_namespace="desk",reason="",state="Enabled"} 0`,
		`trading_last_bar_timestamp_seconds{agent="eur-trend",agent_namespace="desk"} 1.5e+09`,
		`trading_api_requests_total{code="200",route="GET /api/v1/status"} 1`,
		`trading_api_requests_total{code="401",route="GET /api/v1/status"} 1`,
		`trading_api_tls_listening 0`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics does not say %s", want)
		}
	}
	if strings.Contains(metrics, "trading_drawdown_fraction{") {
		t.Error("/metrics tells a drawdown that is not known yet")
	}
	if n := strings.Count(metrics, "\n"+keys.LastUseMetric+"{"); n != 1 {
		t.Errorf("/metrics tells the last use of %d keys, and one was used", n)
	}
}

// The port without TLS has nothing that a key would protect, and the other one
// nothing without a key.
func TestEachListenerHasItsOwn(t *testing.T) {
	d := newDesk(t, &fakeAgent{})
	for _, path := range []string{"/api/v1/status", "/api/v1/stream", "/api/v1/tickets", "/api/v2/orders"} {
		if code, header, body := get(t, d.Inside(), "GET", path); code != http.StatusNotFound || header.Get("Content-Type") != problem.ContentType {
			t.Errorf("%s in the clear: %d %s", path, code, body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/", "/api/v2/orders"} {
		if code, _, _ := ask(t, d.Outside(), secure(t, "GET", path, "")); code != http.StatusNotFound {
			t.Errorf("%s from outside: %d", path, code)
		}
	}
	for method, paths := range map[string][]string{"GET": {"/api/v1/status"}, "POST": {"/api/v1/tickets", "/api/v1/positions/EUR-USD/close"}} {
		for _, path := range paths {
			if code, header, _ := ask(t, d.Outside(), secure(t, method, path, "")); code != http.StatusUnauthorized || header.Get("WWW-Authenticate") != `Bearer realm="trading-agent"` {
				t.Errorf("%s without a key: %d %s", path, code, header.Get("WWW-Authenticate"))
			}
		}
	}
	if code, _, _ := get(t, d.Inside(), "POST", "/metrics"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %d", code)
	}
}

func TestClearTextIsSentToHTTPS(t *testing.T) {
	d := newDesk(t, &fakeAgent{})
	r := secure(t, "POST", "/api/v1/positions/EUR-USD/close?a=b&token=hidden", d.key[keys.Admin])
	r.Header.Set("X-Forwarded-Proto", "http")
	code, header, _ := ask(t, d.Outside(), r)
	if want := "https://eur.desk.example.com/api/v1/positions/EUR-USD/close?a=b"; code != http.StatusPermanentRedirect || header.Get("Location") != want {
		t.Errorf("%d to %s, want %s", code, header.Get("Location"), want)
	}
	d.SetRules(Rules{Host: "real.example.com"})
	r.Host = "evil.example.net"
	if _, header, _ := ask(t, d.Outside(), r); !strings.HasPrefix(header.Get("Location"), "https://real.example.com/api/") {
		t.Errorf("sent to %s", header.Get("Location"))
	}
	r.Header.Set("X-Forwarded-Proto", "https")
	if code, header, _ := ask(t, d.Outside(), secure(t, "GET", "/api/v1/status", d.key[keys.Read])); code != http.StatusOK || !strings.HasPrefix(header.Get("Strict-Transport-Security"), "max-age=") {
		t.Errorf("over HTTPS: %d, HSTS %q", code, header.Get("Strict-Transport-Security"))
	}
}

func TestOriginsOfTheManifestMayAsk(t *testing.T) {
	d := newDesk(t, &fakeAgent{})
	d.SetRules(RulesOf(&v1alpha1.TradingAgent{Spec: v1alpha1.TradingAgentSpec{
		Endpoint: &v1alpha1.EndpointSpec{Host: "eur.desk.example.com"},
		API:      &v1alpha1.APISpec{AllowedOrigins: []string{"https://desk.example.com"}},
	}}))
	for origin, want := range map[string]string{
		"https://desk.example.com": "https://desk.example.com", "https://eur.desk.example.com": "https://eur.desk.example.com",
		"http://desk.example.com": "", "https://evil.example.com": "", "null": "",
	} {
		question := secure(t, "OPTIONS", "/api/v1/status", "")
		question.Header.Set("Origin", origin)
		question.Header.Set("Access-Control-Request-Method", "GET")
		answer := secure(t, "GET", "/api/v1/status", d.key[keys.Read])
		answer.Header.Set("Origin", origin)
		code, asked, _ := ask(t, d.Outside(), question)
		_, answered, _ := ask(t, d.Outside(), answer)
		if code != http.StatusNoContent || asked.Get("Access-Control-Allow-Origin") != want || answered.Get("Access-Control-Allow-Origin") != want {
			t.Errorf("%s: %d, may ask %q, may read %q", origin, code, asked.Get("Access-Control-Allow-Origin"), answered.Get("Access-Control-Allow-Origin"))
		}
		if (asked.Get("Access-Control-Allow-Headers") != "") != (want != "") || answered.Get("Vary") != "Origin" {
			t.Errorf("%s: headers %q, Vary %q", origin, asked.Get("Access-Control-Allow-Headers"), answered.Get("Vary"))
		}
	}
}

func TestTicketOpensOneSocket(t *testing.T) {
	d := newDesk(t, &fakeAgent{})
	d.SetRules(Rules{QueryToken: v1alpha1.QueryTokenTicketOnly})
	code, header, body := ask(t, d.Outside(), secure(t, "POST", "/api/v1/tickets", d.key[keys.Read]))
	var ticket TicketDocument
	if err := json.Unmarshal([]byte(body), &ticket); err != nil || code != http.StatusCreated || header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	if left := time.Until(ticket.Expires); left < 25*time.Second || left > 30*time.Second {
		t.Errorf("the ticket lives for %s", left)
	}
	open := func(token string) (int, string) {
		r := secure(t, "GET", "/api/v1/stream?token="+token, "")
		r.Header.Set("Upgrade", "websocket")
		code, _, body := ask(t, d.Outside(), r)
		return code, body
	}
	if code, name := open(ticket.Ticket); code != http.StatusOK || name != "a-read-key" {
		t.Errorf("the ticket: %d %s", code, name)
	}
	if code, _ := open(ticket.Ticket); code != http.StatusTeapot {
		t.Errorf("the ticket once more: %d", code)
	}
	if code, _ := open(d.key[keys.Read]); code != http.StatusTeapot {
		t.Errorf("a key in the address under TicketOnly: %d", code)
	}
	d.SetRules(Rules{})
	if code, _ := open(d.key[keys.Read]); code != http.StatusOK {
		t.Errorf("a key in the address under KeyOrTicket: %d", code)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	d := newDesk(t, &fakeAgent{})
	code, header, body := ask(t, d.Outside(), secure(t, "GET", "/api/v1/panic", d.key[keys.Read]))
	if code != http.StatusInternalServerError || header.Get("Content-Type") != problem.ContentType || strings.Contains(body, "secret") {
		t.Errorf("%d %s %s", code, header.Get("Content-Type"), body)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func TestServeEndsWithItsContext(t *testing.T) {
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	handler := newDesk(t, &fakeAgent{}).Inside()
	go func() { ended <- Serve(ctx, listener, nil, handler, logr.Discard()) }()
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listener.Addr().String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve did not end with its context")
	}
}

// An agent that trades is worth more than one that answers everybody.
func TestConnectionsAreBounded(t *testing.T) {
	var limit connectionLimit
	closed := 0
	for range maxConnections + 3 {
		limit.changed(closing{count: &closed}, http.StateNew)
	}
	if closed != 3 {
		t.Errorf("%d connections of 3 too many were closed", closed)
	}
	for range 4 {
		limit.changed(closing{count: &closed}, http.StateClosed)
	}
	limit.changed(closing{count: &closed}, http.StateNew)
	if closed != 3 {
		t.Error("a connection was closed although there was room")
	}
}

type closing struct {
	net.Conn

	count *int
}

func (c closing) Close() error { *c.count++; return nil }
