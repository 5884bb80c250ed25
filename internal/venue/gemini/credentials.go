package gemini

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"strings"
)

var (
	accountKey = regexp.MustCompile(`^account-[A-Za-z0-9]{8,64}$`)
	apiSecret  = regexp.MustCompile(`^[A-Za-z0-9/+=_-]{16,128}$`)
)

// Credentials are an API key to one account. They print as nothing, so that no log
// or message can hold a part of them.
type Credentials struct {
	key    string
	secret []byte
}

// ParseCredentials reads a key and its secret as Gemini shows them once, when it
// makes the key. Keys of a group of accounts are refused: an agent has one account.
// Its errors hold no part of either.
func ParseCredentials(key, secret string) (*Credentials, error) {
	key, secret = strings.TrimSpace(key), strings.TrimSpace(secret)
	switch {
	case strings.HasPrefix(key, "master-"):
		return nil, errors.New("the API key is a master key, which is for a whole group of accounts; make one for the account alone, which begins with account-")
	case !accountKey.MatchString(key):
		return nil, errors.New("the API key is not one that Gemini gives out, which begins with account-")
	case !apiSecret.MatchString(secret):
		return nil, errors.New("the API secret is not one that Gemini gives out; copy it again from where Gemini showed it, or make a new key")
	}
	return &Credentials{key: key, secret: []byte(secret)}, nil
}

// String keeps the credentials out of whatever prints them.
func (*Credentials) String() string { return "(credentials)" }

// GoString keeps the credentials out of whatever prints them in full.
func (*Credentials) GoString() string { return "(credentials)" }

// MarshalJSON keeps the credentials out of structured logs.
func (*Credentials) MarshalJSON() ([]byte, error) { return []byte(`"(credentials)"`), nil }

const payloadHeader = "X-Gemini-Payload"

// sign puts a payload into the header, where Gemini wants it, with its HMAC-SHA384
// (https://docs.gemini.com/authentication/api-key).
func (c *Credentials) sign(header http.Header, payload []byte) {
	encoded := base64.StdEncoding.EncodeToString(payload)
	mac := hmac.New(sha512.New384, c.secret)
	mac.Write([]byte(encoded))
	header.Set("X-Gemini-Apikey", c.key)
	header.Set(payloadHeader, encoded)
	header.Set("X-Gemini-Signature", hex.EncodeToString(mac.Sum(nil)))
	header.Set("Content-Type", "text/plain")
	header.Set("Cache-Control", "no-cache")
}

// payloadOf is the payload that a signed request carries.
func payloadOf(header http.Header, body []byte) ([]byte, error) {
	if len(body) > 0 {
		return nil, errors.New("there is a body beside the payload")
	}
	return base64.StdEncoding.DecodeString(header.Get(payloadHeader))
}
