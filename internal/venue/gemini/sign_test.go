package gemini

import (
	"net/http"
	"testing"
)

// The example of Gemini's manual, Private API Invocation, with the key mykey and the
// secret 1234abcd.
func TestSign(t *testing.T) {
	const payload = "{\n    \"request\": \"/v1/order/status\",\n    \"nonce\": 123456,\n\n    \"order_id\": 18834\n}\n"
	header := http.Header{}
	(&Credentials{key: "mykey", secret: []byte("1234abcd")}).sign(header, []byte(payload))
	for name, want := range map[string]string{
		"X-GEMINI-APIKEY":    "mykey",
		"X-GEMINI-PAYLOAD":   "ewogICAgInJlcXVlc3QiOiAiL3YxL29yZGVyL3N0YXR1cyIsCiAgICAibm9uY2UiOiAxMjM0NTYsCgogICAgIm9yZGVyX2lkIjogMTg4MzQKfQo=",
		"X-GEMINI-SIGNATURE": "337cc8b4ea692cfe65b4a85fcc9f042b2e3f702ac956fd098d600ab15705775017beae402be773ceee10719ff70d710f",
		"Content-Type":       "text/plain",
		"Cache-Control":      "no-cache",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if back, err := payloadOf(header, nil); err != nil || string(back) != payload {
		t.Errorf("the payload is read back as %q, %v", back, err)
	}
	if back, err := payloadOf(header, []byte("x")); err == nil {
		t.Errorf("with a body beside it, the payload is read as %q", back)
	}
}
