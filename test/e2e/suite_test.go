//go:build e2e

// Package e2e runs the sample desk on the local cluster that "make up" starts
// and breaks each part of it once. It needs root, because it kills processes.
package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

const (
	namespace = "desk"
	// patience is how long a fault may take to heal: the kubelet's back-off for
	// a container that was killed again is what takes longest.
	patience = 4 * time.Minute
	interval = 250 * time.Millisecond
)

var (
	root    = filepath.Join("..", "..")
	cluster client.Client
)

func TestDesk(t *testing.T) {
	RegisterFailHandler(Fail)
	EnforceDefaultTimeoutsWhenUsingContexts()
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(interval)
	RunSpecs(t, "the desk on a real cluster")
}

var _ = BeforeSuite(func() {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig())
	Expect(err).NotTo(HaveOccurred(), "start the cluster with make up")
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	cluster, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})

// A failure without its evidence cannot be understood after the cluster is gone.
var _ = AfterEach(func(ctx SpecContext) {
	if !CurrentSpecReport().Failed() {
		return
	}
	for _, arguments := range [][]string{
		{"get", "trading", "-A", "-o", "wide"},
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "tradingagents", "-n", namespace, "-o", "yaml"},
		{"get", "events", "-n", namespace, "--sort-by=.lastTimestamp"},
		{"logs", "-n", namespace, "-l", v1alpha1.AgentLabel, "--tail=60", "--prefix"},
		{"logs", "-n", "trading-system", "deploy/trading-operator", "--tail=60"},
	} {
		kubectl := exec.CommandContext(ctx, "./kubectl")
		kubectl.Args = append(kubectl.Args, arguments...)
		kubectl.Dir = filepath.Join(root, ".cluster")
		kubectl.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig())
		output, err := kubectl.CombinedOutput()
		GinkgoWriter.Printf("$ kubectl %s\n%s%v\n", strings.Join(arguments, " "), output, err)
	}
})

func kubeconfig() string {
	if path := os.Getenv("KUBECONFIG"); path != "" {
		return path
	}
	path, err := filepath.Abs(filepath.Join(root, ".cluster", "kubeconfig"))
	Expect(err).NotTo(HaveOccurred())
	return path
}

// database connects to the desk's PostgreSQL with the agents' own Secret. The
// service's name means nothing outside the cluster; its address does.
func database(ctx context.Context) (*pgx.Conn, error) {
	var secret corev1.Secret
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "ledger"}, &secret); err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(string(secret.Data["uri"]))
	if err != nil {
		return nil, err
	}
	var service corev1.Service
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "postgres"}, &service); err != nil {
		return nil, err
	}
	config.Host, config.ConnectTimeout = service.Spec.ClusterIP, 5*time.Second
	if service.Spec.ClusterIP == corev1.ClusterIPNone {
		var endpoints corev1.PodList
		if err := cluster.List(ctx, &endpoints, client.InNamespace(namespace), client.MatchingLabels(service.Spec.Selector)); err != nil {
			return nil, err
		}
		if len(endpoints.Items) == 0 || endpoints.Items[0].Status.PodIP == "" {
			return nil, errors.New("PostgreSQL has no pod with an address")
		}
		config.Host = endpoints.Items[0].Status.PodIP
	}
	return pgx.ConnectConfig(ctx, config)
}

// query reads one value from the ledger.
func query[T any](ctx context.Context, sql string, arguments ...any) (T, error) {
	var value T
	connection, err := database(ctx)
	if err != nil {
		return value, err
	}
	defer func() { _ = connection.Close(ctx) }()
	err = connection.QueryRow(ctx, sql, arguments...).Scan(&value)
	return value, err
}
