package testbench

import (
	"context"
	"sync"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/endpoint"
)

// Endpoints is what clients of the agents' endpoints meet on the bench. Nobody is
// met until a test says so.
type Endpoints struct {
	mu      sync.Mutex
	answers map[string]endpoint.Answer
}

// Answer has the trials of a host find something from now on.
func (e *Endpoints) Answer(host string, answer endpoint.Answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answers == nil {
		e.answers = map[string]endpoint.Answer{}
	}
	e.answers[host] = answer
}

// Try finds what the test wants.
func (e *Endpoints) Try(_ context.Context, target endpoint.Target) endpoint.Answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	if answer, ok := e.answers[target.Host]; ok {
		return answer
	}
	return endpoint.Answer{Known: true, Reason: v1alpha1.ReasonEndpointUnreachable, Message: "the bench leads nowhere"}
}
