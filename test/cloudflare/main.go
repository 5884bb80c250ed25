// Command cloudflare plays Cloudflare's API for tests of the DNS-01 challenge:
// cert-manager's own Cloudflare solver speaks to it by the name of the real one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/three-rivers-tech/trading-operator/test/cloudflare/api"
)

// grace is what requests in progress have left at the end.
const grace = 5 * time.Second

type options struct {
	listen, control string
	cert, key       string
	tokenFile       string
	zone, resolver  string
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8443", "address of the API")
	flag.StringVar(&o.control, "control", "127.0.0.1:8055", "address by which tests change the account")
	flag.StringVar(&o.cert, "tls-cert", "", "certificate of api.cloudflare.com")
	flag.StringVar(&o.key, "tls-key", "", "its private key")
	flag.StringVar(&o.tokenFile, "token-file", "", "file with the first valid token")
	flag.StringVar(&o.zone, "zone", "example.com", "zone of the account")
	flag.StringVar(&o.resolver, "resolver", "http://127.0.0.1:8055", "management port of pebble-challtestsrv")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "cloudflare:", err)
		os.Exit(1)
	}
}

// run serves until it is told to end.
func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	token, err := os.ReadFile(o.tokenFile)
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	account := api.New(api.Resolver{URL: o.resolver})
	account.AddZone(o.zone)
	account.AddToken(api.Token{Value: strings.TrimSpace(string(token)), ZoneRead: true, DNSEdit: true})

	public := &http.Server{Addr: o.listen, Handler: account, ReadHeaderTimeout: grace}
	control := &http.Server{Addr: o.control, Handler: account.Control(), ReadHeaderTimeout: grace}
	ended := make(chan error, 2)
	go func() { ended <- public.ListenAndServeTLS(o.cert, o.key) }()
	go func() { ended <- control.ListenAndServe() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return errors.Join(err, public.Shutdown(last), control.Shutdown(last))
}
