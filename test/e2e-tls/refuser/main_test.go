package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// authority gives nonces, and says which host it was asked for.
func authority(t *testing.T) *url.URL {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Replay-Nonce", "fresh")
		w.Header().Set("Asked-For", r.Host)
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func serve(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "https://pebble-refusing"+path, nil))
	return w
}

func TestOnlySignedRequestsAreRefused(t *testing.T) {
	r := newRefuser(authority(t), http.DefaultTransport)
	if w := serve(t, r.controls(), http.MethodPut, "/refuse?percent=100"); w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	if w := serve(t, r, http.MethodGet, "/dir"); w.Code != http.StatusOK || w.Header().Get("Asked-For") != "pebble-refusing" {
		t.Errorf("got %d for host %q", w.Code, w.Header().Get("Asked-For"))
	}
	w := serve(t, r, http.MethodPost, "/order-plz")
	var problem struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusBadRequest || problem.Type != "urn:ietf:params:acme:error:badNonce" || w.Header().Get("Replay-Nonce") != "fresh" {
		t.Errorf("got %d %q, nonce %q", w.Code, problem.Type, w.Header().Get("Replay-Nonce"))
	}
}

func TestTheShareIsKeptAndCounted(t *testing.T) {
	r := newRefuser(authority(t), http.DefaultTransport)
	for percent, want := range map[string][2]int64{"0": {0, 0}, "50": {20, 180}, "100": {200, 200}} {
		serve(t, r.controls(), http.MethodPut, "/refuse?percent="+percent)
		for range 200 {
			serve(t, r, http.MethodPost, "/order-plz")
		}
		var counts Counts
		if err := json.Unmarshal(serve(t, r.controls(), http.MethodGet, "/counts").Body.Bytes(), &counts); err != nil {
			t.Fatal(err)
		}
		if counts.Refused < want[0] || counts.Refused > want[1] || counts.Passed+counts.Refused != 200 {
			t.Errorf("at %s per cent: %+v", percent, counts)
		}
	}
	if w := serve(t, r.controls(), http.MethodPut, "/refuse?percent=101"); w.Code != http.StatusBadRequest {
		t.Error("101 per cent are accepted")
	}
}
