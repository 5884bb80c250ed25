package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/three-rivers-tech/trading-operator/internal/server/files"
)

// CertificateFiles name the certificate that a listener shows, in PEM.
type CertificateFiles struct {
	Certificate, Key string
	// ClientCA certifies clients that may come without a key. If it is empty or the
	// file does not exist, no client is asked for a certificate.
	ClientCA string
}

func (f CertificateFiles) paths() []string {
	paths := []string{f.Certificate, f.Key}
	if f.ClientCA != "" {
		paths = append(paths, f.ClientCA)
	}
	return paths
}

// certificate is what the files held last, when it was right.
type certificate struct {
	content  [3][]byte
	config   *tls.Config
	notAfter time.Time
}

// read makes a certificate of the files.
func (f CertificateFiles) read() (*certificate, error) {
	var read certificate
	for i, path := range f.paths() {
		text, err := fs.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path))
		if i == 2 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the API's certificate: %w", err)
		}
		read.content[i] = text
	}
	pair, err := tls.X509KeyPair(read.content[0], read.content[1])
	if err != nil {
		return nil, fmt.Errorf("the certificate %s and the key %s do not fit: %w", f.Certificate, f.Key, err)
	}
	read.notAfter = pair.Leaf.NotAfter
	read.config = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if len(read.content[2]) > 0 {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(read.content[2]) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", f.ClientCA)
		}
		read.config.ClientCAs, read.config.ClientAuth = roots, tls.VerifyClientCertIfGiven
	}
	return &read, nil
}

func (c *certificate) same(other *certificate) bool {
	for i := range c.content {
		if !bytes.Equal(c.content[i], other.content[i]) {
			return false
		}
	}
	return true
}

// ServeTLS answers on the address over HTTPS until the context ends. Until the
// files exist nothing listens, and when they are replaced new connections get the
// new certificate, while those that are open stay open. Files that do not fit
// together leave the certificate before them in use.
func (s *Server) ServeTLS(ctx context.Context, address string, named CertificateFiles, handler http.Handler) error {
	log := s.options.Log
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var current atomic.Pointer[certificate]
	found := make(chan struct{})
	told := ""
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		files.Watch(ctx, named.paths(), func() {
			read, err := named.read()
			if err != nil {
				if told != err.Error() {
					told = err.Error()
					s.tls.failures.Inc()
					log.Info("the API's certificate cannot be used; the agent trades on", "serving", current.Load() != nil, "error", told)
				}
				return
			}
			told = ""
			before := current.Load()
			if before != nil && before.same(read) {
				return
			}
			current.Store(read)
			s.tls.expiry.Set(float64(read.notAfter.Unix()))
			log.Info("the API has a certificate", "notAfter", read.notAfter.UTC())
			if before == nil {
				close(found)
			}
		})
	}()
	defer func() { cancel(); <-watched }()
	select {
	case <-ctx.Done():
		return nil
	case <-found:
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for HTTPS: %w", err)
	}
	s.tls.listening.Set(1)
	defer s.tls.listening.Set(0)
	return Serve(ctx, listener, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load().config, nil },
	}, handler, log)
}

// tlsMetrics tell whether the API can be reached over HTTPS.
type tlsMetrics struct {
	listening, expiry prometheus.Gauge
	failures          prometheus.Counter
}

func newTLSMetrics() *tlsMetrics {
	return &tlsMetrics{
		listening: prometheus.NewGauge(prometheus.GaugeOpts{Name: "trading_api_tls_listening", Help: "1 while the API listens for HTTPS; 0 until there is a certificate."}),
		expiry:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "trading_api_tls_expiry_timestamp_seconds", Help: "When the certificate that the agent itself shows ends; 0 if there is none."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "trading_api_tls_failures_total", Help: "Times that the certificate's files were found missing or unfit."}),
	}
}

// Describe implements prometheus.Collector.
func (m *tlsMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, metric := range []prometheus.Metric{m.listening, m.expiry, m.failures} {
		descriptions <- metric.Desc()
	}
}

// Collect implements prometheus.Collector.
func (m *tlsMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, metric := range []prometheus.Metric{m.listening, m.expiry, m.failures} {
		metrics <- metric
	}
}
