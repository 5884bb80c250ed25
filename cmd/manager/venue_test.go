package main

import (
	"strings"
	"testing"
)

// Tokens must not go out in the clear because of a flag.
func TestRunRefusesAnUnsafeGateway(t *testing.T) {
	err := run(t.Context(), options{agentImage: "registry.example/agent:1", coinbaseURL: "http://gateway.example"})
	if err == nil || !strings.Contains(err.Error(), "--coinbase-url") || !strings.Contains(err.Error(), "https://") {
		t.Errorf("got %v, want an error that names the flag and what is needed", err)
	}
}

func TestOwnNamespace(t *testing.T) {
	for _, test := range []struct {
		opts options
		want string
	}{
		{options{namespace: "claims", leaderNamespace: "lead"}, "claims"},
		{options{leaderNamespace: "lead"}, "lead"},
		{options{}, ""},
	} {
		if got := ownNamespace(test.opts); got != test.want {
			t.Errorf("%+v: %q, want %q", test.opts, got, test.want)
		}
	}
}
