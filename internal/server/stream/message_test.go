package stream

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseSubscription(t *testing.T) {
	for message, want := range map[string]subscription{
		`{"subscribe":[]}`:                            {},
		`{"subscribe":["fills","fills"]}`:             {topics: topicSet(0).with(Fills)},
		`{"subscribe":["status"],"after":"7.ab.9"}`:   {topics: topicSet(0).with(Status), after: "7.ab.9"},
		`{"after":"x","subscribe":["Fills","bad\n"]}`: {unknown: []string{"Fills", "bad?"}, after: "x"},
	} {
		got, err := parseSubscription([]byte(message))
		if err != nil || got.topics != want.topics || got.after != want.after || !slices.Equal(got.unknown, want.unknown) {
			t.Errorf("%s: %+v and %v, want %+v", message, got, err, want)
		}
	}
	long := `{"subscribe":["` + strings.Repeat("x", 500) + `"]}`
	if got, err := parseSubscription([]byte(long)); err != nil || len(got.unknown[0]) > longestWord+3 {
		t.Errorf("a long word is repeated as %q, %v", got.unknown, err)
	}
}

func TestParseSubscriptionRefuses(t *testing.T) {
	for _, message := range []string{
		``, `null`, `[]`, `"fills"`, `{}`, `{"subscribe":null}`, `{"subscribe":"fills"}`, `{"subscribe":[1]}`,
		`{"subscribe":[],"key":"ta_k1_secret"}`, `{"subscribe":[]}{"subscribe":[]}`, `{"subscribe":[]} x`,
		`{"subscribe":[],"after":7}`, `{"subscribe":[],"after":"` + strings.Repeat("1", longestID+1) + `"}`,
		`{"subscribe":["fills"` + strings.Repeat(`,"fills"`, mostWords) + `]}`,
	} {
		got, err := parseSubscription([]byte(message))
		if err == nil {
			t.Errorf("%s is taken as %+v", message, got)
		} else if strings.Contains(err.Error(), "ta_k1") {
			t.Errorf("the error repeats the message: %v", err)
		}
	}
}

func FuzzParseSubscription(f *testing.F) {
	for _, seed := range []string{`{"subscribe":["fills","x"],"after":"1.a.2"}`, `{"subscribe":[]}`, `{"subscribe":`, "\xff", `{"subscribe":["\ud800"]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		wanted, err := parseSubscription(message)
		if err != nil {
			if len(err.Error()) > longestReason {
				t.Errorf("the error is %d long", len(err.Error()))
			}
			return
		}
		if wanted.topics&^(newsTopics|stateTopics) != 0 {
			t.Errorf("topics %b", wanted.topics)
		}
		for _, word := range wanted.unknown {
			if len(word) > longestWord+3 || !utf8.ValidString(word) || strings.ContainsAny(word, "\n\r\x00") {
				t.Errorf("the word %q is repeated", word)
			}
		}
	})
}

func FuzzParsePosition(f *testing.F) {
	for _, seed := range []string{"7.ab.9", "0.a.0", "..", "-1.a.1", "1.a.-1", "99999999999999999999.a.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		at, err := parsePosition(id)
		if err != nil {
			return
		}
		if again, err := parsePosition(at.String()); err != nil || again != at {
			t.Errorf("%q became %+v, %v", id, again, err)
		}
	})
}
