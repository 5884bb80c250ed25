package box

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handler serves the control socket: GET /processes and
// POST /processes/{name}/signal?signal=SIGKILL, which answers with the pids.
func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /processes", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		states := make([]State, 0, len(s.config.Processes))
		for _, p := range s.config.Processes {
			states = append(states, *s.states[p.Name])
		}
		_ = json.NewEncoder(w).Encode(states) // the client is gone if this fails
	})
	mux.HandleFunc("POST /processes/{name}/signal", func(w http.ResponseWriter, r *http.Request) {
		sig := unix.SignalNum(r.FormValue("signal"))
		if sig == 0 {
			http.Error(w, fmt.Sprintf("unknown signal %q: use a name such as SIGKILL or SIGSTOP", r.FormValue("signal")), http.StatusBadRequest)
			return
		}
		pids, err := s.signal(r.PathValue("name"), sig)
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		_ = json.NewEncoder(w).Encode(pids) // the client is gone if this fails
	})
	return mux
}

// Status asks the supervisor for its processes.
func Status(ctx context.Context, l Layout) ([]State, error) {
	body, err := call(ctx, l, http.MethodGet, "/processes")
	if err != nil {
		return nil, err
	}
	var states []State
	if err := json.Unmarshal(body, &states); err != nil {
		return nil, fmt.Errorf("read the supervisor's answer: %w", err)
	}
	return states, nil
}

// Signal sends a signal to a daemon of the box or, for any other name, to every
// process in it that runs a program of that name, and returns how many it
// reached. The supervisor starts a daemon again, the kubelet a container.
func Signal(ctx context.Context, l Layout, name string, sig syscall.Signal) (reached int, err error) {
	body, err := call(ctx, l, http.MethodPost, "/processes/"+url.PathEscape(name)+"/signal?signal="+unix.SignalName(sig))
	if err != nil {
		return 0, err
	}
	var pids []int
	if err := json.Unmarshal(body, &pids); err != nil {
		return 0, fmt.Errorf("read the supervisor's answer: %w", err)
	}
	return len(pids), nil
}

func call(ctx context.Context, l Layout, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", l.Control())
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no cluster runs here (its supervisor does not answer): %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("supervisor: %s", strings.TrimSpace(string(body)))
	}
	return body, nil
}
