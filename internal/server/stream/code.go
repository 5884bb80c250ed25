package stream

import (
	"encoding/binary"

	"github.com/coder/websocket"
)

// Codes that the server closes a WebSocket with, beside those of RFC 6455: 1001
// when the agent ends, 1003 for a binary message, 1008 for too many messages, 1009
// for one that is too long, and 1013 for a client that must wait.
const (
	// CodeUnauthenticated is for a missing, wrong, expired or revoked key or
	// ticket.
	CodeUnauthenticated websocket.StatusCode = 4001
	// CodeOrigin is for a page of an origin that is not allowed.
	CodeOrigin websocket.StatusCode = 4003
	// CodeSlow is for a client that reads too slowly for what it subscribed to.
	CodeSlow websocket.StatusCode = 4008
	// CodeSilent is for a client that does not answer pings.
	CodeSilent websocket.StatusCode = 4009
)

// longestReason is what fits into a control frame beside the code.
const longestReason = 123

// closeFrame is the frame that ends a WebSocket.
func closeFrame(code websocket.StatusCode, reason string) []byte {
	reason = reason[:min(len(reason), longestReason)]
	frame := make([]byte, 0, 4+len(reason))
	frame = append(frame, finalClose, byte(2+len(reason)))     //nolint:gosec // At most 125.
	frame = binary.BigEndian.AppendUint16(frame, uint16(code)) //nolint:gosec // The codes are four digits long.
	return append(frame, reason...)
}

// codeOf is the code in a close frame, 1005 if it has none.
func codeOf(frame []byte) websocket.StatusCode {
	if len(frame) < 4 {
		return websocket.StatusNoStatusRcvd
	}
	return websocket.StatusCode(binary.BigEndian.Uint16(frame[2:]))
}
