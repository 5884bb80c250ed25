package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// halter keeps what it was asked.
type halter struct {
	asked []string
	err   error
}

func (h *halter) Halt(_ context.Context, name string, state v1alpha1.HaltState, task v1alpha1.HaltTask, reason string) error {
	h.asked = append(h.asked, strings.Join([]string{name, string(state), string(task), reason}, "|"))
	return h.err
}

func TestHalt(t *testing.T) {
	for name, c := range map[string]struct {
		path, key string
		scope     keys.Scope
		err       error
		status    int
		asked     string
	}{
		"halt":                       {"/api/v1/halt?reason=fire", "01234567", keys.Admin, nil, http.StatusAccepted, "|Halted|CancelOrders|fire (by API key \"test\")"},
		"flatten":                    {"/api/v1/halt?reason=fire&task=Flatten", "01234567", keys.Admin, nil, http.StatusAccepted, "|Halted|Flatten|fire"},
		"reduce-only":                {"/api/v1/reduce-only?reason=smoke", "01234567", keys.Admin, nil, http.StatusAccepted, "|ReduceOnly|CancelOrders|smoke"},
		"no admin":                   {"/api/v1/halt?reason=fire", "01234567", keys.Trade, nil, http.StatusForbidden, ""},
		"no reason":                  {"/api/v1/halt", "01234567", keys.Admin, nil, http.StatusUnprocessableEntity, ""},
		"no such task":               {"/api/v1/halt?reason=fire&task=Explode", "01234567", keys.Admin, nil, http.StatusUnprocessableEntity, ""},
		"no key":                     {"/api/v1/halt?reason=fire", "", keys.Admin, nil, http.StatusUnprocessableEntity, ""},
		"a key of another":           {"/api/v1/halt?reason=fire", "01234567", keys.Admin, ErrHaltTaken, http.StatusConflict, "|Halted"},
		"no API server to ask":       {"/api/v1/halt?reason=fire", "01234567", keys.Admin, ErrNoHalts, http.StatusConflict, "|Halted"},
		"an API server that is away": {"/api/v1/halt?reason=fire", "01234567", keys.Admin, errors.New("connection refused"), http.StatusServiceUnavailable, "|Halted"},
	} {
		t.Run(name, func(t *testing.T) {
			asked, door := &halter{err: c.err}, &gate{scope: c.scope}
			handler := New(Options{Namespace: "desk", Name: "eur-trend", Agent: &agent{}, Auth: door, Halter: asked})
			answer, body := ask(t, handler, http.MethodPost, c.path, c.key)
			if answer.StatusCode != c.status {
				t.Errorf("%d: %v", answer.StatusCode, body)
			}
			if told := strings.Join(asked.asked, " "); (told != "") != (c.asked != "") || !strings.Contains(told, c.asked) || c.asked != "" && !strings.HasPrefix(told, "eur-trend-api-") {
				t.Errorf("asked for %q", told)
			}
			if strings.Contains(fmt.Sprint(body), "connection refused") {
				t.Error("the answer tells of the agent's own connections")
			}
			if c.scope == keys.Admin && (len(door.uses) == 0 || door.uses[0].KeyName != "test") {
				t.Errorf("recorded %+v", door.uses)
			}
		})
	}
}

// The same key has the same name, another key another.
func TestHaltIsNamedByItsKey(t *testing.T) {
	asked := &halter{}
	handler := New(Options{Namespace: "desk", Name: "eur-trend", Agent: &agent{}, Auth: &gate{scope: keys.Admin}, Halter: asked})
	for _, key := range []string{"first-key", "first-key", "second-key"} {
		ask(t, handler, http.MethodPost, "/api/v1/halt?reason=fire", key)
	}
	if len(asked.asked) != 3 || asked.asked[0] != asked.asked[1] || asked.asked[0] == asked.asked[2] {
		t.Errorf("asked for %q", asked.asked)
	}
}

// An agent without an API server says what to do instead.
func TestHaltWithoutAPIServer(t *testing.T) {
	handler := New(Options{Namespace: "desk", Name: "eur-trend", Agent: &agent{}, Auth: &gate{scope: keys.Admin}})
	answer, body := ask(t, handler, http.MethodPost, "/api/v1/halt?reason=fire", "01234567")
	if answer.StatusCode != http.StatusConflict || !strings.Contains(fmt.Sprint(body), "without an API server") {
		t.Errorf("%d: %v", answer.StatusCode, body)
	}
}
