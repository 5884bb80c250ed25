package alpaca

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
)

// Shapes of the two parts of a key. Alpaca documents neither; these keep out what
// cannot be a header, and what was cut off.
var (
	keyID     = regexp.MustCompile(`^[A-Za-z0-9]{8,64}$`)
	secretKey = regexp.MustCompile(`^[A-Za-z0-9/+=_-]{16,128}$`)
)

// Credentials are an API key. They print as nothing, so that no log or message can
// hold a part of them.
type Credentials struct{ id, secret string }

// ParseCredentials reads a key's ID and secret as Alpaca shows them when the key is
// made. Its errors hold no part of either.
func ParseCredentials(id, secret string) (*Credentials, error) {
	id, secret = strings.TrimSpace(id), strings.TrimSpace(secret)
	if !keyID.MatchString(id) {
		return nil, errors.New("the key's ID is not one that Alpaca gives out, which has letters and digits only")
	}
	if !secretKey.MatchString(secret) {
		return nil, errors.New("the secret key is not one that Alpaca gives out; copy it again from where Alpaca showed it, or make a new key")
	}
	return &Credentials{id: id, secret: secret}, nil
}

// String keeps the credentials out of whatever prints them.
func (*Credentials) String() string { return "(credentials)" }

// GoString keeps the credentials out of whatever prints them in full.
func (*Credentials) GoString() string { return "(credentials)" }

// MarshalJSON keeps the credentials out of structured logs.
func (*Credentials) MarshalJSON() ([]byte, error) { return []byte(`"(credentials)"`), nil }

// sign adds what Alpaca knows a caller by. There is nothing of the request in it,
// nor of the time (https://docs.alpaca.markets/docs/getting-started-with-trading-api).
func (c *Credentials) sign(header http.Header) {
	header.Set("APCA-API-KEY-ID", c.id)
	header.Set("APCA-API-SECRET-KEY", c.secret)
}
