package kraken

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The example of Kraken's manual
// (https://docs.kraken.com/exchange/guides/rest/authentication).
func TestSignsAsTheManual(t *testing.T) {
	credentials, err := ParseCredentials(strings.Repeat("k", 56), "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==")
	if err != nil {
		t.Fatal(err)
	}
	const nonce = "1616492376594"
	got := credentials.sign("/0/private/AddOrder", nonce, []byte("nonce="+nonce+"&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"))
	if want := "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCredentialsPrintAsNothing(t *testing.T) {
	credentials, err := ParseCredentials(strings.Repeat("k", 56), strings.Repeat("A", 86)+"==")
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := json.Marshal(credentials)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(credentials), fmt.Sprintf("%+v %#v %s", credentials, credentials, credentials), string(inJSON)} {
		if strings.Contains(text, "kkk") || strings.Contains(text, "AAA") || !strings.Contains(text, "(credentials)") {
			t.Errorf("credentials print as %s", text)
		}
	}
}

// FuzzCredentials reads any two texts as a key. Every objection is one of a few
// sentences, so that none repeats its input: it ends up in conditions and logs.
func FuzzCredentials(f *testing.F) {
	key := strings.Repeat("k", 56)
	sentences := map[string]bool{}
	for _, wrong := range [][2]string{{"canary key", "canary"}, {key, "canary-key"}, {key, "Y2FuYXJ5"}} {
		f.Add(wrong[0], wrong[1])
		if _, err := ParseCredentials(wrong[0], wrong[1]); err != nil {
			sentences[err.Error()] = true
		}
	}
	if len(sentences) != 3 {
		f.Fatalf("there are %d sentences: %v", len(sentences), sentences)
	}
	f.Add(key, strings.Repeat("A", 86)+"==")
	f.Fuzz(func(t *testing.T, key, secret string) {
		credentials, err := ParseCredentials(key, secret)
		switch {
		case err == nil && credentials.String() != "(credentials)":
			t.Fatalf("credentials print as %s", credentials)
		case err != nil && !sentences[err.Error()]:
			t.Fatalf("it objects in words of its own: %v", err)
		}
	})
}

func TestNoncesGrow(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	n := &nonces{now: func() time.Time { return now }}
	last := ""
	check := func(what string) {
		t.Helper()
		next := n.next()
		if len(next) < len(last) || len(next) == len(last) && next <= last {
			t.Errorf("%s: %s comes after %s", what, next, last)
		}
		last = next
	}
	check("first")
	check("at the same time")
	now = now.Add(-time.Hour)
	check("after the clock was set back")
	// Another process has gone ahead by half an hour: refusals lead past it.
	n = &nonces{now: func() time.Time { return now }}
	ahead := now.Add(30 * time.Minute).UnixNano()
	refusals := 0
	for ; n.next() <= strconv.FormatInt(ahead, 10); refusals++ {
		if n.refused(); refusals > 20 {
			t.Fatal("it never gets there")
		}
	}
	if refusals < 2 {
		t.Errorf("it got there after %d refusals", refusals)
	}
	for range 20 {
		n.refused()
	}
	if limit := now.Add(mostAhead + time.Second).UnixNano(); n.next() > strconv.FormatInt(limit, 10) {
		t.Error("it goes further ahead than it may")
	}
}
