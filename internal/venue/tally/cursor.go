package tally

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// clockMargin is how far a venue's clock may be behind the one that a cursor of
// venue.Since was read from.
const clockMargin = time.Minute

// Entry is one execution as a cursor remembers it.
type Entry struct {
	// ID that the venue gives it.
	ID string
	// At is when it happened, by the venue's clock.
	At time.Time
}

// Cursor is where a list of executions goes on. Executions come to light in
// another order than they happened in, so it goes back by as much as one may be
// late, and remembers what was listed there.
type Cursor struct {
	// From is when the next list begins; zero at the beginning.
	From time.Time `json:"from,omitzero"`
	// Listed are the ids of what was listed from there on.
	Listed []string `json:"listed,omitempty"`
}

// ParseCursor reads a cursor that String or venue.Since has written; the empty one
// is at the beginning.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	if at, ok := venue.SinceOf(text); ok {
		return Cursor{From: at.Add(-clockMargin)}, nil
	}
	var cursor Cursor
	if err := json.Unmarshal([]byte(text), &cursor); err != nil {
		return Cursor{}, fmt.Errorf("the cursor is not one of this venue's: %w", err)
	}
	if cursor.From.IsZero() {
		return Cursor{}, errors.New("the cursor is not one of this venue's: it has no time")
	}
	return cursor, nil
}

// String writes the cursor.
func (c Cursor) String() string {
	if c.From.IsZero() {
		return ""
	}
	text, err := json.Marshal(c)
	if err != nil {
		// A time of a year beyond 9999, which no venue has: begin again.
		return ""
	}
	return string(text)
}

// Passed tells what was listed before the cursor: venues that count time more
// coarsely list a little of it again.
func (c Cursor) Passed() func(Entry) bool {
	known := make(map[string]bool, len(c.Listed))
	for _, id := range c.Listed {
		known[id] = true
	}
	return func(entry Entry) bool { return known[entry.ID] || entry.At.Before(c.From) }
}

// After is the cursor behind a list that begins at this one and holds all that the
// venue shows. Late is by how much an execution may come to light late.
func (c Cursor) After(list []Entry, late time.Duration) Cursor {
	var newest time.Time
	for _, entry := range list {
		if entry.At.After(newest) {
			newest = entry.At
		}
	}
	if newest.IsZero() {
		return c
	}
	next := Cursor{From: newest.Add(-late).UTC()}
	if next.From.Before(c.From) {
		next.From = c.From
	}
	listed := map[string]bool{}
	for _, entry := range list {
		if !entry.At.Before(next.From) && !listed[entry.ID] {
			listed[entry.ID] = true
			next.Listed = append(next.Listed, entry.ID)
		}
	}
	return next
}
