package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// kept is a connection that keeps what is written.
type kept struct {
	net.Conn
	bytes.Buffer
}

func (k *kept) Read(p []byte) (int, error)  { return k.Buffer.Read(p) }
func (k *kept) Write(p []byte) (int, error) { return k.Buffer.Write(p) }

func TestNothingFollowsACloseFrame(t *testing.T) {
	conn := &kept{}
	w := &wire{Conn: conn}
	last := closeFrame(CodeSlow, "too slow")
	for _, frame := range [][]byte{pingFrame, last} {
		if _, err := w.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	for _, frame := range [][]byte{pingFrame, last} {
		if _, err := w.Write(frame); !errors.Is(err, errClosing) {
			t.Errorf("behind the close frame: %v", err)
		}
	}
	if want := append(bytes.Clone(pingFrame), last...); !bytes.Equal(conn.Bytes(), want) {
		t.Errorf("sent %x, want %x", conn.Bytes(), want)
	}
	if w.closedWith() != CodeSlow {
		t.Errorf("closed with %d", w.closedWith())
	}
}

func TestWhatCameWithTheHandshakeIsReadFirst(t *testing.T) {
	conn := &kept{Buffer: *bytes.NewBufferString("later")}
	w := &wire{Conn: conn, early: []byte("first, ")}
	if got, err := io.ReadAll(io.LimitReader(w, 12)); err != nil || string(got) != "first, later" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestAClosingReasonFitsItsFrame(t *testing.T) {
	frame := closeFrame(CodeOrigin, string(bytes.Repeat([]byte("x"), 500)))
	if len(frame) != 2+125 || frame[1] != 125 || codeOf(frame) != CodeOrigin {
		t.Errorf("%d bytes, header %x", len(frame), frame[:4])
	}
}

// Over a real connection, what a client still sends must not make the kernel reset
// it before the client has read why.
func TestAClientThatSaysTooMuchLearnsWhy(t *testing.T) {
	hub := NewHub(logr.Discard())
	done := make(chan error)
	go func() { done <- hub.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	known := &desk{known: map[string]keys.Identity{"": {KeyID: "k1", Scope: keys.Read}}}
	server := httptest.NewServer(NewHandler(hub, Options{Auth: known, Origins: func() []string { return nil }}))
	t.Cleanup(server.Close)
	for range 20 {
		conn, _, err := websocket.Dial(t.Context(), server.URL, nil) //nolint:bodyclose // The body has become the connection.
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(t.Context(), websocket.MessageText, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		_, _, err = conn.Read(t.Context())
		if code := websocket.CloseStatus(err); code != websocket.StatusMessageTooBig {
			t.Fatalf("%v, want %d", err, websocket.StatusMessageTooBig)
		}
		_ = conn.CloseNow()
	}
}
