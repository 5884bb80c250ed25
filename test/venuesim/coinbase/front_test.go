package coinbase_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

const path = "/api/v3/brokerage/key_permissions"

type claims struct {
	jwt.RegisteredClaims

	URI string `json:"uri"`
}

// known is an exchange that knows one key, and the key.
func known(t *testing.T) (handler http.Handler, name string, private *ecdsa.PrivateKey) {
	t.Helper()
	behind := exchange.New(coinbase.Options())
	name, privateKey, key, err := coinbase.NewKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	behind.PutKey(key)
	block, _ := pem.Decode([]byte(privateKey))
	if private, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return behind.Handler(coinbase.New(behind)), name, private
}

// token signs what the exchange wants, changed by edit.
func token(t *testing.T, name string, private *ecdsa.PrivateKey, edit func(*jwt.Token, *claims)) string {
	t.Helper()
	said := &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "cdp", Subject: name,
			NotBefore: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(2 * time.Minute)),
		},
		URI: "GET api.coinbase.com" + path,
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodES256, said)
	unsigned.Header["kid"], unsigned.Header["nonce"] = name, rand.Text()
	if edit != nil {
		edit(unsigned, said)
	}
	signed, err := unsigned.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func ask(t *testing.T, handler http.Handler, token string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

// The double is as strict as the exchange: a token that the exchange would not
// take must not pass a test.
func TestRefusesWrongTokens(t *testing.T) {
	handler, name, private := known(t)
	for what, edit := range map[string]func(*jwt.Token, *claims){
		"an unknown key":      func(token *jwt.Token, _ *claims) { token.Header["kid"] = "another" },
		"no nonce":            func(token *jwt.Token, _ *claims) { delete(token.Header, "nonce") },
		"another issuer":      func(_ *jwt.Token, said *claims) { said.Issuer = "coinbase-cloud" },
		"another subject":     func(_ *jwt.Token, said *claims) { said.Subject = "another" },
		"another path":        func(_ *jwt.Token, said *claims) { said.URI += "/other" },
		"another method":      func(_ *jwt.Token, said *claims) { said.URI = "POST" + said.URI[3:] },
		"another host":        func(_ *jwt.Token, said *claims) { said.URI = "GET api-sandbox.coinbase.com" + path },
		"expired":             func(_ *jwt.Token, said *claims) { said.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Second)) },
		"no end":              func(_ *jwt.Token, said *claims) { said.ExpiresAt = nil },
		"not yet valid":       func(_ *jwt.Token, said *claims) { said.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Minute)) },
		"too long a life":     func(_ *jwt.Token, said *claims) { said.ExpiresAt = jwt.NewNumericDate(time.Now().Add(time.Hour)) },
		"without a beginning": func(_ *jwt.Token, said *claims) { said.NotBefore = nil },
	} {
		if answer := ask(t, handler, token(t, name, private, edit)); answer.Code != http.StatusUnauthorized || strings.TrimSpace(answer.Body.String()) != "Unauthorized" {
			t.Errorf("%s: %d %s", what, answer.Code, answer.Body)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if answer := ask(t, handler, token(t, name, other, nil)); answer.Code != http.StatusUnauthorized {
		t.Errorf("another signature: %d", answer.Code)
	}
	if answer := ask(t, handler, ""); answer.Code != http.StatusUnauthorized {
		t.Errorf("no token: %d", answer.Code)
	}
	once := token(t, name, private, nil)
	if answer := ask(t, handler, once); answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"can_transfer":false`) {
		t.Errorf("a good token: %d %s", answer.Code, answer.Body)
	}
	if answer := ask(t, handler, once); answer.Code != http.StatusUnauthorized {
		t.Errorf("a token that was used before: %d", answer.Code)
	}
}
