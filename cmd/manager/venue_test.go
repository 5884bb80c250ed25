package main

import (
	"strings"
	"testing"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// Tokens must not go out in the clear because of a flag.
func TestRunRefusesAnUnsafeGateway(t *testing.T) {
	for _, name := range v1alpha1.RealVenues() {
		unsafe := venues.Gateways{name: "http://gateway.example"}
		err := run(t.Context(), options{agentImage: "registry.example/agent:1", gateways: unsafe})
		if err == nil || !strings.Contains(err.Error(), "--venue-gateway: the gateway of "+string(name)) || !strings.Contains(err.Error(), "https://") {
			t.Errorf("%s: got %v, want an error that names the flag and what is needed", name, err)
		}
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
