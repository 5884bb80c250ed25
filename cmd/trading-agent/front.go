package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/server"
	"github.com/three-rivers-tech/trading-operator/internal/server/api"
	"github.com/three-rivers-tech/trading-operator/internal/server/files"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/stream"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// Where the pod that the operator makes has the certificate and the port.
const (
	podHTTPSAddress = ":8443"
	podCertificate  = "/etc/trading/tls/tls.crt"
	podKey          = "/etc/trading/tls/tls.key"
	podClientCA     = "/etc/trading/tls/ca.crt"
)

// listenRetry is how long an address that cannot be listened on is left alone.
const listenRetry = 10 * time.Second

// frontOptions are the flags of "run" that say how the agent is reached.
type frontOptions struct {
	listen, httpsListen string
	certificate         server.CertificateFiles
	keysFile            string
	trustedProxies      []string
}

func (o *frontOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.listen, "listen", "", "with -f: address of the API, such as 127.0.0.1:8443, over HTTPS with --tls-cert-file and in the clear on loopback addresses only; in a pod: address of health and metrics, in the clear")
	flags.StringVar(&o.httpsListen, "https-listen", podHTTPSAddress, "without -f: address of the API over HTTPS, once there is a certificate")
	flags.StringVar(&o.certificate.Certificate, "tls-cert-file", "", "certificate of the API in PEM; without -f "+podCertificate+" if not set. It is read again when it changes")
	flags.StringVar(&o.certificate.Key, "tls-key-file", "", "key of the certificate in PEM; without -f "+podKey+" if not set")
	flags.StringVar(&o.certificate.ClientCA, "tls-client-ca-file", "", "certificates in PEM of those who certify the operator, which may read without a key; without -f "+podClientCA+" if not set")
	flags.StringVar(&o.keysFile, "keys-file", "", "with -f: file with the hashes of the API keys, as trading-agent keys create writes it; without it nobody is let into the API")
	flags.StringSliceVar(&o.trustedProxies, "trusted-proxies", nil, "networks whose X-Forwarded-For is believed when wrong keys are counted, such as 10.0.0.0/8; no others are believed")
}

// prefixes reads --trusted-proxies.
func (o *frontOptions) prefixes() ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(o.trustedProxies))
	for _, text := range o.trustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxies: %w; write a network such as 10.0.0.0/8", err)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

// front is how the world reaches one agent.
type front struct {
	keyring *keys.Keyring
	record  *server.Record
	hub     *stream.Hub
	teller  *stream.Teller
	herald  *stream.Herald
	server  *server.Server
	// reader is given once, when the agent's ledger is known.
	reader chan reader
	log    logr.Logger
}

func newFront(options *frontOptions, namespace, name string, running *process, log logr.Logger) (*front, error) {
	trusted, err := options.prefixes()
	if err != nil {
		return nil, err
	}
	f := &front{record: server.NewRecord(), hub: stream.NewHub(log), reader: make(chan reader, 1), log: log}
	f.teller, f.herald = stream.NewTeller(f.hub), stream.NewHerald(f.hub, log)
	f.keyring = keys.NewKeyring(keys.Options{TrustedProxies: trusted, Record: f.record})
	f.server = server.New(server.Options{
		Namespace: namespace, Name: name, Agent: running, Keyring: f.keyring,
		API:        api.New(api.Options{Namespace: namespace, Name: name, Agent: running, Auth: f.keyring, Halter: running.halter, Log: log}),
		Stream:     stream.NewHandler(f.hub, stream.Options{Auth: f.keyring, Origins: func() []string { return f.server.Origins() }}),
		Collectors: []prometheus.Collector{f.hub, trader.NewRiskCollector(namespace, name, running.trading)}, Log: log,
	})
	return f, nil
}

// run starts what every front needs.
func (f *front) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return f.keyring.Run(ctx, f.log) })
	group.Go(func() error { return f.hub.Run(ctx) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case read := <-f.reader:
			return f.herald.Run(ctx, read)
		}
	})
	context.AfterFunc(ctx, f.keyring.Stop)
}

