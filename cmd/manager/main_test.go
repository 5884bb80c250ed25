package main

import (
	"strings"
	"testing"
)

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
