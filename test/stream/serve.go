package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/stream"
)

// target is where and how to reach a server.
type target struct {
	Address string `json:"address"`
	TLS     bool   `json:"tls"`
	Key     string `json:"key"`
	// Subscription is what a client says first; nothing if empty.
	Subscription string `json:"subscription"`
}

// usage is what a server process has used so far.
type usage struct {
	// Processor time in seconds.
	Processor float64 `json:"processor"`
	// Memory in bytes: of the process as the kernel sees it, and what Go uses of it
	// for objects and stacks.
	Resident int64 `json:"resident"`
	Go       int64 `json:"go"`
}

// broadcaster is a server whose clients all get every message.
type broadcaster interface {
	http.Handler
	// publish sends a message that holds the time at, size bytes long.
	publish(at time.Time, size int)
}

// serve is a server of a kind, and does what it is told.
func serve(ctx context.Context, kind string, orders io.Reader, answers io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	at := target{TLS: strings.HasSuffix(kind, "-tls")}
	server, err := newBroadcaster(ctx, group, kind, &at)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, at.TLS)
	if err != nil {
		return err
	}
	at.Address = listener.Addr().String()
	web := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error { return web.Serve(listener) })
	p := &publisher{server: server}
	err = obey(orders, answers, func(o order) (any, error) {
		switch o.Do {
		case "start":
			return at, nil
		case "publish":
			p.start(ctx, o.Rate, o.Size)
			return true, nil
		case "stop":
			p.stop()
			return true, nil
		case "usage":
			return used(true)
		case "processor":
			return used(false)
		}
		return nil, fmt.Errorf("a server cannot %s", o.Do)
	})
	p.stop()
	cancel()
	_ = web.Close()
	_ = group.Wait() // The server was closed.
	return err
}

func newBroadcaster(ctx context.Context, group *errgroup.Group, kind string, at *target) (broadcaster, error) {
	if kind == "gorilla" {
		hub := newGorillaHub()
		group.Go(func() error { return hub.run(ctx) })
		return hub, nil
	}
	entries := keys.Entries{}
	_, key, err := entries.Create("bench", keys.Read, 0, time.Now())
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	keyring := keys.NewKeyring(keys.Options{})
	keyring.Replace(entries)
	context.AfterFunc(ctx, keyring.Stop)
	hub := stream.NewHub(logr.Discard())
	group.Go(func() error { return hub.Run(ctx) })
	at.Key, at.Subscription = key, `{"subscribe":["quotes"]}`
	return &agent{
		Handler: stream.NewHandler(hub, stream.Options{Auth: keyring, Origins: func() []string { return nil }}), hub: hub,
	}, nil
}

// agent is the agent's own stream.
type agent struct {
	http.Handler

	hub       *stream.Hub
	published int
}

func (a *agent) publish(at time.Time, size int) {
	a.published++
	// {"id":"0.0123456789.N","topic":"quotes","time":"T","data":D}
	around := 57 + len(strconv.Itoa(a.published)) + len(at.UTC().Format(time.RFC3339Nano))
	a.hub.Publish(stream.Quotes, "", at, dataOf(at, size-around))
}

// dataOf is a JSON document of about size bytes with a time in it.
func dataOf(at time.Time, size int) []byte {
	data := strconv.AppendInt([]byte(`{"at":`), at.UnixNano(), 10)
	if pad := size - len(data) - len(`,"x":""}`); pad >= 0 {
		data = append(data, `,"x":"`...)
		data = append(data, bytes.Repeat([]byte{'x'}, pad)...)
		return append(data, `"}`...)
	}
	return append(data, '}')
}

// publisher publishes at a steady rate.
type publisher struct {
	server broadcaster
	halt   context.CancelFunc
	done   chan struct{}
}

func (p *publisher) start(ctx context.Context, rate, size int) {
	ctx, cancel := context.WithCancel(ctx)
	p.halt, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				p.server.publish(time.Now(), size)
			}
		}
	}()
}

func (p *publisher) stop() {
	if p.halt != nil {
		p.halt()
		<-p.done
		p.halt = nil
	}
}

// listen on a free port of the loopback interface.
func listen(ctx context.Context, encrypted bool) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if !encrypted {
		return listener, nil
	}
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}), nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agent"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}, nil
}

// used is what this process has used. Memory is looked at when the garbage is out.
func used(memory bool) (usage, error) {
	var times syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &times); err != nil {
		return usage{}, fmt.Errorf("read the processor time: %w", err)
	}
	u := usage{Processor: float64(times.Utime.Nano()+times.Stime.Nano()) / 1e9}
	if !memory {
		return u, nil
	}
	for range 3 {
		debug.FreeOSMemory()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	u.Go = int64(stats.HeapInuse + stats.StackInuse) //nolint:gosec // Far less than 2^63.
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return usage{}, fmt.Errorf("read the resident memory: %w", err)
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return usage{}, fmt.Errorf("/proc/self/statm holds %q", statm)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return usage{}, fmt.Errorf("read the resident memory: %w", err)
	}
	u.Resident = pages * int64(os.Getpagesize())
	return u, nil
}
