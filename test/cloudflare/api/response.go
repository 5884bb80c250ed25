package api

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// fault is an error as the API tells it.
type fault struct {
	Code    int     `json:"code"`
	Message string  `json:"message"`
	Chain   []fault `json:"error_chain,omitempty"`
}

// response is the envelope of every answer.
type response struct {
	status int

	Success  bool     `json:"success"`
	Errors   []fault  `json:"errors"`
	Messages []string `json:"messages"`
	Result   any      `json:"result"`
}

func succeeded(result any) response {
	return response{status: http.StatusOK, Success: true, Errors: []fault{}, Messages: []string{}, Result: result}
}

func failed(status, code int, message string, chain ...fault) response {
	return response{status: status, Errors: []fault{{Code: code, Message: message, Chain: chain}}, Messages: []string{}}
}

// The API's errors, as its users have met them.
var (
	missingHeaders   = failed(http.StatusBadRequest, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
	malformedToken   = failed(http.StatusBadRequest, 6003, "Invalid request headers", fault{Code: 6111, Message: "Invalid format for Authorization header"})
	unknownToken     = failed(http.StatusForbidden, 9109, "Invalid access token")
	notPermitted     = failed(http.StatusForbidden, 10000, "Authentication error")
	methodNotAllowed = failed(http.StatusMethodNotAllowed, 10405, "Method not allowed for this authentication scheme")
	malformedBody    = failed(http.StatusBadRequest, 9207, "Failed to parse request body.")
	identicalRecord  = failed(http.StatusBadRequest, 81058, "An identical record already exists.")
	noRecord         = failed(http.StatusNotFound, 81044, "Record does not exist.")
)

func noRoute(path string) response {
	return failed(http.StatusNotFound, 7003, "Could not route to "+path+", perhaps your object identifier is invalid?", fault{Code: 7000, Message: "No route for that URI"})
}

func invalidRecord(code int, message string) response {
	return failed(http.StatusBadRequest, 1004, "DNS Validation Error", fault{Code: code, Message: message})
}

func limited(w http.ResponseWriter, after int) response {
	w.Header().Set("Retry-After", strconv.Itoa(after))
	return failed(http.StatusTooManyRequests, 971, "More than 1200 requests per 300 seconds reached. Please wait and consider throttling your request speed")
}

func broken(err error) response {
	return failed(http.StatusInternalServerError, 1000, "DNS records cannot be published: "+err.Error())
}

func (r response) write(w http.ResponseWriter) {
	data, err := json.Marshal(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_, _ = w.Write(data) // the client is gone if this fails
}
