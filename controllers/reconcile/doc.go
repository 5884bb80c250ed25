// Package reconcile is what the controllers share: how a pass over an object
// ends, how that becomes conditions and one write of status, and how children
// are applied only when they differ.
package reconcile

// FieldOwner is the name under which the operator writes. The agents write
// status.trading under a name of their own.
const FieldOwner = "trading-operator"
