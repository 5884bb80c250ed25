// Package openapi holds what the description of the agent's API has beside the
// routes themselves: the frame of the document, its error type and the decimal
// strings, and the routes that other packages serve.
package openapi

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// Path of the document itself.
const Path = "/api/v1/openapi.json"

// securityScheme is the name of the one way in.
const securityScheme = "key"

const description = `What one trading agent does, and why. Every route needs an API key (Authorization: Bearer KEY) of the scope that it names; a scope includes the ones before it: read, trade, admin.

Times are RFC 3339. Times of decisions, orders, fills and values are those of the market data. Money, prices and quantities are decimal strings. Lists begin with the newest and are read page by page: pass next of an answer as cursor. Errors are problem documents (RFC 9457).

Nothing here changes a manifest: what the agent may do is written in the TradingAgent, its RiskPolicy and its AssetPairs.`

// Config is the document without routes.
func Config() huma.Config {
	json := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: huma.DefaultJSONFormat.Unmarshal}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Trading agent", Version: "v1", Description: description},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					securityScheme: {Type: "http", Scheme: "bearer", Description: "An API key, such as trading-agent keys create or kubectl trading keys create makes one. The roles of a route are the scope that the key needs."},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": json, "json": json},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

// Needs is the security requirement of a route.
func Needs(scope keys.Scope) []map[string][]string {
	return []map[string][]string{{securityScheme: {string(scope)}}}
}

// ScopeOf is the scope that a route says that it needs; none for a route that says
// nothing.
func ScopeOf(operation *huma.Operation) (keys.Scope, bool) {
	if len(operation.Security) != 1 || len(operation.Security[0][securityScheme]) != 1 {
		return "", false
	}
	return keys.Scope(operation.Security[0][securityScheme][0]), true
}

// AddOthers describes the routes that other packages serve: tickets and the
// stream.
func AddOthers(document *huma.OpenAPI) {
	refusals := func(codes ...int) map[string]*huma.Response {
		responses := map[string]*huma.Response{}
		for _, code := range codes {
			responses[strconv.Itoa(code)] = refusal(document, code)
		}
		return responses
	}
	tickets := refusals(http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	tickets["201"] = &huma.Response{Description: "A ticket that opens one stream within 30 seconds.", Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{
			Type: huma.TypeObject, Required: []string{"ticket", "expires"}, AdditionalProperties: false,
			Properties: map[string]*huma.Schema{
				"ticket":  {Type: huma.TypeString, Description: "Use it as ?token= or behind \"bearer.\" in Sec-WebSocket-Protocol."},
				"expires": {Type: huma.TypeString, Format: "date-time", Description: "When it ends, used or not."},
			},
		}},
	}}
	document.AddOperation(&huma.Operation{
		OperationID: "create-ticket", Method: http.MethodPost, Path: "/api/v1/tickets", Summary: "Get a ticket for the stream",
		Description: "A ticket stands in for the key where a URL must carry it, so that no key ends up in a log.",
		Tags:        []string{"Stream"}, Security: Needs(keys.Read), Responses: tickets,
	})
	stream := refusals(http.StatusUpgradeRequired)
	stream["101"] = &huma.Response{Description: "The connection speaks WebSocket from here on. A client without a valid key or ticket is told so by close code 4001, one that must wait by 1013."}
	document.AddOperation(&huma.Operation{
		OperationID: "stream", Method: http.MethodGet, Path: "/api/v1/stream", Summary: "Follow what the agent does",
		Description: "A WebSocket. The key or a ticket comes as Authorization: Bearer, behind \"bearer.\" in Sec-WebSocket-Protocol, or as ?token=.",
		Tags:        []string{"Stream"}, Security: Needs(keys.Read), Responses: stream,
		Parameters: []*huma.Param{{Name: "token", In: "query", Description: "A ticket; or a key, unless spec.api.queryToken is TicketOnly.", Schema: &huma.Schema{Type: huma.TypeString}}},
	})
}
