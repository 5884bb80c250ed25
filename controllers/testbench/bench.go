// Package testbench runs the operator against a real API server for the tests of
// its controllers and of its admission: as the ServiceAccount that it has in a
// cluster, with a clock and a database that the test holds.
package testbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/three-rivers-tech/trading-operator/controllers"
	"github.com/three-rivers-tech/trading-operator/controllers/admission"
	marketdata "github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// AgentImage that the operator on the bench starts agents with.
const AgentImage = "registry.example/trading-agent:test"

// operator is who the operator is in a cluster.
const operator = "system:serviceaccount:trading-system:trading-operator"

// Bench is an API server with the operator on it.
type Bench struct {
	*Server
	// Clock that the controllers go by.
	Clock *clocktesting.FakePassiveClock
	// Database that stands in for every ledger's.
	Database *Database
	// Halts is what fences agents, and what remembers releases.
	Halts *Halts
	// Venue is the way to every venue.
	Venue *Venue
	// MarketData is the way to every provider of market data.
	MarketData *Venue
	// Endpoints is what clients of the agents' endpoints meet.
	Endpoints *Endpoints
	// Metrics are those that the controllers keep.
	Metrics *prometheus.Registry

	stop    context.CancelFunc
	stopped chan error

	mu     sync.Mutex
	writes []string
}

// Start starts an API server and the operator. With webhooks, the admission
// webhook of config/webhook is installed and served.
func Start(webhooks bool) (*Bench, error) {
	server, err := StartServer(webhooks)
	if err != nil {
		return nil, err
	}
	b := &Bench{
		Server:     server,
		Clock:      clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second)),
		Database:   NewDatabase(),
		Halts:      &Halts{},
		Venue:      &Venue{},
		MarketData: &Venue{},
		Endpoints:  &Endpoints{},
		Metrics:    prometheus.NewRegistry(),
		stopped:    make(chan error, 1),
	}
	if err := b.startOperator(webhooks); err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

func (b *Bench) startOperator(webhooks bool) error {
	operatorConfig := b.OperatorConfig()
	operatorConfig.Wrap(b.recording)
	options, err := ManagerOptions()
	if err != nil {
		return err
	}
	hooks := b.environment.WebhookInstallOptions
	options.WebhookServer = webhook.NewServer(webhook.Options{
		Host: hooks.LocalServingHost, Port: hooks.LocalServingPort, CertDir: hooks.LocalServingCertDir,
	})
	mgr, err := ctrl.NewManager(operatorConfig, options)
	if err != nil {
		return err
	}
	reached, err := venues.New(venues.Options{Transport: b.Venue})
	if err != nil {
		return err
	}
	candles, err := marketdata.NewChecker("", &http.Client{Transport: b.MarketData, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	world := controllers.World{
		AgentImage: AgentImage, Clock: b.Clock,
		Info: b.Database.Info, Migrate: b.Database.Migrate, Release: b.Database.Release,
		Halts: b.Halts.World(), Venues: reached, MarketData: candles,
		Try: b.Endpoints.Try, Metrics: b.Metrics,
	}
	err = controllers.SetupWithManager(ctx, mgr, world)
	if err == nil && webhooks {
		err = admission.SetupWithManager(mgr)
	}
	if err != nil {
		cancel()
		return err
	}
	b.stop = cancel
	go func() { b.stopped <- mgr.Start(ctx) }()
	if webhooks {
		return waitFor(ctx, mgr.GetWebhookServer().StartedChecker())
	}
	return nil
}

func waitFor(ctx context.Context, check func(*http.Request) error) error {
	return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return check(nil) == nil, nil
	})
}

// StopOperator ends the operator, and with it the webhook, and lets the API
// server go on.
func (b *Bench) StopOperator() error {
	if b.stop == nil {
		return nil
	}
	b.stop()
	b.stop = nil
	return <-b.stopped
}

// Stop ends the operator and the API server.
func (b *Bench) Stop() error {
	return errors.Join(b.StopOperator(), b.Server.Stop())
}

// Objects reads every object of some YAML files.
func Objects(files ...string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, file := range files {
		content, err := fs.ReadFile(os.DirFS(filepath.Dir(file)), filepath.Base(file))
		if err != nil {
			return nil, err
		}
		decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(string(content)), 4096)
		for {
			object := &unstructured.Unstructured{}
			err := decoder.Decode(object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			if len(object.Object) > 0 {
				objects = append(objects, object)
			}
		}
	}
	return objects, nil
}

// Writes are the operator's requests to the API server that may change
// something, since the last call.
func (b *Bench) Writes() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	writes := b.writes
	b.writes = nil
	return writes
}

// recording notes every request of the operator that is no read.
func (b *Bench) recording(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if request.Method != http.MethodGet {
			b.mu.Lock()
			b.writes = append(b.writes, request.Method+" "+request.URL.Path)
			b.mu.Unlock()
		}
		return next.RoundTrip(request)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// path of a file of the repository, from wherever below its root a test runs.
func path(relative string) string {
	root := "."
	for range 8 {
		found := filepath.Join(root, relative)
		if _, err := os.Stat(found); err == nil {
			return found
		}
		root = filepath.Join(root, "..")
	}
	return relative
}
