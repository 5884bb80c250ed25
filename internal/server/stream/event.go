package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// event is encoded once, when it is published, and shared by all clients.
type event struct {
	// number counts the events of this process from 1; 0 for news that are older
	// than the process.
	number uint64
	// news is the ledger's number of the newest news that were published up to
	// this event.
	news  int64
	topic Topic
	at    time.Time
	data  []byte
	// frame is the whole WebSocket frame.
	frame []byte
}

// position is where a client is in the stream. Its text is the id of an event;
// clients send it back and read nothing into it.
type position struct {
	news   int64
	boot   string
	number uint64
}

func (p position) appendTo(text []byte) []byte {
	text = strconv.AppendInt(text, p.news, 10)
	text = append(text, '.')
	text = append(text, p.boot...)
	text = append(text, '.')
	return strconv.AppendUint(text, p.number, 10)
}

func (p position) String() string { return string(p.appendTo(nil)) }

// parsePosition reads an event's id.
func parsePosition(id string) (position, error) {
	parts := strings.Split(id, ".")
	if len(parts) != 3 || parts[1] == "" {
		return position{}, fmt.Errorf("%d parts instead of 3", len(parts))
	}
	news, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || news < 0 {
		return position{}, errors.New("its first part is no number of news")
	}
	number, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return position{}, errors.New("its last part is no number of an event")
	}
	return position{news: news, boot: parts[1], number: number}, nil
}

// Opcodes of whole, unmasked frames as a server sends them (RFC 6455, 5.2).
const (
	finalText  = 0x81
	finalClose = 0x88
	finalPing  = 0x89
)

// encode makes the frame of an event. Without an id it is nothing that a client
// could resume after.
func encode(id []byte, topic string, at time.Time, data []byte) []byte {
	const longestHeader = 10
	text := make([]byte, longestHeader, longestHeader+len(id)+len(topic)+len(data)+80)
	text = append(text, '{')
	if len(id) > 0 {
		text = append(text, `"id":"`...)
		text = append(text, id...)
		text = append(text, `",`...)
	}
	text = append(text, `"topic":"`...)
	text = append(text, topic...)
	text = append(text, `","time":"`...)
	text = at.UTC().AppendFormat(text, time.RFC3339Nano)
	text = append(text, `","data":`...)
	text = append(text, data...)
	text = append(text, '}')
	return framed(text, longestHeader)
}

// framed puts the header of a text frame before the payload, which begins at
// offset, without moving the payload.
func framed(text []byte, offset int) []byte {
	length := len(text) - offset
	var start int
	switch {
	case length < 126:
		start = offset - 2
		text[start+1] = byte(length) //nolint:gosec // Below 126.
	case length <= 0xffff:
		start = offset - 4
		text[start+1] = 126
		binary.BigEndian.PutUint16(text[start+2:], uint16(length))
	default:
		start = offset - 10
		text[start+1] = 127
		binary.BigEndian.PutUint64(text[start+2:], uint64(length))
	}
	text[start] = finalText
	return text[start:]
}

// pingFrame asks a client whether it is still there.
var pingFrame = []byte{finalPing, 0}
