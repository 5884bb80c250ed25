// Package process starts the exchange simulator in a process of its own and
// changes it from a test.
package process

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/test/venues/coinbase/exchange"
)

const program = "github.com/three-rivers-tech/trading-operator/test/venues/coinbase"

// Exchange is a running simulator.
type Exchange struct {
	exchange.Addresses

	command   *exec.Cmd
	lifeline  io.Closer
	directory string
}

// Start builds the simulator and runs it. The caller stops it.
func Start(ctx context.Context) (*Exchange, error) {
	directory, err := os.MkdirTemp("", "coinbase-")
	if err != nil {
		return nil, err
	}
	running := &Exchange{directory: directory}
	if err := running.start(ctx); err != nil {
		return nil, errors.Join(err, running.Stop())
	}
	return running, nil
}

func (e *Exchange) start(ctx context.Context) error {
	binary := filepath.Join(e.directory, "coinbase")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, program) //nolint:gosec // the path is our own
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the exchange: %w\n%s", err, out)
	}
	// It is ended by Stop, not by the context that it was started under.
	command := exec.CommandContext(context.WithoutCancel(ctx), binary) //nolint:gosec // the path is our own
	command.Stderr = os.Stderr
	lifeline, err := command.StdinPipe()
	if err != nil {
		return err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start the exchange: %w", err)
	}
	e.command, e.lifeline = command, lifeline
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the exchange's addresses: %w", err)
	}
	return json.Unmarshal(line, &e.Addresses)
}

// Stop ends the simulator and removes what Start made.
func (e *Exchange) Stop() error {
	var err error
	if e.command != nil {
		err = errors.Join(e.lifeline.Close(), e.command.Wait())
	}
	return errors.Join(err, os.RemoveAll(e.directory))
}

// Credentials are both halves of a key as a Secret holds them.
type Credentials struct{ Name, PrivateKey string }

// NewKey makes a key and makes it known to the exchange. Its name and its account
// are new unless edit sets them; it may view and trade, and nothing else.
func (e *Exchange) NewKey(ctx context.Context, edit func(*exchange.Key)) (Credentials, exchange.Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Credentials{}, exchange.Key{}, err
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return Credentials{}, exchange.Key{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return Credentials{}, exchange.Key{}, err
	}
	key := exchange.Key{
		Name:        "organizations/" + uuid.NewString() + "/apiKeys/" + uuid.NewString(),
		Environment: "Production",
		PublicKey:   string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		CanView:     true, CanTrade: true,
		PortfolioID: uuid.NewString(), PortfolioType: "DEFAULT",
	}
	if edit != nil {
		edit(&key)
	}
	credentials := Credentials{Name: key.Name, PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}))}
	return credentials, key, e.PutKey(ctx, key)
}

// PutKey changes a key.
func (e *Exchange) PutKey(ctx context.Context, key exchange.Key) error {
	return e.control(ctx, http.MethodPut, "/keys", key, nil)
}

// PutProduct lists a product, or changes it.
func (e *Exchange) PutProduct(ctx context.Context, product exchange.Product) error {
	return e.control(ctx, http.MethodPut, "/products", product, nil)
}

// Delist takes a product away.
func (e *Exchange) Delist(ctx context.Context, id string) error {
	return e.control(ctx, http.MethodDelete, "/products/"+id, nil, nil)
}

// Fail has requests fail from now on as the faults say; none heals.
func (e *Exchange) Fail(ctx context.Context, faults ...exchange.Fault) error {
	return e.control(ctx, http.MethodPut, "/faults", append([]exchange.Fault{}, faults...), nil)
}

// Requests are all that the exchange has seen.
func (e *Exchange) Requests(ctx context.Context) ([]exchange.Request, error) {
	var seen []exchange.Request
	err := e.control(ctx, http.MethodGet, "/requests", nil, &seen)
	return seen, err
}

func (e *Exchange) control(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, e.Control+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("speak to the exchange's control: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // what is left of it is of no use
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the exchange's control answers %s: %s", response.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}
