package openapi

import (
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

// Problem is an error document as RFC 9457 says. It never repeats a value that a
// client sent, because that may be a key.
type Problem struct { //nolint:errname // the schema of the document bears its name
	Type   string  `json:"type" doc:"Always about:blank: the status says what kind of problem it is."`
	Title  string  `json:"title" doc:"The status in words."`
	Status int     `json:"status" doc:"The HTTP status."`
	Detail string  `json:"detail,omitempty" doc:"What happened, and what to change."`
	Reason string  `json:"reason,omitempty" doc:"The word for it that status, events and metrics use too; docs/reference/reasons.md explains each."`
	Errors []Fault `json:"errors,omitempty" doc:"What is wrong with the request, part by part."`
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	Location string `json:"location" doc:"Where in the request, such as query.limit."`
	Message  string `json:"message" doc:"What is wrong there."`
}

var problemType = reflect.TypeFor[Problem]()

// NewProblem is an error that answers with a problem document.
func NewProblem(status int, reason, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Reason: reason, Detail: detail}
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problem.ContentType }

// init makes every error of the library a problem document of ours. The library
// has one such hook for the whole process.
func init() {
	huma.DefaultArrayNullable = false
	huma.NewError = func(status int, message string, causes ...error) huma.StatusError {
		if status == http.StatusInternalServerError {
			// What an unforeseen error says is for the log.
			return NewProblem(status, "", "the agent could not answer; its log says why")
		}
		document := NewProblem(status, "", message)
		for _, cause := range causes {
			if fault, ok := errors.AsType[*huma.ErrorDetail](cause); ok {
				document.Errors = append(document.Errors, faultOf(fault))
			}
		}
		return document
	}
}

// faultOf leaves out what the client sent, be it as a value or as the name of a
// parameter.
func faultOf(detail *huma.ErrorDetail) Fault {
	fault := Fault{Location: detail.Location, Message: detail.Message}
	if fault.Message == "unknown query parameter" {
		fault.Location, fault.Message = "query", "there is a parameter that this path does not know"
	}
	return fault
}
