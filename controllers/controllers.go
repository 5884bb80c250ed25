// Package controllers puts the rooms together: one controller for each kind, and
// the cache that they share.
package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/assetpair"
	"github.com/three-rivers-tech/trading-operator/controllers/endpoint"
	ledgercontroller "github.com/three-rivers-tech/trading-operator/controllers/ledger"
	"github.com/three-rivers-tech/trading-operator/controllers/probe"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/riskpolicy"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingagent"
	"github.com/three-rivers-tech/trading-operator/controllers/tradinghalt"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	marketcoinbase "github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// World is what the controllers reach outside the API server.
type World struct {
	// AgentImage is what the agents' pods run.
	AgentImage string
	Clock      clock.PassiveClock
	// Info, Migrate and Release ask and change the ledger at a URI. Their errors
	// must not carry its password.
	Info    func(ctx context.Context, uri string) (ledger.ServerInfo, error)
	Migrate func(ctx context.Context, uri string) (int64, error)
	Release func(ctx context.Context, uri, agentUID string) error
	// Halts fence agents that do not acknowledge a halt. What is nil is done in the
	// ledgers and at the venues themselves.
	Halts tradinghalt.World
	// Venues are asked about accounts and pairs; nil asks the venues themselves.
	Venues *venues.Venues
	// Gateways are what the agents reach venues by, where not directly.
	Gateways venues.Gateways
	// MarketData is asked what Coinbase Exchange has of a pair; nil asks the
	// exchange itself.
	MarketData *marketcoinbase.Checker
	// Endpoints are what the operator's user sets for the agents' endpoints.
	Endpoints endpoint.Options
	// Try tries an endpoint as a client would; nil connects to it.
	Try func(context.Context, endpoint.Target) endpoint.Answer
	// Metrics takes the endpoints' metrics; nil keeps none.
	Metrics prometheus.Registerer
	// Namespace of the operator, where accounts at venues are claimed;
	// DefaultNamespace if empty.
	Namespace string
}

// DefaultNamespace is where config/default puts the operator.
const DefaultNamespace = "trading-system"

// NewScheme knows every kind that the operator reads or writes.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), endpoint.AddToScheme(scheme))
}

// CacheOptions keep in memory what the controllers read and no more: of the
// cluster's pods, accounts, roles, revisions and budgets only the operator's own.
func CacheOptions() cache.Options {
	own := labels.SelectorFromSet(labels.Set{reconcile.LabelManagedBy: reconcile.FieldOwner})
	return cache.Options{
		DefaultTransform: reconcile.Compact,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:                   {Label: own, Transform: reconcile.SlimPod},
			&corev1.Node{}:                  {Transform: reconcile.SlimNode},
			&corev1.ServiceAccount{}:        {Label: own},
			&rbacv1.Role{}:                  {Label: own},
			&rbacv1.RoleBinding{}:           {Label: own},
			&appsv1.ControllerRevision{}:    {Label: own},
			&policyv1.PodDisruptionBudget{}: {Label: own},
			&corev1.Service{}:               {Label: own},
			&corev1.ConfigMap{}:             {Label: own},
			&networkingv1.Ingress{}:         {Label: own},
		},
	}
}

