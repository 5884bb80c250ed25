package keys

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	keyPrefix    = "ta_"
	ticketPrefix = "tt_"
	// idLength is 40 random bits: an id is no secret, it only has to be rare.
	idLength = 8
	// secretLength is what 256 random bits take in base64url. Nobody guesses that,
	// so the hash need not be slow: a slow one would only let a stranger who sends
	// rubbish use up the processor that the agent trades with.
	secretLength = 43
	saltBytes    = 16
)

var (
	idAlphabet = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)
	// strict takes one spelling of every secret and refuses the others.
	strict = base64.RawURLEncoding.Strict()
)

// newID names a key.
func newID() string {
	var random [idLength * 5 / 8]byte
	_, _ = rand.Read(random[:]) // never fails
	return idAlphabet.EncodeToString(random[:])
}

// newSecret is 256 random bits.
func newSecret() string {
	var random [32]byte
	_, _ = rand.Read(random[:])
	return strict.EncodeToString(random[:])
}

func newSalt() []byte {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt)
	return salt
}

// parseKey takes the id out of a key, and refuses what no maker of keys writes.
func parseKey(text string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(text, keyPrefix)
	if !ok || len(rest) != idLength+1+secretLength || rest[idLength] != '_' {
		return "", false
	}
	id, secret := rest[:idLength], rest[idLength+1:]
	return id, validID(id) && validSecret(secret)
}

func validTicket(text string) bool {
	secret, ok := strings.CutPrefix(text, ticketPrefix)
	return ok && validSecret(secret)
}

func validID(id string) bool {
	if len(id) != idLength {
		return false
	}
	_, err := idAlphabet.DecodeString(id)
	return err == nil
}

func validSecret(secret string) bool {
	if len(secret) != secretLength || strings.ContainsAny(secret, "\r\n") {
		return false
	}
	decoded, err := strict.DecodeString(secret)
	return err == nil && len(decoded) == 32
}

// hash is what is kept of a key. The whole key goes in, so that an entry copied to
// another id lets nobody in.
func hash(salt []byte, key string) []byte {
	mac := hmac.New(sha256.New, salt)
	_, _ = mac.Write([]byte(key)) // never fails
	return mac.Sum(nil)
}

// spelled finds whatever looks like a key or a ticket in a text.
var spelled = regexp.MustCompile(`t[at]_[0-9A-Za-z_-]{16,}`)

// redact takes out of a text what looks like a key or a ticket, for clients that
// put theirs where it does not belong.
func redact(text string) string { return spelled.ReplaceAllString(text, "[redacted]") }

// pathOf is the path of a request as it is recorded: printable, bounded, and spelt in
// the one way in which redact knows a key.
func pathOf(r *http.Request) string {
	const longest = 512
	path := redact((&url.URL{Path: r.URL.Path}).EscapedPath())
	return path[:min(len(path), longest)]
}
