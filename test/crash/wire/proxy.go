// Package wire stands between an agent and its venue: it carries HTTP faithfully
// until it is told to cut the line, or to stop at a certain byte of an order.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Stage is a moment in the life of a request.
type Stage int

// The stages.
const (
	// FirstByte has come and nothing was passed on: the venue knows nothing.
	FirstByte Stage = iota
	// LastByte was passed on and nothing of the answer was read.
	LastByte
	// Answer has come from the venue and nothing of it was passed back.
	Answer
)

// String names the stage.
func (s Stage) String() string {
	return [...]string{"wireFirstByte", "wireLastByte", "wireAnswer"}[s]
}

// Cut is how a line fails.
type Cut int32

// The ways.
const (
	// Whole is no failure.
	Whole Cut = iota
	// Reset ends every connection and refuses new ones.
	Reset
	// Silent keeps connections and loses every byte.
	Silent
)

// Proxy carries HTTP/1.1 between an agent and a venue, or bytes of any kind.
type Proxy struct {
	listener net.Listener
	raw      bool
	target   string
	cut      atomic.Int32
	ctx      context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu    sync.Mutex
	lines map[*line]bool
	hold  *Hold
}

// Hold is a request that is to be stopped at a stage.
type Hold struct {
	stage   Stage
	wanted  func(*http.Request) bool
	reached chan struct{}
	release chan struct{}
	once    sync.Once
}

// Reached is closed once a request has come to the stage and waits there.
func (h *Hold) Reached() <-chan struct{} { return h.reached }

// Release lets it go on. It may be repeated.
func (h *Hold) Release() { h.once.Do(func() { close(h.release) }) }

// Listen carries the HTTP that comes to a new loopback address on to the target, a
// host and port.
func Listen(target string) (*Proxy, error) { return listen(target, false) }

// ListenRaw carries bytes of any kind. Nothing of them can be held.
func ListenRaw(target string) (*Proxy, error) { return listen(target, true) }

func listen(target string, raw bool) (*Proxy, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listening for the agent: %w", err)
	}
	p := &Proxy{listener: listener, target: target, raw: raw, lines: map[*line]bool{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Addr is the host and port that the agent shall speak to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends every connection.
func (p *Proxy) Close() error {
	p.stop()
	err := p.listener.Close()
	p.each((*line).close)
	p.running.Wait()
	return err
}

// Cut makes the line fail, or whole again.
func (p *Proxy) Cut(how Cut) {
	before := Cut(p.cut.Swap(int32(how)))
	if how == Reset || before == Silent {
		// A line that has lost bytes cannot be used again.
		p.each((*line).close)
	}
}

// HoldNext stops the next request that is wanted at a stage, until it is released
// or its connection ends. A former hold that was not reached is forgotten.
func (p *Proxy) HoldNext(stage Stage, wanted func(*http.Request) bool) *Hold {
	hold := &Hold{stage: stage, wanted: wanted, reached: make(chan struct{}), release: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = hold
	return hold
}

// Forget takes a hold back that was not reached.
func (p *Proxy) Forget(hold *Hold) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold == hold {
		p.hold = nil
	}
}

func (p *Proxy) each(do func(*line)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.lines {
		do(l)
	}
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(near) })
	}
}

// line is one connection of the agent and the one to the venue behind it.
type line struct {
	near, far net.Conn
	ended     chan struct{}
	once      sync.Once
}

// close resets both ends.
func (l *line) close() {
	l.once.Do(func() {
		close(l.ended)
		for _, conn := range []net.Conn{l.near, l.far} {
			if tcp, ok := conn.(*net.TCPConn); ok {
				// What is in flight shall be lost, as it is where a cable is cut.
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
		}
	})
}

func (p *Proxy) serve(near net.Conn) {
	far, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		_ = near.Close()
		return
	}
	l := &line{near: near, far: far, ended: make(chan struct{})}
	p.mu.Lock()
	p.lines[l] = true
	p.mu.Unlock()
	defer func() {
		l.close()
		p.mu.Lock()
		delete(p.lines, l)
		p.mu.Unlock()
	}()
	if Cut(p.cut.Load()) == Reset || p.ctx.Err() != nil {
		return
	}
	requests, answers := newCapture(near), newCapture(far)
	if p.raw {
		_ = p.tunnel(l, requests, answers)
		return
	}
	for p.exchange(l, requests, answers) == nil {
		continue
	}
}

// exchange carries one request and its answer.
func (p *Proxy) exchange(l *line, requests, answers *capture) error {
	request, err := http.ReadRequest(requests.reader)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return err
	}
	hold := p.taken(request)
	if err := hold.wait(FirstByte, l); err != nil {
		return err
	}
	if err := p.pass(l, l.far, requests.take()); err != nil {
		return err
	}
	if err := hold.wait(LastByte, l); err != nil {
		return err
	}
	answer, err := http.ReadResponse(answers.reader, request)
	if err != nil {
		return err
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return p.tunnel(l, requests, answers)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if err := hold.wait(Answer, l); err != nil {
		return err
	}
	return p.pass(l, l.near, answers.take())
}

// taken is the hold if it wants the request.
func (p *Proxy) taken(request *http.Request) *Hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	hold := p.hold
	if hold == nil || !hold.wanted(request) {
		return nil
	}
	p.hold = nil
	return hold
}

// wait stops a request at the stage of its hold.
func (h *Hold) wait(stage Stage, l *line) error {
	if h == nil || h.stage != stage {
		return nil
	}
	close(h.reached)
	select {
	case <-h.release:
		return nil
	case <-l.ended:
		return net.ErrClosed
	}
}

// pass writes bytes, or loses them and waits for the end of the line.
func (p *Proxy) pass(l *line, to io.Writer, content []byte) error {
	if Cut(p.cut.Load()) == Silent {
		<-l.ended
		return net.ErrClosed
	}
	_, err := to.Write(content)
	return err
}

// tunnel carries bytes that are no HTTP any more.
func (p *Proxy) tunnel(l *line, requests, answers *capture) error {
	p.running.Go(func() {
		defer l.close()
		_ = p.carry(l, l.far, requests)
	})
	return p.carry(l, l.near, answers)
}

func (p *Proxy) carry(l *line, to io.Writer, from *capture) error {
	for {
		if _, err := from.reader.Peek(1); err != nil {
			return err
		}
		if _, err := from.reader.Discard(from.reader.Buffered()); err != nil {
			return err
		}
		if err := p.pass(l, to, from.take()); err != nil {
			return err
		}
	}
}

// capture reads a connection and keeps the bytes as they came.
type capture struct {
	reader *bufio.Reader
	bytes  bytes.Buffer
}

func newCapture(from io.Reader) *capture {
	c := &capture{}
	c.reader = bufio.NewReader(io.TeeReader(from, &c.bytes))
	return c
}

// take is what has come since the last call.
func (c *capture) take() []byte {
	content := bytes.Clone(c.bytes.Bytes())
	c.bytes.Reset()
	return content
}
