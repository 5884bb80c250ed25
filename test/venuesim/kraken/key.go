package kraken

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// Lengths of the two parts of a key, in bytes, and of an account's public number.
const (
	publicSize  = 42
	privateSize = 64
)

// NewKey makes a key: its public and its private part, and what the exchange is told
// of it. Both and the account are new unless edit sets them; it may view and trade.
func NewKey(edit func(*exchange.Key)) (public, private string, key exchange.Key) {
	parts := make([]byte, publicSize+privateSize)
	_, _ = rand.Read(parts) // it never fails
	number := rand.Text()[:16]
	key = exchange.Key{
		Name:        base64.StdEncoding.EncodeToString(parts[:publicSize]),
		Secret:      base64.StdEncoding.EncodeToString(parts[publicSize:]),
		Account:     number[:4] + " " + number[4:8] + " " + number[8:12] + " " + number[12:],
		Environment: "Production", CanView: true, CanTrade: true,
	}
	if edit != nil {
		edit(&key)
	}
	return key.Name, key.Secret, key
}
