// Command venuesim plays exchanges for tests, in a process of its own and over
// real HTTP: one for each venue that is asked for, each with a book, faults and
// a clock of its own.
//
//	go run ./test/venuesim --listen 127.0.0.1:0 --coinbase
//
// The first line of its output names the addresses as JSON. Below /control/ of
// each, a test changes the exchange and reads its book. With --tied it ends when
// its standard input does, so that it never outlives the test that started it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/alpaca"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/gemini"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/kraken"
)

// venues that can be played, by name.
var venues = map[string]func() http.Handler{
	"alpaca": func() http.Handler {
		behind := exchange.New(alpaca.Options())
		return behind.Handler(alpaca.New(behind))
	},
	"coinbase": func() http.Handler {
		behind := exchange.New(coinbase.Options())
		return behind.Handler(coinbase.New(behind))
	},
	"gemini": func() http.Handler {
		behind := exchange.New(gemini.Options())
		return behind.Handler(gemini.New(behind))
	},
	"kraken": func() http.Handler {
		behind := exchange.New(kraken.Options())
		return behind.Handler(kraken.New(behind))
	},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "venuesim:", err)
		os.Exit(1) //nolint:gocritic // the process ends, and with it what stop would undo
	}
}

// run serves until the context ends, or the input if it is tied to it.
func run(ctx context.Context, arguments []string, input io.Reader, output io.Writer) error {
	flags := flag.NewFlagSet("venuesim", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address of the exchange; its port must be 0 where there are several")
	tied := flags.Bool("tied", false, "end with the standard input")
	wanted := map[string]*bool{}
	for name := range venues {
		wanted[name] = flags.Bool(name, false, "play "+name)
	}
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	addresses, ended := map[string]string{}, make(chan error, len(venues)+1)
	for name, start := range venues {
		if !*wanted[name] {
			continue
		}
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", *listen)
		if err != nil {
			return err
		}
		addresses[name] = "http://" + listener.Addr().String()
		server := &http.Server{Handler: start(), ReadHeaderTimeout: 10 * time.Second}
		defer func() { _ = server.Close() }() // the process ends
		go func() { ended <- server.Serve(listener) }()
	}
	if len(addresses) == 0 {
		return errors.New("say which venues to play, such as --coinbase")
	}
	if err := json.NewEncoder(output).Encode(addresses); err != nil {
		return err
	}
	if *tied {
		go func() {
			_, err := io.Copy(io.Discard, input)
			ended <- errors.Join(err, io.EOF)
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}
