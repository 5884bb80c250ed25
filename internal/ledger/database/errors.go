// Package database is how the desk talks to PostgreSQL: pools with time-outs,
// transactions whose lost commits are asked for again, and errors that never
// contain a password.
package database

import "errors"

var (
	// ErrUnavailable means that the database cannot be reached or does not
	// answer in time.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrOutcomeUnknown means that the reply to a commit was lost and the
	// database could not be asked again.
	ErrOutcomeUnknown = errors.New("the outcome of the commit is unknown")
)
