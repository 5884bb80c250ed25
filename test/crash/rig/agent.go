package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// poll is how often something is asked for that will come soon.
const poll = 2 * time.Millisecond

// Agent is one process of the trading agent, with failpoints.
type Agent struct {
	process *process
	log     string
	// listen and failpoints are the addresses of its API and of gofail's.
	listen, failpoints string
	client             *http.Client
	// Started is when the process was started.
	Started time.Time
}

// Launch are what an agent is started with.
type Launch struct {
	// Program is the instrumented agent, Manifests and Data are its directories.
	Program, Manifests, Data string
	// Name of the TradingAgent that it runs.
	Name string
	// LedgerURI of its database.
	LedgerURI string
	// Directory for its log and for the file with the URI.
	Directory string
	// Failpoints that are armed from the first moment, as gofail spells them.
	Failpoints string
	// Arguments beyond the usual.
	Arguments []string
}

// Start starts an agent. It does not wait until it is ready.
func Start(launch Launch) (*Agent, error) {
	addresses, err := freeAddresses(2)
	if err != nil {
		return nil, err
	}
	uri := filepath.Join(launch.Directory, launch.Name+".uri")
	if err := os.WriteFile(uri, []byte(launch.LedgerURI), 0o600); err != nil {
		return nil, err
	}
	a := &Agent{log: filepath.Join(launch.Directory, launch.Name+".log"), listen: addresses[0], failpoints: addresses[1]}
	a.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	log, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	// The process has the file of its own.
	defer func() { _ = log.Close() }()
	arguments := append([]string{
		"run", "-f", launch.Manifests, "--agent", launch.Name, "--ledger-uri-file", uri, "--data", launch.Data,
		"--listen", a.listen, "--report-interval", "1h",
	}, launch.Arguments...)
	command := exec.Command(launch.Program, arguments...) //nolint:gosec,noctx // our own program, which ends when it is told to
	command.Env = append(os.Environ(), "GOFAIL_HTTP="+a.failpoints, "GOFAIL_FAILPOINTS="+launch.Failpoints, "GOMAXPROCS=2")
	command.Stdout, command.Stderr = log, log
	_, _ = fmt.Fprintf(log, "--- started %s with %q\n", time.Now().UTC().Format(time.RFC3339Nano), launch.Failpoints)
	a.Started = time.Now()
	a.process, err = start(command)
	return a, err
}

// Ports are taken one after another from below those that systems give to outgoing
// connections, so that no connection of another process takes one in between.
const (
	firstPort = 12_000
	lastPort  = 29_000
)

// nextPort begins elsewhere in each harness, because several may run.
var nextPort atomic.Int64

func init() { nextPort.Store(int64(os.Getpid()) * 101) }

// freeAddresses are loopback addresses on which nobody listens.
func freeAddresses(count int) ([]string, error) {
	var last error
	addresses := make([]string, 0, count)
	for range lastPort - firstPort {
		port := firstPort + int(nextPort.Add(1)%(lastPort-firstPort))
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			last = err
			continue
		}
		addresses = append(addresses, listener.Addr().String())
		if err := listener.Close(); err != nil {
			return nil, err
		}
		if len(addresses) == count {
			return addresses, nil
		}
	}
	return nil, fmt.Errorf("there is no free port from %d to %d: %w", firstPort, lastPort, last)
}

// Kill ends the process as a crash does.
func (a *Agent) Kill() error {
	err := a.process.kill()
	a.client.CloseIdleConnections()
	return err
}

// Stop asks the process to end; it must do so in time and without an error.
func (a *Agent) Stop(patience time.Duration) error {
	err := a.process.stop(patience)
	a.client.CloseIdleConnections()
	if err != nil {
		return a.explain(err)
	}
	return nil
}

