package coinbase

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"
)

// FuzzCredentials reads any two texts as a key. Every objection is one of a few
// sentences, so that none repeats its input: it ends up in conditions and logs.
func FuzzCredentials(f *testing.F) {
	curved, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	curve, err := x509.MarshalECPrivateKey(curved)
	if err != nil {
		f.Fatal(err)
	}
	inPEM := func(content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: content}))
	}
	const name = "organizations/a/apiKeys/b"
	sentences := map[string]bool{}
	for _, wrong := range [][2]string{
		{"canary name", "canary-key"},
		{name, "canary-key"},
		{name, base64.StdEncoding.EncodeToString(make([]byte, ed25519Size))},
		{name, inPEM([]byte("canary-key"))},
		{name, inPEM(curve)},
	} {
		f.Add(wrong[0], wrong[1])
		if _, err := ParseCredentials(wrong[0], wrong[1]); err != nil {
			sentences[err.Error()] = true
		}
	}
	if len(sentences) != 5 {
		f.Fatalf("there are %d sentences: %v", len(sentences), sentences)
	}
	f.Fuzz(func(t *testing.T, name, key string) {
		credentials, err := ParseCredentials(name, key)
		switch {
		case err == nil && credentials.String() != "(credentials)":
			t.Fatalf("credentials print as %s", credentials)
		case err != nil && !sentences[err.Error()]:
			t.Fatalf("it objects in words of its own: %v", err)
		}
	})
}
