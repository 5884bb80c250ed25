// Package keys decides who may use an agent's API: keys with scopes, kept only as
// salted hashes, and the single-use tickets that stand in for them.
package keys

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Scope is what a key may do. Each scope includes the ones before it.
type Scope string

const (
	// Read sees everything that the agent tells.
	Read Scope = "read"
	// Trade may also ask for orders, such as closing a position.
	Trade Scope = "trade"
	// Admin is for what is the desk owner's alone, such as a halt.
	Admin Scope = "admin"
)

// Identity is a client that has shown a valid key or ticket.
type Identity struct {
	// KeyID names the key without being secret.
	KeyID string
	// Name that the key was given by its maker.
	Name  string
	Scope Scope
	// Expires is when the key ends; zero if it does not.
	Expires time.Time
	// Revoked is closed when the key is revoked, replaced or has expired. What the
	// client holds open must end within a second of it.
	Revoked <-chan struct{}
}

// Allows is whether the identity's scope includes the given one.
func (i Identity) Allows(scope Scope) bool { return i.Scope.rank() >= scope.rank() }

func (s Scope) rank() int {
	switch s {
	case Read:
		return 1
	case Trade:
		return 2
	case Admin:
		return 3
	}
	return 0
}

// LimitedError tells a client that it must wait.
type LimitedError struct {
	// RetryAfter is how long, at least a second.
	RetryAfter time.Duration
	// Starting says that it is not the client's fault: the agent has not read its
	// keys yet.
	Starting bool
}

// Seconds is RetryAfter in whole seconds, rounded up.
func (e *LimitedError) Seconds() int { return max(1, int(math.Ceil(e.RetryAfter.Seconds()))) }

func (e *LimitedError) Error() string {
	if e.Starting {
		return fmt.Sprintf("the agent has started and reads its API keys; try again in %d s", e.Seconds())
	}
	return fmt.Sprintf("too many attempts; try again in %d s", e.Seconds())
}

// ErrUnauthenticated is the answer to a missing, wrong, expired or revoked key or
// ticket; it does not say which, because that would help only an attacker.
var ErrUnauthenticated = errors.New("no valid API key; send it as Authorization: Bearer KEY")

// ErrNoRecord means that what keys do cannot be put on record yet.
var ErrNoRecord = errors.New("there is no ledger to record the request in")
