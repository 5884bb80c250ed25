// Command refuser stands before an ACME authority and refuses the nonces of a
// share of the requests, as authorities do in bad hours. Pebble does that too, but
// by a share that is fixed when it starts, and it forgets its accounts when it is
// started again.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// badNonce is the problem document of RFC 8555, section 6.5.
const badNonce = `{"type": "urn:ietf:params:acme:error:badNonce", "detail": "JWS has an invalid anti-replay nonce", "status": 400}`

// grace is what requests in progress have left at the end.
const grace = 5 * time.Second

type options struct {
	listen, control string
	cert, key       string
	authority, ca   string
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:14001", "address that ACME is served at")
	flag.StringVar(&o.control, "control", "127.0.0.1:8055", "address by which tests set the share")
	flag.StringVar(&o.cert, "tls-cert", "", "certificate that ACME is served with")
	flag.StringVar(&o.key, "tls-key", "", "its private key")
	flag.StringVar(&o.authority, "authority", "", "URL of the authority, such as https://pebble.internet.svc")
	flag.StringVar(&o.ca, "ca", "", "certificate of who certifies the authority's server")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "refuser:", err)
		os.Exit(1)
	}
}

// run serves until it is told to end.
func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	authority, err := url.Parse(o.authority)
	if err != nil {
		return fmt.Errorf("--authority: %w", err)
	}
	ca, err := os.ReadFile(o.ca)
	if err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("--ca: %s holds no certificate", o.ca)
	}
	r := newRefuser(authority, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}})
	public := &http.Server{Addr: o.listen, Handler: r, ReadHeaderTimeout: grace}
	control := &http.Server{Addr: o.control, Handler: r.controls(), ReadHeaderTimeout: grace}
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

// refuser passes requests on, or refuses their nonces.
type refuser struct {
	proxy     *httputil.ReverseProxy
	authority *url.URL

	percent, passed, refused atomic.Int64
}

func newRefuser(authority *url.URL, transport http.RoundTripper) *refuser {
	return &refuser{authority: authority, proxy: &httputil.ReverseProxy{
		Transport: transport,
		// The client's Host stays: it is part of what the client has signed.
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = authority.Scheme, authority.Host },
	}}
}

// ServeHTTP refuses signed requests only; all of them are POST.
func (r *refuser) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost || rand.Int64N(100) >= r.percent.Load() { //nolint:gosec // No secret depends on it.
		if request.Method == http.MethodPost {
			r.passed.Add(1)
		}
		r.proxy.ServeHTTP(w, request)
		return
	}
	nonce, err := r.nonce(request.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	r.refused.Add(1)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Replay-Nonce", nonce)
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(badNonce)) // the client is gone if this fails
}

// nonce is a fresh one of the authority: a refusal carries one to try again with.
func (r *refuser) nonce(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, r.authority.JoinPath("nonce-plz").String(), nil)
	if err != nil {
		return "", err
	}
	response, err := r.proxy.Transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("ask the authority for a nonce: %w", err)
	}
	_ = response.Body.Close()
	if nonce := response.Header.Get("Replay-Nonce"); nonce != "" {
		return nonce, nil
	}
	return "", errors.New("the authority gives no nonce")
}

// Counts are signed requests that were seen.
type Counts struct {
	Passed  int64 `json:"passed"`
	Refused int64 `json:"refused"`
}

// controls are PUT /refuse?percent=N, which counts anew, and GET /counts.
func (r *refuser) controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /refuse", func(w http.ResponseWriter, request *http.Request) {
		percent, err := strconv.ParseInt(request.FormValue("percent"), 10, 64)
		if err != nil || percent < 0 || percent > 100 {
			http.Error(w, "percent must be from 0 to 100", http.StatusBadRequest)
			return
		}
		r.percent.Store(percent)
		r.passed.Store(0)
		r.refused.Store(0)
	})
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Counts{Passed: r.passed.Load(), Refused: r.refused.Load()}) // the client is gone if this fails
	})
	return mux
}
