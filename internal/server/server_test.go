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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fakeAgent struct {
	status       v1alpha1.TradingStatus
	alive, ready error
}

func (a *fakeAgent) Status() v1alpha1.TradingStatus { return a.status }
func (a *fakeAgent) Alive() error                   { return a.alive }
func (a *fakeAgent) Ready() error                   { return a.ready }

func get(t *testing.T, handler http.Handler, method, path string) (int, http.Header, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	body, err := io.ReadAll(recorder.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Code, recorder.Header(), string(body)
}

func TestProbesFollowTheAgent(t *testing.T) {
	agent := &fakeAgent{ready: errors.New("reconciling with the venue")}
	handler := New("desk", "eur-trend", agent)
	if code, _, body := get(t, handler, "GET", "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz of a live agent: %d %q", code, body)
	}
	code, header, body := get(t, handler, "GET", "/readyz")
	if code != http.StatusServiceUnavailable || header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, "reconciling with the venue") {
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

func TestStatusAndMetricsAgree(t *testing.T) {
	agent := &fakeAgent{status: v1alpha1.TradingStatus{
		State: v1alpha1.TradingReduceOnly, Reason: "MaxDrawdown", Currency: "USD", Equity: "9876.54", PNL: "-123.46",
		Decisions: 7, Fills: 3, Epoch: 2,
		Data: &v1alpha1.DataStatus{LastBarTime: new(metav1.Unix(1_500_000_000, 0))},
	}}
	handler := New("desk", "eur-trend", agent)

	_, _, body := get(t, handler, "GET", "/api/v1/status")
	var document StatusDocument
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	if document.Name != "eur-trend" || document.Trading.Equity != "9876.54" {
		t.Errorf("/api/v1/status says %+v", document)
	}

	_, _, metrics := get(t, handler, "GET", "/metrics")
	for _, want := range []string{
		`trading_equity{agent="eur-trend",agent_namespace="desk",currency="USD"} 9876.54`,
		`trading_pnl{agent="eur-trend",agent_namespace="desk",currency="USD"} -123.46`,
		`trading_decisions_total{agent="eur-trend",agent_namespace="desk"} 7`,
		`trading_state{agent="eur-trend",agent_namespace="desk",reason="MaxDrawdown",state="ReduceOnly"} 1`,
		`trading_state{agent="eur-trend",agent_namespace="desk",reason="",state="Enabled"} 0`,
		`trading_last_bar_timestamp_seconds{agent="eur-trend",agent_namespace="desk"} 1.5e+09`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics does not say %s", want)
		}
	}
	if strings.Contains(metrics, "trading_drawdown_fraction{") {
		t.Error("/metrics tells a drawdown that is not known yet")
	}
}

func TestOtherRequestsGetProblems(t *testing.T) {
	handler := New("desk", "eur-trend", &fakeAgent{})
	for method, want := range map[string]int{"GET": http.StatusNotFound, "POST": http.StatusMethodNotAllowed} {
		code, header, body := get(t, handler, method, "/api/v2/orders")
		if code != want || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s of an unknown path: %d %s %s", method, code, header.Get("Content-Type"), body)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener, New("desk", "eur-trend", &fakeAgent{}), logr.Discard()) }()
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
