package coinbase

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// maxTokenLife is the longest that Coinbase lets a token live.
const maxTokenLife = 2 * time.Minute

type claims struct {
	jwt.RegisteredClaims

	URI string `json:"uri"`
}

// authenticate checks a request's token as Coinbase does: signed by a key that it
// knows, for this very request, now by its own clock, and never used before.
func (f *Front) authenticate(r *http.Request) (exchange.Key, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return exchange.Key{}, errors.New("no bearer token")
	}
	var key exchange.Key
	var said claims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithExpirationRequired(), jwt.WithIssuer("cdp"), jwt.WithTimeFunc(f.exchange.Clock))
	token, err := parser.ParseWithClaims(text, &said, func(token *jwt.Token) (any, error) {
		name, _ := token.Header["kid"].(string)
		known, ok := f.exchange.Key(name)
		if !ok {
			return nil, errors.New("the key is not known")
		}
		key = known
		return jwt.ParseECPublicKeyFromPEM([]byte(known.Secret))
	})
	if err != nil {
		return exchange.Key{}, err
	}
	return key, f.checkClaims(r, &key, token, &said)
}

func (f *Front) checkClaims(r *http.Request, key *exchange.Key, token *jwt.Token, said *claims) error {
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
	if !f.exchange.Use(nonce) {
		return errors.New("the token was used before")
	}
	return nil
}

// NewKey makes a key: the name and the private key that a Secret holds, and the
// half that the exchange is told of. Its name and account are new unless edit
// sets them; it may view and trade, and nothing else.
func NewKey(edit func(*exchange.Key)) (name, privateKey string, key exchange.Key, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", exchange.Key{}, err
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return "", "", exchange.Key{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return "", "", exchange.Key{}, err
	}
	key = exchange.Key{
		Name:   "organizations/" + uuid.NewString() + "/apiKeys/" + uuid.NewString(),
		Secret: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		// A key is for one portfolio, which is the account.
		Account: uuid.NewString(), AccountType: "DEFAULT", Environment: "Production",
		CanView: true, CanTrade: true,
	}
	if edit != nil {
		edit(&key)
	}
	return key.Name, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})), key, nil
}