// SetupWithManager registers the indexes and every controller.
func SetupWithManager(ctx context.Context, mgr ctrl.Manager, world World) error {
	if err := reconcile.AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	tools := func(name string) reconcile.Tools { return reconcile.NewTools(mgr, name, world.Clock) }
	if world.Venues == nil {
		var err error
		if world.Venues, err = venues.New(venues.Options{}); err != nil {
			return err
		}
	}
	asker := &tradingaccount.Venues{Reader: mgr.GetClient(), Live: mgr.GetAPIReader(), Real: world.Venues}
	claims := &tradingaccount.Claims{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: cmp.Or(world.Namespace, DefaultNamespace), Clock: world.Clock}
	listed := listings.New(asker.Product)
	if err := mgr.Add(listed); err != nil {
		return fmt.Errorf("add the listings: %w", err)
	}
	data, err := prober(mgr, world.MarketData)
	if err != nil {
		return err
	}
	endpoints, err := keeper(ctx, mgr, world)
	if err != nil {
		return err
	}
	halts, counted, err := haltRooms(world, asker)
	if err != nil {
		return err
	}
	ledgers, err := ledgercontroller.NewMetrics(world.Metrics)
	if err != nil {
		return fmt.Errorf("register the metrics of ledgers: %w", err)
	}
	rooms := map[string]interface{ SetupWithManager(ctrl.Manager) error }{
		"RiskPolicy":     &riskpolicy.Reconciler{Tools: tools("riskpolicy-controller")},
		"AssetPair":      &assetpair.Reconciler{Tools: tools("assetpair-controller")},
		"TradingAccount": &tradingaccount.Reconciler{Tools: tools("tradingaccount-controller"), Venues: asker, Claims: claims, Listings: listed},
		"Ledger":         &ledgercontroller.Reconciler{Tools: tools("ledger-controller"), Info: world.Info, Migrate: world.Migrate, Anchor: ledger.TakeAnchor, Forget: ledger.Forget, Metrics: ledgers},
		"TradingAgent":   &tradingagent.Reconciler{Tools: tools("tradingagent-controller"), AgentImage: world.AgentImage, Release: world.Release, Listings: listed, Gateways: world.Gateways, Data: data, Endpoints: endpoints},
	}
	for kind, room := range map[string]func() v1alpha1.Halt{
		"TradingHalt": func() v1alpha1.Halt { return &v1alpha1.TradingHalt{} }, "ClusterTradingHalt": func() v1alpha1.Halt { return &v1alpha1.ClusterTradingHalt{} },
	} {
		rooms[kind] = &tradinghalt.Reconciler{Tools: tools(strings.ToLower(kind) + "-controller"), New: room, World: halts, Metrics: counted}
	}
	for kind, room := range rooms {
		if err := room.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up the controller of %s: %w", kind, err)
		}
	}
	return nil
}

// haltRooms are what the controllers of both kinds of halts share.
func haltRooms(world World, asker *tradingaccount.Venues) (tradinghalt.World, *tradinghalt.Metrics, error) {
	halts := world.Halts
	if halts.Fence == nil {
		halts.Fence = ledger.FenceHalted
	}
	if halts.Latch == nil {
		halts.Latch = ledger.LatchAll
	}
	if halts.Bound == nil {
		halts.Bound = ledger.BoundBy
	}
	if halts.Unlatch == nil {
		halts.Unlatch = ledger.Unlatch
	}
	if halts.Stop == nil {
		halts.Stop = asker.Stop
	}
	if world.Metrics == nil {
		return halts, nil, nil
	}
	metrics, err := tradinghalt.NewMetrics(world.Metrics)
	if err != nil {
		return halts, nil, fmt.Errorf("register the metrics of halts: %w", err)
	}
	return halts, metrics, nil
}

// prober asks providers of market data for as long as the operator leads.
func prober(mgr ctrl.Manager, exchange *marketcoinbase.Checker) (*probe.Prober, error) {
	if exchange == nil {
		var err error
		if exchange, err = marketcoinbase.NewChecker("", nil); err != nil {
			return nil, err
		}
	}
	data := probe.New(map[v1alpha1.DataSource]probe.Provider{v1alpha1.DataSourceCoinbase: exchange})
	if err := mgr.Add(data); err != nil {
		return nil, fmt.Errorf("add the prober of market data: %w", err)
	}
	return data, nil
}

// keeper keeps the agents' endpoints, and tries them for as long as the operator
// leads.
func keeper(ctx context.Context, mgr ctrl.Manager, world World) (*endpoint.Keeper, error) {
	if err := endpoint.AddIndexes(ctx, mgr.GetFieldIndexer(), world.Endpoints); err != nil {
		return nil, err
	}
	identity := endpoint.NewIdentity(world.Endpoints.ClientCertificates)
	try := world.Try
	if try == nil {
		trial := &endpoint.Trial{Options: world.Endpoints, Identity: identity, Secrets: endpoint.ReadKeypair(mgr.GetAPIReader())}
		try = trial.Try
	}
	verifier := endpoint.NewVerifier(try)
	if err := mgr.Add(verifier); err != nil {
		return nil, fmt.Errorf("add the verifier of endpoints: %w", err)
	}
	var metrics *endpoint.Metrics
	if world.Metrics != nil {
		var err error
		if metrics, err = endpoint.NewMetrics(world.Metrics); err != nil {
			return nil, fmt.Errorf("register the metrics of endpoints: %w", err)
		}
	}
	return &endpoint.Keeper{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: world.Clock, Options: world.Endpoints,
		APIs: endpoint.NewAPIs(mgr, world.Endpoints), Verifier: verifier, Identity: identity, Metrics: metrics,
	}, nil
}
