//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers"
	"github.com/three-rivers-tech/trading-operator/controllers/endpoint"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	marketdata "github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// release is one release of the operator, as far as agents could notice it.
type release struct{ agentImage string }

// newest is what every scenario but the upgrade runs.
var newest = release{agentImage: testbench.AgentImage}

// leaseName is what operators compete for.
const leaseName = "leader"

// operatorOptions say how an operator is started.
type operatorOptions struct {
	release release
	view    *view
	// elect has the operator compete for the lead of its namespace.
	elect bool
	// fault strikes from the operator's first write on; nil leaves it alone.
	fault *fault
	// resync is how often everything is looked at again; 0 practically never.
	resync time.Duration
}

// operator is one process of the operator, restricted to one namespace.
type operator struct {
	transport *transport
	activity  *activity
	cancel    context.CancelFunc
	ended     chan struct{}
	err       error
}

// startOperator starts a process that remembers nothing of any other.
func startOperator(namespace string, world *world, options operatorOptions) (*operator, error) {
	o := &operator{transport: newTransport(options.view, options.fault), activity: newActivity(), ended: make(chan struct{})}
	config := server.OperatorConfig()
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		o.transport.next = next
		return o.transport
	})
	managed, err := testbench.ManagerOptions()
	if err != nil {
		return nil, err
	}
	managed.Cache.DefaultNamespaces = map[string]cache.Config{namespace: {}}
	if options.resync > 0 {
		managed.Cache.SyncPeriod = &options.resync
	}
	managed.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return mapper, nil }
	managed.Logger = logr.New(o.activity)
	managed.GracefulShutdownTimeout = new(time.Duration(0))
	if options.elect {
		managed.LeaderElection, managed.LeaderElectionID, managed.LeaderElectionNamespace = true, leaseName, namespace
		managed.LeaseDuration, managed.RenewDeadline, managed.RetryPeriod = new(4*time.Second), new(3*time.Second), new(300*time.Millisecond)
		managed.Controller.EnableWarmup = new(true)
	}
	mgr, err := ctrl.NewManager(config, managed)
	if err != nil {
		return nil, fmt.Errorf("set up the manager: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	reach, err := o.reach(world, options.release)
	if err == nil {
		err = controllers.SetupWithManager(ctx, mgr, reach)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	o.cancel = cancel
	go func() {
		o.err = mgr.Start(ctx)
		close(o.ended)
	}()
	return o, nil
}

// reach is the operator's way to the ledger: a dead process reaches nothing.
// Venues and providers of data do not exist here.
func (o *operator) reach(world *world, release release) (controllers.World, error) {
	database, nowhere := world.database, &testbench.Venue{}
	reached, err := venues.New(venues.Options{Transport: nowhere})
	if err != nil {
		return controllers.World{}, err
	}
	data, err := marketdata.NewChecker("", &http.Client{Transport: nowhere})
	if err != nil {
		return controllers.World{}, err
	}
	return controllers.World{
		AgentImage: release.agentImage, Clock: world.clock, Venues: reached, MarketData: data,
		Halts: o.halting(world),
		Info: func(ctx context.Context, uri string) (ledger.ServerInfo, error) {
			if o.transport.isDead() {
				return ledger.ServerInfo{}, errCrashed
			}
			return database.Info(ctx, uri)
		},
		Migrate: func(ctx context.Context, uri string) (int64, error) {
			if o.transport.isDead() {
				return 0, errCrashed
			}
			return database.Migrate(ctx, uri)
		},
		Release: func(ctx context.Context, uri, agentUID string) error {
			if o.transport.isDead() {
				return errCrashed
			}
			return database.Release(ctx, uri, agentUID)
		},
		Try: func(context.Context, endpoint.Target) endpoint.Answer {
			return endpoint.Answer{Known: true, Reason: v1alpha1.ReasonEndpointUnreachable, Message: "no endpoint leads anywhere here"}
		},
	}, nil
}

// kill ends the process where it stands and waits until it has.
func (o *operator) kill() error {
	o.transport.die()
	o.cancel()
	select {
	case <-o.ended:
	case <-time.After(patience):
		return errors.New("the operator does not end")
	}
	if o.err != nil && !strings.Contains(o.err.Error(), "leader election lost") && !errors.Is(o.err, errCrashed) {
		return fmt.Errorf("the operator ended: %w", o.err)
	}
	return nil
}

// shiftedClock goes as fast as time, ahead by what a scenario has skipped.
type shiftedClock struct{ ahead atomic.Int64 }

// Now is the time that the operator believes in.
func (c *shiftedClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Since is the time passed by this clock.
func (c *shiftedClock) Since(then time.Time) time.Duration { return c.Now().Sub(then) }

func (c *shiftedClock) skip(d time.Duration) { c.ahead.Add(int64(d)) }

// activity reads an operator's log for what it is doing: passes that run, and
// panics. It keeps the last lines for the report of a failed run.
type activity struct {
	state  *activityState
	values string
}

type activityState struct {
	mu      sync.Mutex
	running int
	passes  int
	// looks are the passes over each object, by controller and name.
	looks  map[string]int
	latest time.Time
	panics []string
	lines  []string
}

// keptLines of the operator's log are shown when a run has failed.
const keptLines = 60

func newActivity() *activity {
	return &activity{state: &activityState{latest: time.Now(), looks: map[string]int{}}}
}

// Init is part of logr.LogSink.
func (a *activity) Init(logr.RuntimeInfo) {}

// Enabled is part of logr.LogSink.
func (a *activity) Enabled(level int) bool { return level <= 5 }

// Info is part of logr.LogSink.
func (a *activity) Info(_ int, message string, values ...any) { a.note(message, nil, values) }

// Error is part of logr.LogSink.
func (a *activity) Error(err error, message string, values ...any) { a.note(message, err, values) }

// WithValues is part of logr.LogSink.
func (a *activity) WithValues(values ...any) logr.LogSink {
	named := []string{a.values}
	for i := 0; i+1 < len(values); i += 2 {
		if name := fmt.Sprint(values[i]); name == "controller" || name == "name" {
			named = append(named, fmt.Sprint(values[i+1]))
		}
	}
	return &activity{state: a.state, values: strings.Join(named, " ")}
}

// WithName is part of logr.LogSink.
func (a *activity) WithName(string) logr.LogSink { return a }

func (a *activity) note(message string, err error, values []any) {
	s := a.state
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case message == "Reconciling":
		s.running++
		s.passes++
		s.looks[strings.TrimSpace(a.values)]++
		s.latest = time.Now()
	case strings.HasPrefix(message, "Reconcile successful"), strings.HasPrefix(message, "Reconcile done"), message == "Reconciler error":
		s.running--
		s.latest = time.Now()
	case strings.HasPrefix(message, "Observed a panic"):
		s.panics = append(s.panics, a.values+" "+message)
	}
	if strings.Contains(message, "lease") || strings.HasPrefix(message, "workqueue") {
		return
	}
	line := time.Now().Format("05.000") + a.values + " " + message
	if err != nil {
		line += ": " + err.Error()
	}
	if message != "Reconciling" && len(values) > 0 {
		line += fmt.Sprint(" ", values)
	}
	s.lines = append(s.lines, line)
	s.lines = s.lines[max(0, len(s.lines)-keptLines):]
}

// idleSince is when the last pass ended; busy while one runs.
func (a *activity) idleSince() (since time.Time, busy bool) {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	return a.state.latest, a.state.running > 0
}

// passed is how many passes have begun.
func (a *activity) passed() int {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	return a.state.passes
}

// looked is how many passes over an agent have begun.
func (a *activity) looked(agent string) int {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	return a.state.looks["tradingagent "+agent]
}

func (a *activity) panicked() []string {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	return append([]string(nil), a.state.panics...)
}

func (a *activity) tail() string {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	return strings.Join(a.state.lines, "\n")
}
