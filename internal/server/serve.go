package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// Limits on what a client may hold open. Requests are tiny and answers small. What
// takes a connection over, as the stream does, brings limits of its own.
const (
	readTimeout     = 5 * time.Second
	writeTimeout    = 10 * time.Second
	idleTimeout     = 60 * time.Second
	maxHeaderBytes  = 16 << 10
	shutdownTimeout = 5 * time.Second
	// maxConnections bounds the memory for strangers; more are closed at once. An
	// agent that trades on is worth more than an API that answers.
	maxConnections = 2048
)

// Serve answers on the listener until the context ends, then lets the requests in
// hand finish. With a TLS configuration the listener speaks TLS.
func Serve(ctx context.Context, listener net.Listener, security *tls.Config, handler http.Handler, log logr.Logger) error {
	var connections connectionLimit
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         security,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         connections.changed,
		ErrorLog:          quietLog(log),
	}
	stopped := make(chan error, 1)
	go func() {
		if security == nil {
			stopped <- server.Serve(listener)
			return
		}
		stopped <- server.ServeTLS(listener, "", "")
	}()
	log.Info("the API listens", "address", listener.Addr().String(), "tls", security != nil)
	select {
	case err := <-stopped:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	// The parent context is done; what is in hand still gets its time.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		_ = server.Close()
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

// connectionLimit closes what comes when too many connections are open.
type connectionLimit struct{ open atomic.Int64 }

func (l *connectionLimit) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if l.open.Add(1) > maxConnections {
			_ = conn.Close()
		}
	case http.StateHijacked, http.StateClosed:
		l.open.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// quietLog takes what net/http has to say, which is mostly that strangers do not
// speak TLS. It knows addresses, and nothing of a request.
func quietLog(to logr.Logger) *log.Logger { return log.New(quietWriter{to.V(1)}, "", 0) }

type quietWriter struct{ log logr.Logger }

// Write implements io.Writer.
func (w quietWriter) Write(line []byte) (int, error) {
	w.log.Info("a connection failed", "reason", strings.TrimSpace(string(line)))
	return len(line), nil
}
