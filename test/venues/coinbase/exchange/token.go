package exchange

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTokenLife is the longest that the exchange lets a token live.
const maxTokenLife = 2 * time.Minute

type claims struct {
	jwt.RegisteredClaims

	URI string `json:"uri"`
}

// authenticate checks a request's token as Coinbase does: signed by a key that it
// knows, for this very request, now, and never used before.
func (e *Exchange) authenticate(r *http.Request) (Key, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return Key{}, errors.New("no bearer token")
	}
	var key Key
	var said claims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithExpirationRequired(), jwt.WithIssuer("cdp"))
	token, err := parser.ParseWithClaims(text, &said, func(token *jwt.Token) (any, error) {
		name, _ := token.Header["kid"].(string)
		e.mu.Lock()
		defer e.mu.Unlock()
		known, ok := e.keys[name]
		if !ok {
			return nil, errors.New("the key is not known")
		}
		key = known
		return parsePublicKey(known.PublicKey)
	})
	if err != nil {
		return Key{}, err
	}
	if err := e.checkClaims(r, key, token, &said); err != nil {
		return Key{}, err
	}
	return key, nil
}

func (e *Exchange) checkClaims(r *http.Request, key Key, token *jwt.Token, said *claims) error {
	if said.Subject != key.Name {
		return errors.New("sub is not the key's name")
	}
	if said.NotBefore == nil || said.ExpiresAt.Sub(said.NotBefore.Time) > maxTokenLife {
		return fmt.Errorf("the token lives longer than %s", maxTokenLife)
	}
	if wanted := r.Method + " " + Hosts[key.Environment] + r.URL.Path; said.URI != wanted {
		return fmt.Errorf("uri is %q, want %q", said.URI, wanted)
	}
	nonce, _ := token.Header["nonce"].(string)
	if nonce == "" {
		return errors.New("no nonce")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.nonces[nonce] {
		return errors.New("the token was used before")
	}
	e.nonces[nonce] = true
	return nil
}

func parsePublicKey(text string) (*ecdsa.PublicKey, error) {
	return jwt.ParseECPublicKeyFromPEM([]byte(text))
}
