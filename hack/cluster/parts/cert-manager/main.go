// Command cert-manager runs cert-manager's controllers and its CA injector in
// one process. Upstream's own commands are modules of their own that the Go
// module proxy does not serve; their controllers are public packages, so this
// starts those that a cluster without internet can use: certificates and their
// requests, CA and self-signed issuers. ACME is there with the build tag acme;
// Vault and Venafi stay out.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

// workers per controller: a desk has a handful of certificates.
const workers = 2

func main() {
	// A set of our own: controller-runtime claims --kubeconfig on the global one.
	flags := flag.NewFlagSet("cert-manager", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig to use outside a cluster (in a pod: its service account)")
	listen := flags.String("listen", ":9403", "address that serves /livez and /readyz")
	namespace := flags.String("cluster-resource-namespace", "cert-manager", "namespace that holds the Secrets of ClusterIssuers")
	var acme acmeFlags
	flags.StringVar(&acme.solver, "acme-http01-solver-image", "", "image that answers HTTP-01 challenges")
	flags.StringVar(&acme.nameserver, "acme-nameserver", "", "host:port of the DNS server that is asked whether a challenge can be seen")
	flags.BoolVar(&acme.gateway, "enable-gateway-api", false, "answer HTTP-01 challenges by HTTPRoutes too; the CRDs of the Gateway API must be there")
	_ = flags.Parse(os.Args[1:]) // exits on error

	log := logr.FromSlogHandler(slog.NewTextHandler(os.Stdout, nil))
	logf.Log = log
	ctrl.SetLogger(log)
	ctx, stop := signal.NotifyContext(logr.NewContext(context.Background(), log), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *listen, *namespace, acme); err != nil {
		log.Error(err, "cert-manager stopped")
		os.Exit(1)
	}
}

// run returns when ctx ends or the first of the controllers fails.
func run(ctx context.Context, kubeconfig, listen, namespace string, acme acmeFlags) error {
	group, ctx := errgroup.WithContext(ctx)
	var ready atomic.Bool
	serveHealth(ctx, group, listen, &ready)

	factory, err := controller.NewContextFactory(ctx, acme.into(controller.ContextOptions{
		Kubeconfig:         kubeconfig,
		KubernetesAPIQPS:   50,
		KubernetesAPIBurst: 100,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: namespace},
		CertificateOptions: controller.CertificateOptions{
			CertificateRequestMinimumBackoffDuration: time.Minute,
			CertificateRequestMaximumBackoffDuration: time.Hour,
		},
	}))
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	for name, construct := range controller.Known() {
		c, err := construct(factory)
		if err != nil {
			return fmt.Errorf("set up controller %s: %w", name, err)
		}
		group.Go(func() error {
			if err := c.Run(workers, ctx); err != nil {
				return fmt.Errorf("controller %s: %w", name, err)
			}
			return nil
		})
	}
	shared, err := factory.Build()
	if err != nil {
		return fmt.Errorf("build the shared informers: %w", err)
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	if shared.GatewaySolverEnabled {
		shared.GWShared.Start(ctx.Done())
	}

	injector, err := newInjector(ctx, shared.RESTConfig)
	if err != nil {
		return fmt.Errorf("set up the CA injector: %w", err)
	}
	group.Go(func() error { return injector.Start(ctx) })
	ready.Store(true)
	return group.Wait()
}

func serveHealth(ctx context.Context, group *errgroup.Group, listen string, ready *atomic.Bool) {
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "controllers are not running yet", http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	group.Go(func() error {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			return fmt.Errorf("serve health on %s: %w", listen, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
}