// opened hands the agent's ledger over. It is called once.
func (f *front) opened(audit ledger.Audit, read reader, agentUID string) {
	f.record.Open(audit, agentUID)
	f.reader <- read
}

// tell lets the stream know that the status may have changed.
func (f *front) tell(status *v1alpha1.TradingStatus) {
	f.teller.Status(status)
	f.herald.Wake()
}

// tellBar lets the stream know that a bar was dealt with.
func (f *front) tellBar(instrument market.Instrument, bar market.Bar) {
	f.teller.Bar(instrument, bar)
	f.herald.Wake()
}

// load puts the keys of a Secret's data in force.
func (f *front) load(data map[string][]byte) {
	if err := f.keyring.Load(data); err != nil {
		f.log.Info("some API keys let nobody in", "error", err.Error())
	}
	f.log.Info("the API keys have been read", "keys", len(f.keyring.Keys()))
}

// serveInCluster is health and metrics in the clear, the API over HTTPS, and the
// keys in the agent's own Secret.
func (f *front) serveInCluster(ctx context.Context, group *errgroup.Group, options *frontOptions, config *rest.Config, identity link.Identity) error {
	if options.listen != "" {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", options.listen)
		if err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		group.Go(func() error { return server.Serve(ctx, listener, nil, f.server.Inside(), f.log) })
	}
	certificate := options.certificate
	certificate.Certificate = orElse(certificate.Certificate, podCertificate)
	certificate.Key = orElse(certificate.Key, podKey)
	certificate.ClientCA = orElse(certificate.ClientCA, podClientCA)
	group.Go(func() error {
		f.keepServing(ctx, options.httpsListen, certificate)
		return nil
	})
	group.Go(func() error {
		return link.FollowKeys(ctx, config, identity, f.log, f.load)
	})
	f.run(ctx, group)
	return nil
}

// keepServing serves the API over HTTPS. Whatever is wrong with it, the agent trades
// on.
func (f *front) keepServing(ctx context.Context, address string, certificate server.CertificateFiles) {
	for {
		err := f.server.ServeTLS(ctx, address, certificate, f.server.Outside())
		if ctx.Err() != nil {
			return
		}
		f.log.Error(err, "the API cannot be served; trying again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenRetry):
		}
	}
}

// serveFromFiles is everything on one address, with the keys in a file.
func (f *front) serveFromFiles(ctx context.Context, group *errgroup.Group, options *frontOptions) error {
	certificate := options.certificate
	if (certificate.Certificate == "") != (certificate.Key == "") {
		return errors.New("--tls-cert-file and --tls-key-file belong together; give both or neither")
	}
	data, err := keys.ReadFile(options.keysFile)
	if err != nil {
		return fmt.Errorf("--keys-file: %w", err)
	}
	if certificate.Certificate == "" {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", options.listen)
		if err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		if at, ok := listener.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
			return errors.Join(fmt.Errorf("--listen %s: keys would go over the network in the clear; listen on 127.0.0.1, or give --tls-cert-file and --tls-key-file", options.listen), listener.Close())
		}
		group.Go(func() error { return server.Serve(ctx, listener, nil, f.server.Everything(), f.log) })
	} else {
		group.Go(func() error { return f.server.ServeTLS(ctx, options.listen, certificate, f.server.Outside()) })
	}
	f.load(data)
	if options.keysFile == "" {
		f.log.Info("without --keys-file nobody is let into the API")
	} else {
		group.Go(func() error { f.followFile(ctx, options.keysFile); return nil })
	}
	f.run(ctx, group)
	return nil
}

// followFile takes every change of the keys file up. A file that cannot be read
// changes nothing.
func (f *front) followFile(ctx context.Context, path string) {
	files.Watch(ctx, []string{path}, func() {
		data, err := keys.ReadFile(path)
		if err != nil {
			f.log.Info("the keys file cannot be used; the keys known so far stay valid", "error", err.Error())
			return
		}
		if err := f.keyring.Load(data); err != nil {
			f.log.Info("some API keys let nobody in", "error", err.Error())
		}
	})
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
