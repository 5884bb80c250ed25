package keys

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// bearerProtocol goes before a key in Sec-WebSocket-Protocol, because a browser
// can set no other header when it opens a WebSocket:
//
//	new WebSocket(url, ["trading.v1", "bearer." + key])
const bearerProtocol = "bearer."

// credential is what a request shows; not yet known to be valid.
type credential struct {
	text string
	// socket is whether a WebSocket is asked for.
	socket bool
	// query is whether it stood in the address.
	query bool
}

// errAmbiguous is a request that shows more than one key.
var errAmbiguous = errors.New("more than one key")

// credentialOf finds the one key or ticket of a request; its text is empty if the
// request shows none.
func credentialOf(r *http.Request) (credential, error) {
	found := credential{socket: isSocket(r)}
	shown := 0
	for _, value := range r.Header.Values("Authorization") {
		scheme, text, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			text = value
		}
		found.text, shown = strings.TrimSpace(text), shown+1
	}
	if found.socket {
		for _, value := range r.Header.Values("Sec-WebSocket-Protocol") {
			for offered := range strings.SplitSeq(value, ",") {
				if text, ok := strings.CutPrefix(strings.TrimSpace(offered), bearerProtocol); ok {
					found.text, shown = text, shown+1
				}
			}
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return credential{socket: true}, errAmbiguous
		}
		for _, text := range query["token"] {
			found.text, found.query, shown = text, true, shown+1
		}
	}
	if shown > 1 {
		return credential{socket: found.socket}, errAmbiguous
	}
	return found, nil
}

func isSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}
