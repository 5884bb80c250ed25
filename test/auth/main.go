// Command auth measures whether strangers who guess keys slow a client that has one.
// An agent's API runs in a process of its own. In turn and in random order, the
// client asks while nobody else does, while strangers send wrong keys, and while
// others send as many right ones, which tells what the machine's share of it is.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// options of a measurement.
type options struct {
	bad, strangers, pairs int
	every, window         time.Duration
	most                  float64
}

func main() {
	var o options
	flag.IntVar(&o.bad, "bad", 10_000, "wrong keys sent in all")
	flag.IntVar(&o.strangers, "strangers", 20, "connections that send them")
	flag.IntVar(&o.pairs, "pairs", 20, "windows of each kind")
	flag.DurationVar(&o.window, "window", 500*time.Millisecond, "length of a window")
	flag.DurationVar(&o.every, "every", 2*time.Millisecond, "pause between two requests of the client that has a key")
	flag.Float64Var(&o.most, "most", 1.2, "by how much the client's median may grow before this fails")
	agent := flag.Bool("agent", false, "be the agent; for this program's own use")
	flag.Parse()
	run := func() error { return measure(context.Background(), o) }
	if *agent {
		run = func() error { return serve(os.Stdin, os.Stdout) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "auth:", err)
		os.Exit(1)
	}
}

// target is an agent's API in another process.
type target struct {
	address, key string
	roots        *x509.CertPool
}

// client has connections of its own.
func (t *target) client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: t.roots, MinVersion: tls.VersionTLS12},
	}}
}

// ask sends one request and returns the status and the time that it took.
func (t *target) ask(ctx context.Context, client *http.Client, key string) (int, time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+t.address+"/api/v1/status", nil)
	if err != nil {
		return 0, 0, err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return 0, 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	took := time.Since(began)
	return response.StatusCode, took, errors.Join(err, response.Body.Close())
}

// start runs the agent until the returned function is called.
func start(ctx context.Context) (*target, func() error, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	command := exec.CommandContext(ctx, program, "--agent") //nolint:gosec // It is this program itself.
	command.Stderr = os.Stderr
	stop, err := command.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	told, err := command.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := command.Start(); err != nil {
		return nil, nil, err
	}
	end := func() error { return errors.Join(stop.Close(), command.Wait()) }
	found, err := readTarget(told)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return found, end, nil
}

// result is what one kind of window has seen.
type result struct {
	times []time.Duration
	codes map[int]int
}

func measure(ctx context.Context, o options) (err error) {
	found, end, err := start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	good := found.client()
	defer good.CloseIdleConnections()
	strangers := newStrangers(found, o.strangers)
	defer strangers.close()
	// What the first requests cost is another question.
	if _, err := window(ctx, found, good, o, nil); err != nil {
		return err
	}
	alone, attacked, shared := &result{codes: map[int]int{}}, &result{codes: map[int]int{}}, &result{codes: map[int]int{}}
	keyOf := map[*result]func() string{attacked: wrongKey, shared: func() string { return found.key }}
	for range o.pairs {
		kinds := []*result{alone, attacked, shared}
		rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] }) //nolint:gosec // An order is no secret.
		for _, kind := range kinds {
			var others func(context.Context) error
			if key := keyOf[kind]; key != nil {
				others = func(ctx context.Context) error { return strangers.send(ctx, key, o.bad/o.pairs, o.window, kind.codes) }
			}
			times, err := window(ctx, found, good, o, others)
			if err != nil {
				return err
			}
			kind.times = append(kind.times, times...)
		}
	}
	if attacked.codes[http.StatusOK] > 0 || shared.codes[http.StatusOK] != o.bad/o.pairs*o.pairs {
		return fmt.Errorf("wrong keys were answered %v, right ones %v", attacked.codes, shared.codes)
	}
	return report(os.Stdout, o, alone, attacked, shared)
}

