// Command manager is the operator: it runs the controllers and the admission
// webhook.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/three-rivers-tech/trading-operator/controllers"
	"github.com/three-rivers-tech/trading-operator/controllers/admission"
	"github.com/three-rivers-tech/trading-operator/controllers/webhookcert"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	marketdata "github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// version of the program, set when it is built.
var version = "dev"

// leaseName is the Lease that replicas of the operator elect their leader by.
const leaseName = "trading-operator"

// The lead passes to a warm standby within five seconds of the leader's death; a
// shorter lease would make every hiccup of the API server a change of leader. Where
// thousands of agents keep the API server busy, a longer one is right: who loses the
// lead starts again and reads everything anew.
const (
	defaultLease  = 4 * time.Second
	shortestLease = 2 * time.Second
)

// election is how often a lead of some length is renewed. A leader that cannot renew
// it for three quarters of that gives up, so two never act at once.
type election struct{ lease, renew, retry time.Duration }

func newElection(lease time.Duration) (election, error) {
	if lease < shortestLease || lease%time.Second != 0 {
		return election{}, fmt.Errorf("--leader-elect-lease-duration: %s is not a whole number of seconds of at least %s", lease, shortestLease)
	}
	return election{lease, lease * 3 / 4, lease / 8}, nil
}

// reconciliationTimeout ends a pass that hangs on the API server.
const reconciliationTimeout = time.Minute

// Who keeps the webhook's certificate.
const (
	webhookFromFiles   = "files"
	webhookSelfManaged = "self-managed"
)

// namespaceFile tells a pod its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

type options struct {
	agentImage      string
	metricsAddress  string
	probeAddress    string
	pprofAddress    string
	leaderElect     bool
	lease           time.Duration
	leaderNamespace string
	webhooks        bool
	webhookPort     int
	webhookCertDir  string
	webhookCert     string
	concurrency     int
	namespace       string
	gateways        venues.Gateways
	marketDataURL   string
	endpoint        endpointOptions
}

