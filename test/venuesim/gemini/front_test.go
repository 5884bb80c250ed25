package gemini_test

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/gemini"
)

// Every part of a request's proof is looked at, and the nonce by the exchange's clock.
func TestProof(t *testing.T) {
	behind := exchange.New(gemini.Options())
	name, secret, key := gemini.NewKey(nil)
	behind.PutKey(key)
	handler := behind.Handler(gemini.New(behind))
	// ask signs a payload, and changes the request after that.
	ask := func(payload string, change func(http.Header)) string {
		encoded := base64.StdEncoding.EncodeToString([]byte(payload))
		mac := hmac.New(sha512.New384, []byte(secret))
		mac.Write([]byte(encoded))
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.gemini.com/v1/roles", nil)
		request.Header.Set("X-GEMINI-APIKEY", name)
		request.Header.Set("X-GEMINI-PAYLOAD", encoded)
		request.Header.Set("X-GEMINI-SIGNATURE", hex.EncodeToString(mac.Sum(nil)))
		if change != nil {
			change(request.Header)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer.Body.String()
	}
	roles := func(off time.Duration) string {
		return fmt.Sprintf(`{"request":"/v1/roles","nonce":%d}`, behind.Clock().Add(off).Unix())
	}
	for what, test := range map[string]struct{ answer, want string }{
		"good":              {ask(roles(0), nil), `"isTrader":true`},
		"good again":        {ask(roles(0), nil), `"isTrader":true`},
		"a little early":    {ask(roles(28*time.Second), nil), `"isTrader":true`},
		"a little late":     {ask(roles(-28*time.Second), nil), `"isTrader":true`},
		"too early":         {ask(roles(32*time.Second), nil), "InvalidNonce"},
		"too late":          {ask(roles(-32*time.Second), nil), "InvalidNonce"},
		"milliseconds":      {ask(fmt.Sprintf(`{"request":"/v1/roles","nonce":%d}`, behind.Clock().UnixMilli()), nil), "InvalidNonce"},
		"no nonce":          {ask(`{"request":"/v1/roles"}`, nil), "InvalidNonce"},
		"another address":   {ask(strings.ReplaceAll(roles(0), "roles", "account"), nil), "EndpointMismatch"},
		"no JSON":           {ask("x", nil), "InvalidJson"},
		"another key":       {ask(roles(0), func(h http.Header) { h.Set("X-GEMINI-APIKEY", "account-other") }), "InvalidSignature"},
		"no signature":      {ask(roles(0), func(h http.Header) { h.Del("X-GEMINI-SIGNATURE") }), "InvalidSignature"},
		"no payload":        {ask(roles(0), func(h http.Header) { h.Del("X-GEMINI-PAYLOAD") }), "MissingPayloadHeader"},
		"another host":      {ask(roles(0), func(h http.Header) { h.Set("X-Forwarded-Host", gemini.Hosts["Sandbox"]) }), "InvalidSignature"},
		"another's payload": {ask(roles(0), func(h http.Header) { h.Set("X-GEMINI-PAYLOAD", "e30=") }), "InvalidSignature"},
	} {
		if !strings.Contains(test.answer, test.want) {
			t.Errorf("%s: got %s, want %s", what, test.answer, test.want)
		}
	}
}
