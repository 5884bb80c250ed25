// Command acmesolver answers one HTTP-01 challenge. cert-manager starts it in a
// pod beside the route that the challenge comes in by; upstream's own command
// is a module that the Go module proxy does not serve.
package main

import (
	"flag"
	"log/slog"
	"os"

	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	"github.com/go-logr/logr"
)

func main() {
	var s solver.HTTP01Solver
	flag.IntVar(&s.ListenPort, "listen-port", 8089, "port that the challenge is answered on")
	flag.StringVar(&s.Domain, "domain", "", "host name that is to be proven")
	flag.StringVar(&s.Token, "token", "", "token of the challenge")
	flag.StringVar(&s.Key, "key", "", "the answer to it")
	flag.Parse()
	// cert-manager deletes the pod when the challenge is over, so this ends by a signal.
	if err := s.Listen(logr.FromSlogHandler(slog.NewTextHandler(os.Stdout, nil))); err != nil {
		slog.Error("the challenge cannot be answered", "error", err)
		os.Exit(1)
	}
}
