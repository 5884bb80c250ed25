// Package process starts the exchange simulator in a process of its own, and
// changes it from a test.
package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

const program = "github.com/three-rivers-tech/trading-operator/test/venuesim"

// Simulator is a running simulator.
type Simulator struct {
	venues map[string]*Venue

	command   *exec.Cmd
	lifeline  io.Closer
	directory string
}

// Start builds the simulator and runs it for the given venues, such as
// "coinbase". The caller stops it.
func Start(ctx context.Context, venues ...string) (*Simulator, error) {
	directory, err := os.MkdirTemp("", "venuesim-")
	if err != nil {
		return nil, err
	}
	running := &Simulator{directory: directory, venues: map[string]*Venue{}}
	if err := running.start(ctx, venues); err != nil {
		return nil, errors.Join(err, running.Stop())
	}
	return running, nil
}

func (s *Simulator) start(ctx context.Context, venues []string) error {
	binary := filepath.Join(s.directory, "venuesim")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, program) //nolint:gosec // the path is our own
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the simulator: %w\n%s", err, out)
	}
	arguments := []string{"--tied"}
	for _, venue := range venues {
		arguments = append(arguments, "--"+venue)
	}
	// It is ended by Stop, not by the context that it was started under.
	command := exec.CommandContext(context.WithoutCancel(ctx), binary, arguments...) //nolint:gosec // the path is our own
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
		return fmt.Errorf("start the simulator: %w", err)
	}
	s.command, s.lifeline = command, lifeline
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the simulator's addresses: %w", err)
	}
	var addresses map[string]string
	if err := json.Unmarshal(line, &addresses); err != nil {
		return fmt.Errorf("read the simulator's addresses: %w", err)
	}
	for name, address := range addresses {
		s.venues[name] = &Venue{URL: address}
	}
	return nil
}

// Venue is one that the simulator was started for; nil if it was not.
func (s *Simulator) Venue(name string) *Venue { return s.venues[name] }

// Stop ends the simulator and removes what Start made.
func (s *Simulator) Stop() error {
	var err error
	if s.command != nil {
		err = errors.Join(s.lifeline.Close(), s.command.Wait())
	}
	return errors.Join(err, os.RemoveAll(s.directory))
}

// Venue is one exchange of a simulator.
type Venue struct {
	// URL that clients send their requests to.
	URL string
}

// PutKey makes a key known, or changes it.
func (v *Venue) PutKey(ctx context.Context, key exchange.Key) error {
	return v.control(ctx, http.MethodPut, "/keys", key, nil)
}

// PutProduct lists a product, or changes it.
func (v *Venue) PutProduct(ctx context.Context, product exchange.Product) error {
	return v.control(ctx, http.MethodPut, "/products", product, nil)
}

// Delist takes a product away.
func (v *Venue) Delist(ctx context.Context, symbol string) error {
	return v.control(ctx, http.MethodDelete, "/products/"+symbol, nil, nil)
}

// SetPrice moves the market.
func (v *Venue) SetPrice(ctx context.Context, symbol string, price decimal.Decimal) error {
	return v.control(ctx, http.MethodPut, "/prices", exchange.Quote{Symbol: symbol, Price: price}, nil)
}

// SetBalance sets what an account holds of a currency.
func (v *Venue) SetBalance(ctx context.Context, account, currency string, total decimal.Decimal) error {
	return v.control(ctx, http.MethodPut, "/balances", exchange.Holding{Account: account, Currency: currency, Total: total}, nil)
}

// SetFaults replaces all faults.
func (v *Venue) SetFaults(ctx context.Context, faults ...exchange.Fault) error {
	return v.control(ctx, http.MethodPut, "/faults", append([]exchange.Fault{}, faults...), nil)
}

// Behave replaces the behaviour.
func (v *Venue) Behave(ctx context.Context, behaviour exchange.Behaviour) error {
	return v.control(ctx, http.MethodPut, "/behaviour", behaviour, nil)
}

// Withhold keeps these trades out of answers, and no others.
func (v *Venue) Withhold(ctx context.Context, trades ...string) error {
	return v.control(ctx, http.MethodPut, "/withheld", append([]string{}, trades...), nil)
}

// Place takes an order into the book that the agent knows nothing of.
func (v *Venue) Place(ctx context.Context, placement exchange.Placement) error {
	return v.control(ctx, http.MethodPost, "/orders", placement, nil)
}

// Fill trades a part of an open order.
func (v *Venue) Fill(ctx context.Context, order string, quantity, price decimal.Decimal) error {
	return v.control(ctx, http.MethodPost, "/fills", exchange.Execution{Order: order, Quantity: quantity, Price: price}, nil)
}

// End ends an open order.
func (v *Venue) End(ctx context.Context, order string, status exchange.Status) error {
	return v.control(ctx, http.MethodPost, "/ends", exchange.Ending{Order: order, Status: status}, nil)
}

// Advance lets time pass at the exchange.
func (v *Venue) Advance(ctx context.Context, by time.Duration) error {
	return v.control(ctx, http.MethodPost, "/time", exchange.Passing{By: exchange.Duration(by)}, nil)
}

// Book tells everything that has happened at the exchange.
func (v *Venue) Book(ctx context.Context) (exchange.Book, error) {
	var book exchange.Book
	err := v.control(ctx, http.MethodGet, "/book", nil, &book)
	return book, err
}

// Requests are all that the exchange has seen.
func (v *Venue) Requests(ctx context.Context) ([]exchange.Request, error) {
	var seen []exchange.Request
	err := v.control(ctx, http.MethodGet, "/requests", nil, &seen)
	return seen, err
}

func (v *Venue) control(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, v.URL+"/control"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("speak to the simulator's control: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // what is left of it is of no use
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the simulator's control answers %s: %s", response.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}
