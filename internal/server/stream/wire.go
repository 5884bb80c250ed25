package stream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"
)

const (
	// readBuffer holds what a client says, which is little; writeBuffer one
	// control frame, so that the library writes each at once. The buffers of
	// net/http are 4 KiB each, and idle clients are many.
	readBuffer  = 256
	writeBuffer = 160
	// kernelBuffer bounds what the kernel keeps for a client that does not read.
	// Left alone it would grow to some MiB.
	kernelBuffer = 64 << 10
)

// errClosing is what a writer gets once the close frame has been sent.
var errClosing = errors.New("the close frame has been sent")

// wire is a client's connection after the handshake. Everything that is sent goes
// through it a whole frame at a time: events, which are shared and ready to send,
// and the library's control frames.
type wire struct {
	net.Conn

	// early is what the client sent right behind its handshake.
	early []byte

	// mu orders what is written.
	mu sync.Mutex
	// code of the close frame that was sent; 0 before.
	code atomic.Int32
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.early) == 0 {
		return w.Conn.Read(p)
	}
	n := copy(p, w.early)
	if w.early = w.early[n:]; len(w.early) == 0 {
		w.early = nil
	}
	return n, nil
}

// Write sends whole frames. Nothing follows a close frame.
func (w *wire) Write(frames []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.code.Load() != 0 {
		return 0, errClosing
	}
	if len(frames) > 0 && frames[0] == finalClose {
		w.code.Store(int32(codeOf(frames))) //nolint:gosec // Two bytes.
	}
	return w.Conn.Write(frames)
}

// closedWith is the code of the close frame that was sent; 0 if none was.
func (w *wire) closedWith() websocket.StatusCode {
	return websocket.StatusCode(w.code.Load())
}

// hijacking lets the library take the connection over as a wire with small buffers.
type hijacking struct {
	http.ResponseWriter

	wire *wire
}

// Hijack implements http.Hijacker.
func (h *hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // The library wraps it.
	}
	h.wire = &wire{Conn: conn}
	if n := buffered.Reader.Buffered(); n > 0 {
		h.wire.early = make([]byte, n)
		if _, err := io.ReadFull(buffered.Reader, h.wire.early); err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
	}
	if tcp, ok := h.wire.inner().(*net.TCPConn); ok {
		// Only a bound: without it everything works as well.
		_ = tcp.SetWriteBuffer(kernelBuffer)
	}
	return h.wire, bufio.NewReadWriter(bufio.NewReaderSize(h.wire, readBuffer), bufio.NewWriterSize(h.wire, writeBuffer)), nil
}

// inner is the connection under TLS and other layers.
func (w *wire) inner() net.Conn {
	conn := w.Conn
	for {
		layer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = layer.NetConn()
	}
}
