package coinbase

import (
	"strings"
	"testing"
)

// FuzzCredentials reads any two texts as a key. An objection repeats neither,
// because it ends up in conditions and logs.
func FuzzCredentials(f *testing.F) {
	f.Add("organizations/a/apiKeys/b", "-----BEGIN EC PRIVATE KEY-----\\nAAAA\\n-----END EC PRIVATE KEY-----\\n")
	f.Add("organizations/a/apiKeys/b", "bm90IGEga2V5IGF0IGFsbCwgYnV0IGxvbmcgZW5vdWdo")
	f.Add("canary-name", "canary-key")
	const short = 12 // anything shorter may well be one of our own words
	f.Fuzz(func(t *testing.T, name, key string) {
		credentials, err := ParseCredentials(name, key)
		if err == nil {
			if credentials.String() != "(credentials)" {
				t.Fatalf("credentials print as %s", credentials)
			}
			return
		}
		for _, secret := range []string{strings.TrimSpace(name), strings.TrimSpace(key)} {
			if len(secret) >= short && strings.Contains(err.Error(), secret) {
				t.Fatalf("the objection repeats its input: %v", err)
			}
		}
	})
}
