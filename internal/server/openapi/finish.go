package openapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

// Route describes a route: what it is called, what it needs and how it can fail
// beside the ways in which every route can.
func Route(method, path, id, tag, summary, details string, scope keys.Scope, failures ...int) huma.Operation {
	status := http.StatusOK
	if method == http.MethodPost {
		status = http.StatusAccepted
	}
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Description: details, Tags: []string{tag},
		Security: Needs(scope), DefaultStatus: status,
		Errors: append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable}, failures...),
	}
}

// headers that come with an answer.
var headers = map[string]map[string]*huma.Header{
	"401": {"WWW-Authenticate": {Description: "How to show a key.", Schema: &huma.Schema{Type: huma.TypeString}}},
	"429": {"Retry-After": {Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger}}},
	"503": {"Retry-After": {Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger}}},
}

// Finish describes the document's own route and the headers of every refusal.
func Finish(document *huma.OpenAPI) {
	document.AddOperation(&huma.Operation{
		OperationID: "get-document", Method: http.MethodGet, Path: Path, Summary: "Read this document",
		Tags: []string{"Agent"}, Security: Needs(keys.Read),
		Responses: map[string]*huma.Response{
			"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}},
			"401": refusal(document, http.StatusUnauthorized), "403": refusal(document, http.StatusForbidden), "429": refusal(document, http.StatusTooManyRequests),
			"422": refusal(document, http.StatusUnprocessableEntity), "503": refusal(document, http.StatusServiceUnavailable),
		},
	})
	for _, item := range document.Paths {
		for _, operation := range []*huma.Operation{item.Get, item.Post} {
			if operation == nil {
				continue
			}
			for code, response := range operation.Responses {
				if response.Headers == nil {
					response.Headers = headers[code]
				}
			}
		}
	}
}

func refusal(document *huma.OpenAPI, code int) *huma.Response {
	return &huma.Response{Description: http.StatusText(code), Content: map[string]*huma.MediaType{
		problem.ContentType: {Schema: document.Components.Schemas.Schema(problemType, true, "Problem")},
	}}
}
