package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

// TicketDocument is the answer of POST /api/v1/tickets.
type TicketDocument struct {
	// Ticket opens one WebSocket, as ?token= or behind "bearer." in
	// Sec-WebSocket-Protocol.
	Ticket  string    `json:"ticket"`
	Expires time.Time `json:"expires"`
}

func (s *Server) issueTicket(w http.ResponseWriter, r *http.Request) {
	identity, known := keys.FromContext(r.Context())
	if !known {
		keys.Refuse(w, r, keys.ErrUnauthenticated)
		return
	}
	ticket, expires, err := s.options.Keyring.IssueTicket(identity)
	if err != nil {
		keys.Refuse(w, r, err)
		return
	}
	text, err := json.Marshal(TicketDocument{Ticket: ticket, Expires: expires.UTC().Truncate(time.Second)})
	if err != nil {
		problem.Write(w, http.StatusInternalServerError, "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(append(text, '\n'))
}
