package coinbase

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

const (
	// tokenLife is how long Coinbase takes a token for; it allows two minutes at
	// most. Each token is for one request, so that nothing is lost by less, and
	// an order that is held up on its way is not accepted any more.
	tokenLife = 10 * time.Second
	// clockTolerance is how far this machine's clock may be ahead of Coinbase's.
	// One that is further ahead has every token refused.
	clockTolerance = 5 * time.Second
)

// ed25519Size is the length of the other kind of key that Coinbase makes.
const ed25519Size = 64

var keyName = regexp.MustCompile(`^[-A-Za-z0-9/_.]{1,256}$`)

// Credentials are an API key that was read and is fit to sign with. They print
// as nothing, so that no log or message can hold a part of them.
type Credentials struct {
	name string
	key  *ecdsa.PrivateKey
}

// ParseCredentials reads a key's name and its ECDSA private key in PEM, as
// Coinbase hands them out: line breaks may be written as \n. Its errors say what
// is wrong and hold no part of either.
func ParseCredentials(name, privateKey string) (*Credentials, error) {
	name = strings.TrimSpace(name)
	if !keyName.MatchString(name) {
		return nil, errors.New("the key's name is not one that Coinbase gives out, such as organizations/…/apiKeys/…")
	}
	privateKey = strings.TrimSpace(strings.ReplaceAll(privateKey, `\n`, "\n"))
	block, _ := pem.Decode([]byte(privateKey))
	if block == nil {
		if raw, err := base64.StdEncoding.DecodeString(privateKey); err == nil && len(raw) == ed25519Size {
			return nil, errors.New("the private key is an Ed25519 key, which Advanced Trade does not take; make a key with the signature algorithm ECDSA")
		}
		return nil, errors.New("the private key is not in PEM; it begins with -----BEGIN EC PRIVATE KEY-----, and its line breaks must be kept")
	}
	key, err := jwt.ParseECPrivateKeyFromPEM([]byte(privateKey))
	if err != nil {
		// The library's words might repeat what it has read.
		return nil, errors.New("the private key cannot be read as an ECDSA key; copy it again from the file that Coinbase gave out")
	}
	if key.Curve != elliptic.P256() {
		return nil, errors.New("the private key is not on the curve P-256; make a key with the signature algorithm ECDSA at Coinbase")
	}
	return &Credentials{name: name, key: key}, nil
}

// String keeps the credentials out of whatever prints them.
func (*Credentials) String() string { return "(credentials)" }

// GoString keeps the credentials out of whatever prints them in full.
func (*Credentials) GoString() string { return "(credentials)" }

// MarshalJSON keeps the credentials out of structured logs.
func (*Credentials) MarshalJSON() ([]byte, error) { return []byte(`"(credentials)"`), nil }

// claims are what Coinbase wants to be told: who asks, for which request.
type claims struct {
	jwt.RegisteredClaims

	URI string `json:"uri"`
}

// sign has a request carry a token for it alone, good until it expires. Coinbase
// reads whole seconds, which are cut off.
func (c *Credentials) sign(leaving *rest.Leaving, expires time.Time) error {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return fmt.Errorf("make a nonce: %w", err)
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodES256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    "cdp",
			Subject:   c.name,
			NotBefore: jwt.NewNumericDate(leaving.Now.Add(-clockTolerance)),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
		URI: leaving.Method + " " + leaving.Host + leaving.Path,
	})
	unsigned.Header["kid"] = c.name
	unsigned.Header["nonce"] = hex.EncodeToString(nonce)
	signed, err := unsigned.SignedString(c.key)
	if err != nil {
		return errors.New("the private key cannot sign")
	}
	leaving.Header.Set("Authorization", "Bearer "+signed)
	return nil
}