// window is how long the client's requests took, with others at it or not.
func window(ctx context.Context, found *target, good *http.Client, o options, others func(context.Context) error) ([]time.Duration, error) {
	ended := make(chan error, 1)
	go func() {
		if others == nil {
			ended <- nil
			return
		}
		ended <- others(ctx)
	}()
	var times []time.Duration
	for until := time.Now().Add(o.window); time.Now().Before(until); <-time.After(o.every) {
		code, took, err := found.ask(ctx, good, found.key)
		if err != nil || code != http.StatusOK {
			return nil, fmt.Errorf("the client that has a key was answered %d: %w", code, errors.Join(err, <-ended))
		}
		times = append(times, took)
	}
	return times, <-ended
}

// strangers send keys, each over a connection of its own.
type strangers struct {
	target  *target
	clients []*http.Client
}

func newStrangers(found *target, n int) *strangers {
	s := &strangers{target: found}
	for range n {
		s.clients = append(s.clients, found.client())
	}
	return s
}

func (s *strangers) close() {
	for _, client := range s.clients {
		client.CloseIdleConnections()
	}
}

// send spreads n requests evenly over a time.
func (s *strangers) send(ctx context.Context, key func() string, n int, over time.Duration, codes map[int]int) error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	var next atomic.Int64
	var failed error
	began := time.Now()
	for _, client := range s.clients {
		wait.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				<-time.After(time.Until(began.Add(over * time.Duration(i) / time.Duration(n))))
				code, _, err := s.target.ask(ctx, client, key())
				mu.Lock()
				codes[code]++
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return failed
}

// wrongKey looks like a key.
func wrongKey() string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789"
	text := make([]byte, 0, 64)
	text = append(text, "ta_"...)
	for range 8 {
		text = append(text, letters[rand.IntN(len(letters))]) //nolint:gosec // A wrong key is no secret.
	}
	return string(append(text, "_"+strings.Repeat("w", 42)+"A"...))
}

func report(output io.Writer, o options, alone, attacked, shared *result) error {
	for _, kind := range []*result{alone, attacked, shared} {
		slices.Sort(kind.times)
	}
	writer := tabwriter.NewWriter(output, 0, 0, 2, ' ', tabwriter.AlignRight)
	var err error
	line := func(format string, values ...any) {
		_, wrote := fmt.Fprintf(writer, format+"\t\n", values...)
		err = errors.Join(err, wrote)
	}
	row := func(name string, r *result) {
		line("%s\t%d\t%s\t%s\t%s", name, len(r.times), r.quantile(0.5), r.quantile(0.9), r.quantile(0.99))
	}
	ratios := func(name string, of, by *result) {
		ratio := func(q float64) float64 { return float64(of.quantile(q)) / float64(by.quantile(q)) }
		line("%s\t\t%.2f\t%.2f\t%.2f", name, ratio(0.5), ratio(0.9), ratio(0.99))
	}
	line("a client with a key\trequests\tp50\tp90\tp99")
	row("alone", alone)
	row("beside wrong keys", attacked)
	row("beside right keys", shared)
	ratios("wrong keys : alone", attacked, alone)
	ratios("wrong keys : right keys", attacked, shared)
	if err = errors.Join(err, writer.Flush()); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(output, "%d wrong keys, %.0f a second, over %d connections: %d answered 401, %d answered 429\n",
		o.bad/o.pairs*o.pairs, float64(o.bad)/(float64(o.pairs)*o.window.Seconds()), o.strangers,
		attacked.codes[http.StatusUnauthorized], attacked.codes[http.StatusTooManyRequests]); err != nil {
		return err
	}
	if grown := float64(attacked.quantile(0.5)) / float64(alone.quantile(0.5)); grown > o.most {
		return fmt.Errorf("the client's median grew by the factor %.2f, more than %.2f", grown, o.most)
	}
	return nil
}

func (r *result) quantile(q float64) time.Duration {
	return r.times[int(q*float64(len(r.times)-1))].Round(time.Microsecond)
}
