package testbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/three-rivers-tech/trading-operator/controllers"
)

// Server is an API server with the operator's kinds and rights, on which any
// number of operators can be started and stopped.
type Server struct {
	// Client is an administrator's; it does not cache.
	Client client.WithWatch
	// Config is an administrator's.
	Config *rest.Config

	environment *envtest.Environment
	operator    *rest.Config
}

// StartServer starts an API server with the policies of config/admission in
// force. With webhooks, the admission webhook of
// config/webhook is installed, to be served by a manager.
func StartServer(webhooks bool) (*Server, error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, errors.New("KUBEBUILDER_ASSETS is not set: run the tests by make test, or set it to what `go -C hack/cluster run . assets` prints")
	}
	// The data is thrown away, so it need not survive a power cut.
	etcd := &envtest.Etcd{}
	etcd.Configure().Set("unsafe-no-fsync", "true")
	s := &Server{environment: &envtest.Environment{
		CRDDirectoryPaths:     []string{path("config/crd/bases")},
		ErrorIfCRDPathMissing: true,
		// An API server ends every watch before it does itself.
		ControlPlaneStopTimeout: 2 * time.Minute,
		ControlPlane:            envtest.ControlPlane{Etcd: etcd},
	}}
	if webhooks {
		s.environment.WebhookInstallOptions.Paths = []string{path("config/webhook/validating.yaml")}
	}
	var err error
	if s.Config, err = s.environment.Start(); err != nil {
		return nil, fmt.Errorf("start the API server: %w", err)
	}
	if err := s.admitOperator(); err != nil {
		return nil, errors.Join(err, s.environment.Stop())
	}
	if err := s.installPolicies(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("install config/admission: %w", err), s.environment.Stop())
	}
	return s, nil
}

// admitOperator gives the operator the identity and the rights that it has in a
// cluster.
func (s *Server) admitOperator() error {
	scheme, err := controllers.NewScheme()
	if err != nil {
		return err
	}
	if s.Client, err = client.NewWithWatch(s.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if err := s.grant(); err != nil {
		return fmt.Errorf("install the operator's rights: %w", err)
	}
	user, err := s.environment.AddUser(envtest.User{Name: operator}, &rest.Config{QPS: -1})
	if err != nil {
		return fmt.Errorf("add the operator's user: %w", err)
	}
	s.operator = user.Config()
	return nil
}

// grant installs config/rbac as it is deployed.
func (s *Server) grant() error {
	objects, err := Objects(path("config/manager/namespace.yaml"), path("config/rbac/service_account.yaml"),
		path("config/rbac/role.yaml"), path("config/rbac/role_binding.yaml"), path("config/rbac/account_claims.yaml"),
		path("config/rbac/agent_halts.yaml"))
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := s.Client.Create(context.Background(), object); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// OperatorConfig is the connection of the operator's ServiceAccount. Every call
// returns a copy, which the caller may change.
func (s *Server) OperatorConfig() *rest.Config { return rest.CopyConfig(s.operator) }

// Stop ends the API server and removes its data.
func (s *Server) Stop() error { return s.environment.Stop() }

// ManagerOptions are those of the operator, without the ports and checks that
// only a pod needs.
func ManagerOptions() (ctrl.Options, error) {
	scheme, err := controllers.NewScheme()
	return ctrl.Options{
		Scheme:     scheme,
		Cache:      controllers.CacheOptions(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true), MaxConcurrentReconciles: 4},
	}, err
}