func main() {
	var opts options
	flag.StringVar(&opts.agentImage, "agent-image", os.Getenv("AGENT_IMAGE"), "image of the agents' pods; the environment's AGENT_IMAGE if not given")
	flag.StringVar(&opts.metricsAddress, "metrics-bind-address", ":8080", "address of /metrics; 0 turns it off")
	flag.StringVar(&opts.probeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	flag.StringVar(&opts.pprofAddress, "pprof-bind-address", "0", "address of /debug/pprof; 0 turns it off")
	flag.BoolVar(&opts.leaderElect, "leader-elect", true, "let one replica of several act")
	flag.DurationVar(&opts.lease, "leader-elect-lease-duration", defaultLease, "how long the lead lasts that its holder does not renew, and so how long a standby waits at most; longer where an API server is slow to answer")
	flag.StringVar(&opts.leaderNamespace, "leader-election-namespace", "", "namespace of the leader's Lease; the operator's own if not given")
	flag.BoolVar(&opts.webhooks, "webhooks", true, "serve the admission webhook")
	flag.IntVar(&opts.webhookPort, "webhook-port", 9443, "port of the admission webhook")
	flag.StringVar(&opts.webhookCertDir, "webhook-cert-dir", "/etc/trading/webhook", "directory with tls.crt and tls.key of the admission webhook")
	flag.StringVar(&opts.webhookCert, "webhook-certificate", webhookFromFiles, "who keeps the admission webhook's certificate: files, which cert-manager or somebody else does, or self-managed, which the operator does itself in Secret "+webhookcert.SecretName)
	flag.IntVar(&opts.concurrency, "max-concurrent-reconciles", 16, "passes that each controller runs at once")
	flag.StringVar(&opts.namespace, "operator-namespace", "", "namespace of the Leases that claim accounts at venues; the operator's own if not given")
	flag.Var(&opts.gateways, "venue-gateway", "address of a gateway to a venue, in place of the venue's own hosts, such as Kraken=https://gateway.example; several are parted by commas, or the flag is given more than once. It must begin with https:// unless it is a loopback address, and pass requests on unchanged. The agents go by it too")
	flag.StringVar(&opts.marketDataURL, "coinbase-market-data-url", marketdata.DefaultURL, "address of Coinbase Exchange's public market data, or of a gateway to it, where the operator checks that agents will have prices; the agents themselves go to the exchange")
	opts.endpoint.addFlags(flag.CommandLine)
	logging := zap.Options{}
	logging.BindFlags(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	ctrl.Log.Info("the operator starts", "version", version, "agentImage", opts.agentImage)

	if err := run(ctrl.SetupSignalHandler(), opts); err != nil {
		ctrl.Log.Error(err, "the operator ends")
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options) error {
	if opts.agentImage == "" {
		return errors.New("no agent image is known; set --agent-image or the environment variable AGENT_IMAGE")
	}
	reached, err := venues.New(venues.Options{Gateways: opts.gateways})
	if err != nil {
		return fmt.Errorf("--venue-gateway: %w", err)
	}
	candles, err := marketdata.NewChecker(opts.marketDataURL, nil)
	if err != nil {
		return fmt.Errorf("--coinbase-market-data-url: %w", err)
	}
	endpoints, err := opts.endpoint.read()
	if err != nil {
		return err
	}
	if opts.webhookCert != webhookFromFiles && opts.webhookCert != webhookSelfManaged {
		return fmt.Errorf("--webhook-certificate: %q is neither %s nor %s", opts.webhookCert, webhookFromFiles, webhookSelfManaged)
	}
	restConfig, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w; set KUBECONFIG or run in a cluster", err)
	}
	keeper := &webhookcert.Keeper{Namespace: cmp.Or(ownNamespace(opts), controllers.DefaultNamespace), Clock: clock.RealClock{}}
	mgr, err := newManager(restConfig, opts, keeper)
	if err != nil {
		return fmt.Errorf("set up the manager: %w", err)
	}
	world := controllers.World{
		AgentImage: opts.agentImage,
		Clock:      clock.RealClock{},
		Info:       ledger.Info,
		Migrate:    ledger.Migrate,
		Release:    ledger.Release,
		Venues:     reached,
		Gateways:   opts.gateways,
		MarketData: candles,
		Endpoints:  endpoints,
		Metrics:    metrics.Registry,
		Namespace:  ownNamespace(opts),
	}
	if err := controllers.SetupWithManager(ctx, mgr, world); err != nil {
		return err
	}
	if opts.webhooks {
		if err := admission.SetupWithManager(mgr); err != nil {
			return err
		}
	}
	if opts.webhooks && opts.webhookCert == webhookSelfManaged {
		if err := addKeeper(mgr, keeper); err != nil {
			return err
		}
	}
	if err := addChecks(mgr, opts.webhooks); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// addKeeper has every replica keep the webhook's certificate.
func addKeeper(mgr ctrl.Manager, keeper *webhookcert.Keeper) error {
	var err error
	// Secrets are never read through the cache, which would hold them all.
	keeper.Client, err = client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err == nil {
		err = mgr.Add(keeper)
	}
	if err != nil {
		return fmt.Errorf("set up the webhook's certificate: %w", err)
	}
	return nil
}

// ownNamespace is where the operator's Leases are: as the flags say, or as the pod
// does; empty if neither does.
func ownNamespace(opts options) string {
	fromPod, err := os.ReadFile(namespaceFile)
	if err != nil {
		fromPod = nil // not in a pod
	}
	return cmp.Or(opts.namespace, opts.leaderNamespace, strings.TrimSpace(string(fromPod)))
}

func newManager(restConfig *rest.Config, opts options, keeper *webhookcert.Keeper) (ctrl.Manager, error) {
	// The API server's own priority and fairness paces the operator better than
	// a fixed rate could.
	restConfig.QPS = -1
	lead, err := newElection(opts.lease)
	if err != nil {
		return nil, err
	}
	scheme, err := controllers.NewScheme()
	if err != nil {
		return nil, err
	}
	return ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         controllers.CacheOptions(),
		LeaderElection:                opts.leaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       opts.leaderNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(lead.lease),
		RenewDeadline:                 new(lead.renew),
		RetryPeriod:                   new(lead.retry),
		Metrics:                       metricsserver.Options{BindAddress: opts.metricsAddress},
		HealthProbeBindAddress:        opts.probeAddress,
		PprofBindAddress:              opts.pprofAddress,
		WebhookServer: webhook.NewServer(webhook.Options{
			Port:    opts.webhookPort,
			CertDir: opts.webhookCertDir,
			TLSOpts: []func(*tls.Config){func(c *tls.Config) {
				c.MinVersion = tls.VersionTLS13
				if opts.webhookCert == webhookSelfManaged {
					c.GetCertificate = keeper.GetCertificate
				}
			}},
		}),
		Controller: config.Controller{
			MaxConcurrentReconciles: opts.concurrency,
			ReconciliationTimeout:   reconciliationTimeout,
			// A replica that waits for the lead has its caches warm.
			EnableWarmup: new(true),
		},
	})
}

// addChecks makes readiness mean it: the caches hold the cluster, and the
// webhook answers.
func addChecks(mgr ctrl.Manager, webhooks bool) error {
	checks := map[string]healthz.Checker{"caches": cachesSynced(mgr.GetCache())}
	if webhooks {
		checks["webhook"] = mgr.GetWebhookServer().StartedChecker()
	}
	for name, check := range checks {
		if err := mgr.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("add the readiness check %s: %w", name, err)
		}
	}
	return mgr.AddHealthzCheck("ping", healthz.Ping)
}

func cachesSynced(informers cache.Cache) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), time.Second)
		defer cancel()
		if !informers.WaitForCacheSync(ctx) {
			return errors.New("the caches have not synced yet")
		}
		return nil
	}
}
