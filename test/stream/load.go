package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// connecting is how many handshakes are under way at once.
	connecting = 32
	handshake  = 10 * time.Second
)

// load is a process full of clients, and does what it is told.
func load(ctx context.Context, orders io.Reader, answers io.Writer) error {
	crowd := &crowd{}
	defer crowd.leave()
	return obey(orders, answers, func(o order) (any, error) {
		switch o.Do {
		case "connect":
			return true, crowd.connect(ctx, o)
		case "stall":
			crowd.stall(o.Stalled)
			return true, nil
		case "begin":
			crowd.seen.begin()
			return true, nil
		case "end":
			return crowd.seen.end(), nil
		case "guess":
			return guess(ctx, *o.Target, o.Key, o.Clients, o.Rate)
		}
		return nil, fmt.Errorf("clients cannot %s", o.Do)
	})
}

// crowd is many clients that take what they get.
type crowd struct {
	seen    histogram
	members []*member
	reading sync.WaitGroup
	// watching reads by the files' numbers, so it ends before they are closed.
	watching sync.WaitGroup
	leaving  atomic.Bool
}

type member struct {
	conn    net.Conn
	stalled atomic.Bool
	// held is the beginning of a frame whose rest has not come yet.
	held []byte
	// file is the connection's number, where it is read by that.
	file int
}

func (c *crowd) connect(ctx context.Context, o order) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(connecting)
	members := make([]*member, o.Clients)
	for i := range members {
		group.Go(func() error {
			conn, early, err := open(ctx, *o.Target, o.Target.Key, "")
			if err != nil {
				return err
			}
			members[i] = &member{conn: conn, held: early}
			if o.Target.Subscription != "" {
				if _, err := conn.Write(masked(text, []byte(o.Target.Subscription))); err != nil {
					return fmt.Errorf("subscribe: %w", err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	c.members = append(c.members, members...)
	together, err := c.readTogether(members)
	if err != nil || together {
		return err
	}
	for _, m := range members {
		c.reading.Go(func() { c.read(m) })
	}
	return nil
}

// stall lets so many clients stop reading.
func (c *crowd) stall(count int) {
	for _, m := range c.members[:min(count, len(c.members))] {
		m.stalled.Store(true)
	}
}

func (c *crowd) leave() {
	c.leaving.Store(true)
	c.watching.Wait()
	for _, m := range c.members {
		_ = m.conn.Close()
	}
	c.reading.Wait()
}

// read takes what one client gets.
func (c *crowd) read(m *member) {
	buffer := make([]byte, 4096)
	held := copy(buffer, m.held)
	for !m.stalled.Load() {
		held = copy(buffer, c.take(m, buffer[:held]))
		n, err := m.conn.Read(buffer[held:])
		if err != nil {
			c.seen.lost.Add(1)
			return
		}
		held += n
	}
}

// take counts messages as the cheapest of clients would: it knows that frames of a
// server are not masked, and looks for nothing but the time. It returns what is left
// of the data.
func (c *crowd) take(m *member, data []byte) []byte {
	now := time.Now().UnixNano()
	for {
		payload, length := frame(data)
		if length == 0 {
			return data
		}
		if data[0] == ping {
			_, _ = m.conn.Write(masked(pong, payload))
		}
		if at := timeIn(payload); at != 0 {
			c.seen.add(time.Duration(now-at), len(payload))
		}
		data = data[length:]
	}
}

// frame is the payload of the first frame and the length of the whole; 0 if it is
// not all there.
func frame(data []byte) (payload []byte, length int) {
	if len(data) < 2 {
		return nil, 0
	}
	header, size := 2, int(data[1])
	if size == 126 {
		if len(data) < 4 {
			return nil, 0
		}
		header, size = 4, int(binary.BigEndian.Uint16(data[2:]))
	}
	if len(data) < header+size {
		return nil, 0
	}
	return data[header : header+size], header + size
}

var atKey = []byte(`"at":`)

// timeIn is when a message was sent, in nanoseconds of Unix time; 0 if it is none of
// the publisher's.
func timeIn(payload []byte) int64 {
	_, rest, found := bytes.Cut(payload, atKey)
	if !found {
		return 0
	}
	var at int64
	for _, digit := range rest {
		if digit < '0' || digit > '9' {
			break
		}
		at = 10*at + int64(digit-'0')
	}
	return at
}

// open completes a WebSocket's handshake. What has come behind it is returned too.
func open(ctx context.Context, to target, key, from string) (net.Conn, []byte, error) {
	dialer := net.Dialer{Timeout: handshake}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.DialContext(ctx, "tcp", to.Address)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	if to.TLS {
		// The certificate was made for this run, by the other process.
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // See above.
	}
	early, err := upgrade(conn, key)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, early, nil
}

func upgrade(conn net.Conn, key string) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(handshake)); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	nonce := base64.StdEncoding.EncodeToString(make([]byte, 16))
	request := "GET /api/v1/stream HTTP/1.1\r\nHost: agent\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + nonce + "\r\n"
	if key != "" {
		request += "Authorization: Bearer " + key + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	reader := bufio.NewReaderSize(conn, 1024)
	status, err := reader.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if !strings.HasPrefix(status, "HTTP/1.1 101 ") {
		return nil, fmt.Errorf("handshake: the server says %q instead of %s", status, http.StatusText(http.StatusSwitchingProtocols))
	}
	for line := ""; line != "\r\n"; {
		if line, err = reader.ReadString('\n'); err != nil {
			return nil, fmt.Errorf("handshake: %w", err)
		}
	}
	early := make([]byte, reader.Buffered())
	if _, err := io.ReadFull(reader, early); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return early, nil
}

// First bytes of whole frames.
const (
	text       = 0x81
	closeFrame = 0x88
	ping       = 0x89
	pong       = 0x8a
)

// masked is a client's frame of fewer than 126 bytes. The mask of zeros changes
// nothing.
func masked(kind byte, payload []byte) []byte {
	return append([]byte{kind, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...) //nolint:gosec // Short by contract.
}

// guess opens so many WebSockets with a wrong key, at a steady rate, and counts those
// that were told 4001 and 1013.
func guess(ctx context.Context, to target, key string, count, rate int) (map[int]int, error) {
	var mu sync.Mutex
	codes := map[int]int{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(connecting)
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	for i := range count {
		select {
		case <-ctx.Done():
			return nil, group.Wait()
		case <-ticker.C:
		}
		group.Go(func() error {
			// Strangers come from many addresses.
			code, err := refused(ctx, to, key, fmt.Sprintf("127.0.1.%d", 1+i%200))
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
			return err
		})
	}
	return codes, group.Wait()
}

// refused is the code that a client with a wrong key is closed with.
func refused(ctx context.Context, to target, key, from string) (int, error) {
	conn, held, err := open(ctx, to, key, from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	buffer := make([]byte, 256)
	for n := copy(buffer, held); ; {
		if payload, length := frame(buffer[:n]); length > 0 {
			if buffer[0] != closeFrame || len(payload) < 2 {
				return 0, fmt.Errorf("a wrong key was sent %q", payload)
			}
			return int(binary.BigEndian.Uint16(payload)), nil
		}
		more, err := conn.Read(buffer[n:])
		if err != nil {
			return 0, fmt.Errorf("wait for the close frame: %w", err)
		}
		n += more
	}
}
