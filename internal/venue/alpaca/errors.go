package alpaca

import (
	"net/http"
	"strconv"

	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// Codes of Alpaca's errors. "The numeric code and HTTP status are the stable
// contract", its messages are not (https://docs.alpaca.markets/docs/options-trading,
// Error Responses).
const (
	codeForbidden   = "40310000"
	codeNotFound    = "40410000"
	codeUnprocessed = "42210000"
)

// definitive are the codes after which a placement does not exist and never will.
// Their sources are https://docs.alpaca.markets/docs/working-with-orders and
// https://docs.alpaca.markets/reference/postorder: 403 is "buying power or shares is
// not sufficient", or an account that may not; 422 is "input parameters are not
// recognized".
//
// What is not here leaves the outcome open. Among it, on purpose: 40010001, which
// also says that the client order id "must be unique", so that an order with our id
// is there; and everything of the 500s.
var definitive = map[string]string{
	"40110000":      "the key is not taken",
	codeForbidden:   "the account must not, or cannot pay for it or deliver it",
	"40310100":      "it would be a pattern day trade",
	codeUnprocessed: "the order is not one that Alpaca takes, or its asset is not traded now",
	"42910000":      "too many requests were sent",
}

// codeOf is the code of an error, as text; empty if there is none.
func codeOf(answer *rest.Answer) string {
	var said struct {
		Code int64 `json:"code"`
	}
	if answer.Decode(&said) != nil || said.Code == 0 {
		return ""
	}
	return strconv.FormatInt(said.Code, 10)
}

// question is what an answer that is no 200 means for a question.
func question(answer *rest.Answer) error {
	return answer.Question(codeOf(answer))
}

// missing reports whether Alpaca itself says that it has no such thing. A 404 of
// another form may come from anything in between.
func missing(answer *rest.Answer) bool {
	return answer.Status == http.StatusNotFound && codeOf(answer) == codeNotFound
}
