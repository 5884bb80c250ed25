package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/server"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// still is an agent that does nothing.
type still struct{}

func (still) Status() v1alpha1.TradingStatus {
	return v1alpha1.TradingStatus{State: v1alpha1.TradingEnabled}
}
func (still) Alive() error { return nil }
func (still) Ready() error { return nil }

// told is what the agent's process tells the other one.
type told struct {
	Address     string `json:"address"`
	Key         string `json:"key"`
	Certificate []byte `json:"certificate"`
}

func readTarget(from io.Reader) (*target, error) {
	var heard told
	if err := json.NewDecoder(from).Decode(&heard); err != nil {
		return nil, fmt.Errorf("the agent did not start: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(heard.Certificate) {
		return nil, errors.New("the agent has no certificate")
	}
	return &target{address: heard.Address, key: heard.Key, roots: roots}, nil
}

// serve is the API of an agent, through all that a request of a real one passes,
// until the input ends.
func serve(input io.Reader, output io.Writer) error {
	entries := keys.Entries{}
	_, key, err := entries.Create("good", keys.Read, time.Hour, time.Now())
	if err != nil {
		return err
	}
	keyring := keys.NewKeyring(keys.Options{})
	keyring.Replace(entries)
	defer keyring.Stop()
	api := keys.Require(keys.Read, keyring, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(still{}.Status())
	}))
	front := server.New(server.Options{Namespace: "desk", Name: "bench", Agent: still{}, Keyring: keyring, API: api, Stream: http.NotFoundHandler(), Log: logr.Discard()})

	directory, err := os.MkdirTemp("", "trading-auth")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	certificate, err := writeCertificate(directory)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- front.ServeTLS(ctx, address, server.CertificateFiles{
			Certificate: filepath.Join(directory, "tls.crt"), Key: filepath.Join(directory, "tls.key"),
		}, front.Outside())
	}()
	err = answers(address)
	if err == nil {
		err = json.NewEncoder(output).Encode(told{Address: address, Key: key, Certificate: certificate})
	}
	if err == nil {
		_, err = io.Copy(io.Discard, input)
	}
	cancel()
	return errors.Join(err, <-ended)
}

// answers waits until somebody listens.
func answers(address string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
}

// writeCertificate makes a certificate for 127.0.0.1.
func writeCertificate(directory string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certificate, errors.Join(
		os.WriteFile(filepath.Join(directory, "tls.crt"), certificate, 0o600),
		os.WriteFile(filepath.Join(directory, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
}
