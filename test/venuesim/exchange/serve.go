package exchange

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// Front is a venue's protocol on top of an exchange.
type Front interface {
	http.Handler
	// Endpoint says what a request asks for.
	Endpoint(r *http.Request) Endpoint
	// Fail answers with a status in the venue's words.
	Fail(w http.ResponseWriter, status int)
}

// Request is one that has arrived.
type Request struct {
	Endpoint Endpoint `json:"endpoint"`
	Method   string   `json:"method"`
	Path     string   `json:"path"`
	Query    string   `json:"query,omitempty"`
	Body     string   `json:"body,omitempty"`
	// Key that signed it; empty if none did.
	Key string `json:"key,omitempty"`
	// Struck are the faults that it met.
	Struck []Kind    `json:"struck,omitempty"`
	At     time.Time `json:"at"`
	// Status of the answer; zero if there was none.
	Status int `json:"status"`
}

// Requests are all that have been answered, or cut off, in that order.
func (e *Exchange) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Request{}, e.requests...)
}

// maxRequest bounds what is read of a request.
const maxRequest = 1 << 20

// Handler serves a front with its faults, and the control of the exchange below
// /control/.
func (e *Exchange) Handler(front Front) http.Handler {
	control := http.StripPrefix("/control", e.control())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/control/") {
			control.ServeHTTP(w, r)
			return
		}
		e.serve(w, r, front)
	})
}

// serve lets one request meet its faults.
func (e *Exchange) serve(w http.ResponseWriter, r *http.Request, front Front) {
	endpoint := front.Endpoint(r)
	t := &ticket{struck: e.strike(endpoint, r), arrivedAt: e.Clock()}
	note := Request{Endpoint: endpoint, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, At: t.arrivedAt}
	for _, fault := range t.struck {
		note.Struck = append(note.Struck, fault.Kind)
	}
	answer := e.answer(r, front, t)
	note.Body, note.Key = string(t.body), t.key
	if _, struck := t.by(ResetAfter); answer != nil && !struck {
		note.Status = answer.Code
	}
	e.mu.Lock()
	e.requests = append(e.requests, note)
	e.mu.Unlock()
	if answer == nil || note.Status == 0 {
		hangUp(w)
		return
	}
	e.send(w, t, answer)
}

// answer is what the exchange says to a request in the end; nil if it says nothing
// because the request does not arrive.
func (e *Exchange) answer(r *http.Request, front Front, t *ticket) *httptest.ResponseRecorder {
	if _, struck := t.by(ResetBefore); struck {
		return nil
	}
	if _, struck := t.by(ResetRequest); struck {
		half := make([]byte, max(r.ContentLength/2, 0))
		n, _ := io.ReadFull(r.Body, half) // whatever has come is cut off
		t.body = half[:n]
		return nil
	}
	var err error
	if t.body, err = io.ReadAll(io.LimitReader(r.Body, maxRequest)); err != nil {
		return nil
	}
	e.wait(t.delay(DelayArrival), nil)
	// The order is accepted whether or not the client still waits.
	ctx := context.WithValue(context.WithoutCancel(r.Context()), ticketKey{}, t)
	asked := r.Clone(ctx)
	asked.Body = io.NopCloser(bytes.NewReader(t.body))
	answer := httptest.NewRecorder()
	if !answered(answer, t, front, asked, StatusBefore, BodyBefore) {
		front.ServeHTTP(answer, asked)
		answered(answer, t, front, asked, StatusAfter, BodyAfter)
	}
	e.wait(t.delay(DelayAnswer), r.Context().Done())
	return answer
}

// answered puts a fault's answer in the place of the exchange's.
func answered(answer *httptest.ResponseRecorder, t *ticket, front Front, r *http.Request, status, body Kind) bool {
	fault, byStatus := t.by(status)
	if !byStatus {
		var byBody bool
		if fault, byBody = t.by(body); !byBody {
			return false
		}
		fault.Status = http.StatusOK
	}
	*answer = *httptest.NewRecorder()
	if fault.RetryAfter > 0 {
		answer.Header().Set("Retry-After", strconv.Itoa(fault.RetryAfter))
	}
	if fault.Status == 0 {
		fault.Status = http.StatusServiceUnavailable
	}
	if fault.Body == "" && byStatus {
		front.Fail(answer, fault.Status)
		return true
	}
	answer.WriteHeader(fault.Status)
	text := strings.ReplaceAll(fault.Body, "{authorization}", r.Header.Get("Authorization"))
	_, _ = answer.WriteString(text) // into memory
	return true
}

// send writes an answer as far as the request's faults let it.
func (e *Exchange) send(w http.ResponseWriter, t *ticket, answer *httptest.ResponseRecorder) {
	body := answer.Body.Bytes()
	_, reset := t.by(ResetAnswer)
	_, truncated := t.by(Truncate)
	if (reset || truncated) && len(body) == 0 {
		// There is no middle of an answer that has no body.
		hangUp(w)
		return
	}
	maps.Copy(w.Header(), answer.Header())
	w.Header().Set("Date", e.Clock().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(answer.Code)
	if !reset && !truncated {
		_, _ = w.Write(body) // the client may be gone
		return
	}
	_, _ = w.Write(body[:len(body)/2])
	// A handler that returns early has the server close the connection in good
	// order, before as many bytes as it has announced.
	if err := http.NewResponseController(w).Flush(); err == nil && reset {
		hangUp(w)
	}
}

// strike picks the faults that a request meets.
func (e *Exchange) strike(endpoint Endpoint, r *http.Request) []Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	var struck []Fault
	kept := e.faults[:0]
	for _, fault := range e.faults {
		matches := (fault.Endpoint == "" || fault.Endpoint == endpoint) && strings.Contains(r.URL.Path, fault.Path)
		switch {
		case !matches:
		case fault.Skip > 0:
			fault.Skip--
		case fault.Probability > 0 && e.dice.Float64() >= fault.Probability:
		default:
			struck = append(struck, fault)
			if fault.Next > 0 {
				if fault.Next--; fault.Next == 0 {
					continue
				}
			}
		}
		kept = append(kept, fault)
	}
	e.faults = kept
	return struck
}

// hangUp has the client see a reset connection rather than an end.
func hangUp(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the connection ends in good order
	}
	_ = connection.Close()
}
