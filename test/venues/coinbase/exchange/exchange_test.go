package exchange

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	name = "organizations/o/apiKeys/k"
	path = "/api/v3/brokerage/key_permissions"
)

// known is an exchange that knows one key, and the key.
func known(t *testing.T) (*Exchange, *ecdsa.PrivateKey) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	e := New()
	key := Key{
		Name: name, Environment: "Production", CanView: true, CanTrade: true, PortfolioID: "portfolio",
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}
	if code := control(t, e, http.MethodPut, "/keys", key); code != http.StatusNoContent {
		t.Fatalf("the key is answered by %d", code)
	}
	return e, private
}

func control(t *testing.T, e *Exchange, method, path string, body any) int {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	e.Control().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(string(text))))
	return answer.Code
}

// token signs what the exchange wants, changed by edit.
func token(t *testing.T, private *ecdsa.PrivateKey, edit func(*jwt.Token, *claims)) string {
	t.Helper()
	said := &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "cdp", Subject: name,
			NotBefore: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(maxTokenLife)),
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

func ask(t *testing.T, e *Exchange, token string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, request)
	return answer
}

// The double is as strict as the exchange: a token that the exchange would not
// take must not pass a test.
func TestRefusesWrongTokens(t *testing.T) {
	e, private := known(t)
	for name, edit := range map[string]func(*jwt.Token, *claims){
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
		if answer := ask(t, e, token(t, private, edit)); answer.Code != http.StatusUnauthorized || strings.TrimSpace(answer.Body.String()) != "Unauthorized" {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if answer := ask(t, e, token(t, other, nil)); answer.Code != http.StatusUnauthorized {
		t.Errorf("another signature: %d", answer.Code)
	}
	if answer := ask(t, e, ""); answer.Code != http.StatusUnauthorized {
		t.Errorf("no token: %d", answer.Code)
	}
	once := token(t, private, nil)
	if answer := ask(t, e, once); answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"can_transfer":false`) {
		t.Errorf("a good token: %d %s", answer.Code, answer.Body)
	}
	if answer := ask(t, e, once); answer.Code != http.StatusUnauthorized {
		t.Errorf("a token that was used before: %d", answer.Code)
	}
}

func TestControlRefusesWhatItDoesNotKnow(t *testing.T) {
	e, _ := known(t)
	for path, body := range map[string]any{
		"/keys":     Key{Name: "k", PublicKey: "none"},
		"/products": map[string]string{"prodct_id": "BTC-USD"},
		"/faults":   Fault{},
	} {
		if code := control(t, e, http.MethodPut, path, body); code != http.StatusBadRequest {
			t.Errorf("%s: %d", path, code)
		}
	}
}
