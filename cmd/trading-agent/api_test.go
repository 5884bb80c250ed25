package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/server/api"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// tell sends a request with a key, and with an idempotency key if one is given, and
// reads the answer.
func tell[T any](t *testing.T, r *reached, method, path, key string, idempotency ...string) (int, T) {
	t.Helper()
	sent := http.Header{"Authorization": {"Bearer " + key}}
	for _, value := range idempotency {
		sent.Set("Idempotency-Key", value)
	}
	code, answer := r.ask(t, method, path, "", sent)
	var told T
	if _, body, found := strings.Cut(answer, "{"); !found || json.Unmarshal([]byte("{"+body), &told) != nil {
		t.Fatalf("%s %s: %d %s", method, path, code, answer)
	}
	return code, told
}

// A person reads what an agent does and closes what it holds: once, however often
// it is asked for, and with the order, its fills and the equity there to be read.
func TestAPIOfARunningAgent(t *testing.T) {
	r := reach(t)
	key := r.create(t, "person", keys.Trade)
	deadline := time.Now().Add(60 * time.Second)
	var wish string
	var granted api.Closing
	for count := 0; wish == ""; count++ {
		if time.Now().After(deadline) {
			t.Fatal("nothing was ever held, so nothing could be closed")
		}
		_, held := tell[api.PositionList](t, r, http.MethodGet, "/api/v1/positions", key)
		if len(held.Items) == 0 {
			continue
		}
		asked := fmt.Sprintf("wish-%06d", count)
		code, answer := tell[api.Closing](t, r, http.MethodPost, "/api/v1/positions/"+held.Items[0].Pair+"/close", key, asked)
		if code == http.StatusAccepted && !answer.Known {
			wish, granted = asked, answer
		}
	}
	code, again := tell[api.Closing](t, r, http.MethodPost, "/api/v1/positions/"+granted.Pair+"/close", key, wish)
	if code != http.StatusAccepted || !again.Known || !slices.Equal(again.Orders, granted.Orders) {
		t.Errorf("asked again: %d %+v; granted was %+v", code, again, granted)
	}
	path := "/api/v1/orders/" + string(granted.Orders[0])
	var closing api.Order
	for closing.State != "Filled" && closing.State != "Cancelled" {
		if time.Now().After(deadline) {
			t.Fatalf("the order has not ended: %+v", closing)
		}
		if code, closing = tell[api.Order](t, r, http.MethodGet, path, key); code != http.StatusOK {
			t.Fatalf("%s: %d", path, code)
		}
	}
	if closing.Reason != "Close" || !closing.ReduceOnly || closing.Pair != granted.Pair {
		t.Errorf("the order that closes is %+v", closing)
	}
	_, fills := tell[api.List[api.Fill]](t, r, http.MethodGet, "/api/v1/fills?order="+string(closing.ID), key)
	if (closing.State == "Filled") != (len(fills.Items) > 0) {
		t.Errorf("an order that is %s has the fills %+v", closing.State, fills.Items)
	}
	_, decisions := tell[api.List[api.Decision]](t, r, http.MethodGet, "/api/v1/decisions?limit=5", key)
	if len(decisions.Items) != 5 || decisions.Next == "" || len(decisions.Items[0].Arguments) != 2 || decisions.Items[0].Judge == "" {
		t.Errorf("the decisions are %+v", decisions)
	}
	_, pulse := tell[api.PulseList](t, r, http.MethodGet, "/api/v1/pulse", key)
	if len(pulse.Items) != 1 || len(pulse.Items[0].Frames) == 0 || pulse.Items[0].Frames[0].RSI == "" {
		t.Errorf("the pulse is %+v", pulse)
	}
	_, effective := tell[api.EffectiveDocument](t, r, http.MethodGet, "/api/v1/effective", key)
	if !slices.ContainsFunc(effective.Values, func(v api.EffectiveValue) bool { return v.Field == "pairs[EUR-USD].tickSize" }) {
		t.Errorf("the configuration in force is %+v", effective)
	}
	for path, method := range routes {
		if strings.HasPrefix(path, "/api/v1/") && path != "/api/v1/stream" && method == http.MethodGet {
			if code, answer := tell[map[string]any](t, r, method, path, key); code != http.StatusOK {
				t.Errorf("%s: %d %v", path, code, answer)
			}
		}
	}
}
