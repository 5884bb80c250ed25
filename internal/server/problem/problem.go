// Package problem writes the API's error documents, as RFC 9457 says.
package problem

import (
	"encoding/json"
	"net/http"
)

// ContentType of an error document.
const ContentType = "application/problem+json"

// Document says what went wrong. It never repeats what a client sent, because
// that may hold a key.
type Document struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail tells the client what to change.
	Detail string `json:"detail,omitempty"`
}

// Write answers with an error document. Headers that belong to the answer, such as
// Retry-After, are set before it.
func Write(w http.ResponseWriter, status int, detail string) {
	text, err := json.Marshal(Document{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that has gone is its own affair.
	_, _ = w.Write(append(text, '\n'))
}
