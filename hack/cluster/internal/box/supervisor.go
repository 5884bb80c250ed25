package box

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/poll"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
	// steady is how long a process must have run for its back-off to start over.
	steady = 10 * time.Second
	// probeEvery is how often a process looks whether what it needs answers.
	probeEvery = 50 * time.Millisecond
)

// State is what the supervisor says of one process.
type State struct {
	Name     string    `json:"name"`
	Phase    string    `json:"phase"` // Waiting | Running | BackOff
	PID      int       `json:"pid,omitempty"`
	Starts   int       `json:"starts"`
	Since    time.Time `json:"since"`
	LastExit string    `json:"lastExit,omitempty"`
}

// supervisor is PID 1 of the box. It alone waits for children, its own and the
// orphans it inherits, because two waiters would take each other's.
type supervisor struct {
	layout Layout
	config Config
	probe  *http.Client

	mu     sync.Mutex
	states map[string]*State
	exits  map[int]chan syscall.WaitStatus // by pid of our own children
}

func newSupervisor(l Layout, config Config) *supervisor {
	s := &supervisor{layout: l, config: config, states: map[string]*State{}, exits: map[int]chan syscall.WaitStatus{}}
	for _, p := range config.Processes {
		s.states[p.Name] = &State{Name: p.Name, Phase: "Waiting", Since: time.Now()}
	}
	return s
}

// run starts everything and reaps children for ever.
func (s *supervisor) run() error {
	// Default actions would end PID 1 and with it the cluster; `down` uses SIGKILL.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	listener, err := listen(s.layout.Control())
	if err != nil {
		return err
	}
	go func() {
		server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
		fmt.Fprintln(os.Stderr, "control socket closed:", server.Serve(listener))
	}()
	for _, process := range s.config.Processes {
		go s.keep(process)
	}
	return s.reap()
}

// keep starts process again and again.
func (s *supervisor) keep(process Process) {
	backoff := minBackoff
	for {
		s.set(process.Name, func(st *State) { st.Phase, st.PID = "Waiting", 0 })
		s.await(process.After)
		began := time.Now()
		exit, err := s.start(process)
		if err == nil {
			status := <-exit
			err = errors.New(describe(status))
		}
		if time.Since(began) > steady {
			backoff = minBackoff
		}
		fmt.Fprintf(os.Stderr, "%s %s ended: %v; again in %s\n", time.Now().Format(time.RFC3339), process.Name, err, backoff)
		s.set(process.Name, func(st *State) { st.Phase, st.PID, st.LastExit = "BackOff", 0, err.Error() })
		<-time.After(backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

// start forks under the lock that reap takes before it looks a pid up, so an
// exit is never seen before the child is registered.
func (s *supervisor) start(process Process) (<-chan syscall.WaitStatus, error) {
	log, err := s.layout.openLog(process.Name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	child, err := os.StartProcess(process.Args[0], process.Args, &os.ProcAttr{
		Dir:   "/",
		Env:   append(os.Environ(), process.Env...),
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", process.Name, err)
	}
	exit := make(chan syscall.WaitStatus, 1)
	s.exits[child.Pid] = exit
	st := s.states[process.Name]
	st.Phase, st.PID, st.Since = "Running", child.Pid, time.Now()
	st.Starts++
	_ = child.Release()
	return exit, nil
}

const maxLog = 64 << 20

// openLog appends to the log of a process and turns it over once when it has grown too big.
func (l Layout) openLog(process string) (*os.File, error) {
	path := l.Log(process)
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	name := filepath.Base(path)
	if info, err := root.Stat(name); err == nil && info.Size() > maxLog {
		if err := root.Rename(name, name+".old"); err != nil {
			return nil, err
		}
	}
	return root.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func (s *supervisor) reap() error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil && !errors.Is(err, syscall.ECHILD):
			return fmt.Errorf("wait for children: %w", err)
		case pid <= 0:
			<-children
			continue
		}
		s.mu.Lock()
		exit, ours := s.exits[pid]
		delete(s.exits, pid)
		s.mu.Unlock()
		if ours {
			exit <- status
		}
	}
}

func (s *supervisor) set(name string, change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.states[name])
}

// signal sends sig to the daemon of that name, or else to every process in the
// box, those of pods included, that runs a program of that name. It returns
// their pids inside the box.
func (s *supervisor) signal(name string, sig syscall.Signal) ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, ok := s.states[name]; ok {
		if st.PID == 0 {
			return nil, fmt.Errorf("%s is not running (%s)", name, st.Phase)
		}
		return []int{st.PID}, syscall.Kill(st.PID, sig)
	}
	pids, err := running("/proc", name)
	if err != nil {
		return nil, err
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("nothing in the cluster runs a program named %q", name)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return nil, fmt.Errorf("signal %s (pid %d): %w", name, pid, err)
		}
	}
	return pids, nil
}

// running finds the processes below proc whose executable has that name.
func running(proc, name string) ([]int, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		exe, err := os.Readlink(filepath.Join(proc, entry.Name(), "exe"))
		if err == nil && filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == name {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// await returns when every probe has answered once.
func (s *supervisor) await(probes []string) {
	for _, probe := range probes {
		_ = poll.Until(context.Background(), probeEvery, 0, func() bool { return s.answer(probe) == nil }) // for as long as it takes
	}
}

func (s *supervisor) answer(probe string) error {
	u, err := url.Parse(probe)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	switch u.Scheme {
	case "https":
		client, err := s.client()
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", probe, response.Status)
		}
		return nil
	case "unix":
		return dial(ctx, "unix", u.Path)
	default:
		return dial(ctx, u.Scheme, u.Host)
	}
}

func dial(ctx context.Context, kind, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, kind, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// client trusts the cluster's CA and presents the box's certificate.
func (s *supervisor) client() (*http.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe != nil {
		return s.probe, nil
	}
	ca, err := os.ReadFile(s.config.Client.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(s.config.Client.Cert, s.config.Client.Key)
	if err != nil {
		return nil, err
	}
	s.probe = &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
		DisableKeepAlives: true,
	}}
	return s.probe, nil
}

func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return new(net.ListenConfig).Listen(context.Background(), "unix", path)
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
