package main

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/tools/leaderelection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunNamesWhatIsMissing(t *testing.T) {
	err := run(t.Context(), options{})
	if err == nil || !strings.Contains(err.Error(), "AGENT_IMAGE") {
		t.Errorf("got %v, want an error that names AGENT_IMAGE", err)
	}
	err = run(t.Context(), options{agentImage: "registry.example/agent:1", webhookCert: "vault", endpoint: endpointOptions{internalIssuer: "ClusterIssuer/trading-internal"}})
	if err == nil || !strings.Contains(err.Error(), "--webhook-certificate") {
		t.Errorf("got %v, want an error that names --webhook-certificate", err)
	}
	t.Setenv("KUBECONFIG", t.TempDir()+"/missing")
	err = run(t.Context(), options{agentImage: "registry.example/agent:1", webhookCert: webhookFromFiles, endpoint: endpointOptions{internalIssuer: "ClusterIssuer/trading-internal"}})
	if err == nil || !strings.Contains(err.Error(), "KUBECONFIG") {
		t.Errorf("got %v, want an error that names KUBECONFIG", err)
	}
}

func TestElection(t *testing.T) {
	for _, lease := range []time.Duration{0, time.Second, 2500 * time.Millisecond, -4 * time.Second} {
		if _, err := newElection(lease); err == nil || !strings.Contains(err.Error(), "--leader-elect-lease-duration") {
			t.Errorf("%s: got %v, want an error that names the flag", lease, err)
		}
	}
	for _, lease := range []time.Duration{shortestLease, defaultLease, 16 * time.Second, time.Minute} {
		lead, err := newElection(lease)
		// What client-go's elector asks for.
		if err != nil || lead.renew >= lead.lease || time.Duration(leaderelection.JitterFactor*float64(lead.retry)) >= lead.renew {
			t.Errorf("%s: %+v, %v", lease, lead, err)
		}
	}
}
