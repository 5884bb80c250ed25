package kraken

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
)

// secretSize is the length of a private key in bytes: Kraken gives out 64, and
// what is much shorter is another venue's or cut off.
const secretSize = 64

// publicKey is how Kraken writes the public part of a key.
var publicKey = regexp.MustCompile(`^[A-Za-z0-9+/]{40,100}={0,2}$`)

// Credentials are an API key of Kraken's spot exchange. Nothing prints them.
type Credentials struct {
	key    string
	secret []byte
}

// ParseCredentials reads the two parts of an API key as Kraken shows them once,
// when it makes the key. Its errors hold no part of either.
func ParseCredentials(apiKey, privateKey string) (*Credentials, error) {
	apiKey, privateKey = strings.TrimSpace(apiKey), strings.TrimSpace(privateKey)
	if !publicKey.MatchString(apiKey) {
		return nil, errors.New("the API key is not one that Kraken gives out, which is 56 letters, digits, + and /")
	}
	secret, err := base64.StdEncoding.DecodeString(privateKey)
	if err != nil {
		// The library's words tell where the text goes wrong; that is not repeated.
		return nil, errors.New("the private key is not in base64; copy it again from where Kraken showed it")
	}
	if len(secret) != secretSize {
		return nil, errors.New("the private key is not one of Kraken's spot exchange, which has 88 characters; copy it again from where Kraken showed it")
	}
	return &Credentials{key: apiKey, secret: secret}, nil
}

// String keeps the credentials out of whatever prints them.
func (*Credentials) String() string { return "(credentials)" }

// GoString keeps the credentials out of whatever prints them in full.
func (*Credentials) GoString() string { return "(credentials)" }

// MarshalJSON keeps the credentials out of structured logs.
func (*Credentials) MarshalJSON() ([]byte, error) { return []byte(`"(credentials)"`), nil }

// sign is the API-Sign header of a request: HMAC-SHA512, by the private key, of
// the path and of the SHA-256 of the nonce and the body
// (https://docs.kraken.com/exchange/guides/rest/authentication).
func (c *Credentials) sign(path, nonce string, body []byte) string {
	content := sha256.Sum256(append([]byte(nonce), body...))
	mac := hmac.New(sha512.New, c.secret)
	mac.Write([]byte(path))
	mac.Write(content[:])
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
