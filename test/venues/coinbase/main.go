// Command coinbase plays Coinbase Advanced Trade for tests, in a process of its
// own: it checks every request's token as the exchange does, and fails in the
// ways in which the exchange fails. It ends when its standard input does, so that
// it never outlives the test that started it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/three-rivers-tech/trading-operator/test/venues/coinbase/exchange"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "coinbase:", err)
		os.Exit(1)
	}
}

// run serves until input ends. The first line of output names the addresses.
func run(input io.Reader, output io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	simulated := exchange.New()
	var listener net.ListenConfig
	api, err := listener.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := listener.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addresses := exchange.Addresses{API: "http://" + api.Addr().String(), Control: "http://" + control.Addr().String()}
	if err := json.NewEncoder(output).Encode(addresses); err != nil {
		return err
	}
	ended := make(chan error, 2)
	serve := func(listener net.Listener, handler http.Handler) {
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		ended <- server.Serve(listener)
	}
	go serve(api, simulated)
	go serve(control, simulated.Control())
	go func() {
		_, err := io.Copy(io.Discard, input)
		ended <- errors.Join(err, io.EOF)
	}()
	if err := <-ended; !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