// Freeze stops the process where it is, Thaw lets it go on.
func (a *Agent) Freeze() error { return a.process.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (a *Agent) Thaw() error { return a.process.signal(syscall.SIGCONT) }

// Ended is closed when the process has ended.
func (a *Agent) Ended() <-chan struct{} { return a.process.ended }

// Err is what the process ended with.
func (a *Agent) Err() error { return a.process.err }

// Log is the end of what the process and its forerunners have written.
func (a *Agent) Log() string {
	const most = 6000
	text, err := os.ReadFile(a.log)
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return string(text)
}

// LogHolds reports whether the process or one before it in the same file has
// written the words.
func (a *Agent) LogHolds(words string) bool {
	text, err := os.ReadFile(a.log)
	return err == nil && strings.Contains(string(text), words)
}

func (a *Agent) explain(err error) error {
	return fmt.Errorf("%w; the end of its log:\n%s", err, a.Log())
}

// ErrEnded means that the process has ended by itself.
var ErrEnded = errors.New("the agent has ended")

// Await polls until the answer is yes. It fails when the time is over or the
// process has ended.
func (a *Agent) Await(ctx context.Context, patience time.Duration, what string, yes func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var last error
	for {
		done, err := yes(ctx)
		if done {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
			return a.explain(fmt.Errorf("waiting for %s: not within %s: %w", what, patience, errors.Join(context.Cause(ctx), last)))
		case <-a.process.ended:
			return a.explain(fmt.Errorf("waiting for %s: %w: %w", what, ErrEnded, a.process.err))
		case <-tick.C:
		}
	}
}

// Ready waits until the agent says that it is.
func (a *Agent) Ready(ctx context.Context, patience time.Duration) error {
	return a.Await(ctx, patience, "the agent to be ready", func(ctx context.Context) (bool, error) {
		code, text, err := a.ask(ctx, http.MethodGet, "http://"+a.listen+"/readyz", "")
		if err == nil && code != http.StatusOK {
			err = errors.New(strings.TrimSpace(text))
		}
		return err == nil, err
	})
}

// Arm puts a failpoint in force.
func (a *Agent) Arm(ctx context.Context, name, terms string) error {
	code, text, err := a.ask(ctx, http.MethodPut, "http://"+a.failpoints+"/"+name, terms)
	if err == nil && code != http.StatusNoContent {
		err = fmt.Errorf("gofail answers %d: %s", code, text)
	}
	if err != nil {
		return fmt.Errorf("arming %s: %w", name, err)
	}
	return nil
}

// Disarm lets the process pass a failpoint. One that stands in it waits its time
// out.
func (a *Agent) Disarm(ctx context.Context, name string) error {
	_, _, err := a.ask(ctx, http.MethodDelete, "http://"+a.failpoints+"/"+name, "")
	return err
}

// Reached waits until the process has come to an armed failpoint.
func (a *Agent) Reached(ctx context.Context, name string, patience time.Duration) error {
	return a.Await(ctx, patience, "the agent to come to "+name, func(ctx context.Context) (bool, error) {
		code, text, err := a.ask(ctx, http.MethodGet, "http://"+a.failpoints+"/"+name+"/count", "")
		if err != nil {
			return false, err
		}
		if code != http.StatusOK {
			return false, fmt.Errorf("gofail answers %d: %s", code, text)
		}
		count, err := strconv.Atoi(strings.TrimSpace(text))
		return count > 0, err
	})
}

// ask sends a request of the harness.
func (a *Agent) ask(ctx context.Context, method, url, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewBufferString(body))
	if err != nil {
		return 0, "", err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, string(text), errors.Join(err, response.Body.Close())
}

// Ask asks the process to end and does not wait for it.
func (a *Agent) Ask() error { return a.process.signal(syscall.SIGTERM) }

// AwaitEnd waits for the end of a process that was asked to end; it must not end
// with an error.
func (a *Agent) AwaitEnd(patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-a.process.ended:
	case <-timer.C:
		return a.explain(errors.Join(fmt.Errorf("the agent did not end within %s", patience), a.Kill()))
	}
	if a.process.err != nil {
		return a.explain(a.process.err)
	}
	return nil
}
