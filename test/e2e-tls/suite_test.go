//go:build e2etls

// Package e2etls gives the sample desk addresses on the local cluster that "up
// --tls" starts: cert-manager's own controllers, Pebble as the ACME authority,
// Traefik as Ingress and Gateway controller, and Cloudflare's API by a double. It
// breaks each part of that chain once. curl and Chromium are the judges.
package e2etls

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

const (
	namespace = "desk"
	// byIngress and byGateway are the desk's agents.
	byIngress, byGateway = "eur-trend", "googl-swing"
	// patience is how long a chain may take to heal: a DNS-01 challenge waits a
	// minute for the record's time to live, and more behind a failure's back-off.
	patience = 4 * time.Minute
	interval = 250 * time.Millisecond
)

var (
	root    = filepath.Join("..", "..")
	cluster client.Client
)

func TestEndpoints(t *testing.T) {
	RegisterFailHandler(Fail)
	EnforceDefaultTimeoutsWhenUsingContexts()
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(interval)
	RunSpecs(t, "addresses of the desk, by a real chain")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig())
	Expect(err).NotTo(HaveOccurred(), "start the cluster with make e2e-tls")
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, certmanagerv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		Expect(add(scheme)).To(Succeed())
	}
	cluster, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	openJudges(ctx)
})

// A failure without its evidence cannot be understood after the cluster is gone.
var _ = AfterEach(func(ctx SpecContext) {
	if !CurrentSpecReport().Failed() {
		return
	}
	for _, arguments := range []string{
		"get trading -A -o wide",
		"get pods -A -o wide",
		"get tradingagents -n desk -o yaml",
		"get certificates,certificaterequests,orders,challenges -A -o wide",
		"get ingresses,gateways,httproutes,services,backendtlspolicies,serverstransports -n desk -o wide",
		"get events -n desk --sort-by=.lastTimestamp",
		"logs -n desk -l " + v1alpha1.AgentLabel + " --tail=40 --prefix",
		"logs -n trading-system deploy/trading-operator --tail=60",
		"logs -n traefik deploy/traefik --tail=40",
		"logs -n cert-manager deploy/cert-manager --tail=40",
	} {
		output, err := kubectl(ctx, strings.Fields(arguments)...)
		GinkgoWriter.Printf("$ kubectl %s\n%s%v\n", arguments, output, err)
	}
})

// program is a command of this machine, not started.
func program(ctx context.Context, name string, arguments []string) *exec.Cmd {
	command := exec.CommandContext(ctx, name)
	command.Args = append(command.Args, arguments...)
	return command
}

func kubectl(ctx context.Context, arguments ...string) (string, error) {
	command := program(ctx, "./kubectl", arguments)
	command.Dir = filepath.Join(root, ".cluster")
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig())
	output, err := command.CombinedOutput()
	return string(output), err
}

// repository is the absolute path of a file in the tree.
func repository(elements ...string) string {
	GinkgoHelper()
	path, err := filepath.Abs(filepath.Join(append([]string{root}, elements...)...))
	Expect(err).NotTo(HaveOccurred())
	return path
}

func kubeconfig() string {
	if path := os.Getenv("KUBECONFIG"); path != "" {
		return path
	}
	return repository(".cluster", "kubeconfig")
}

// address is that of a Service of our internet: the machine has routes to them.
func address(ctx context.Context, namespace, name string) string {
	GinkgoHelper()
	service := &corev1.Service{}
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, service)).To(Succeed())
	return service.Spec.ClusterIP
}

func readAgent(ctx context.Context, name string) (*v1alpha1.TradingAgent, error) {
	agent := &v1alpha1.TradingAgent{}
	return agent, cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, agent)
}

// patchAgent changes an agent's manifest as a user does.
func patchAgent(ctx context.Context, name, patch string) {
	GinkgoHelper()
	output, err := kubectl(ctx, "patch", "tradingagent", "-n", namespace, name, "--type=merge", "-p", patch)
	Expect(err).NotTo(HaveOccurred(), output)
}

// reasonOf is "True Reason" and so on of one condition; a new generation that was
// not looked at yet has none.
func reasonOf(ctx context.Context, name, condition string) (string, error) {
	agent, err := readAgent(ctx, name)
	if err != nil {
		return "", err
	}
	for _, c := range agent.Status.Conditions {
		if c.Type == condition && c.ObservedGeneration == agent.Generation {
			return string(c.Status) + " " + c.Reason, nil
		}
	}
	return "", nil
}

func messageOf(ctx context.Context, name, condition string) string {
	GinkgoHelper()
	agent, err := readAgent(ctx, name)
	Expect(err).NotTo(HaveOccurred())
	for _, c := range agent.Status.Conditions {
		if c.Type == condition {
			return c.Message
		}
	}
	return ""
}

// trouble is what the three conditions of an endpoint complain of.
func trouble(ctx context.Context, name string) ([]string, error) {
	var found []string
	for _, condition := range []string{v1alpha1.ConditionCertificateReady, v1alpha1.ConditionRouteReady, v1alpha1.ConditionEndpointVerified} {
		reason, err := reasonOf(ctx, name, condition)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(reason, "True ") {
			found = append(found, condition+"="+reason)
		}
	}
	return found, nil
}

func expectVerified(ctx context.Context, name string) {
	GinkgoHelper()
	Eventually(trouble).WithContext(ctx).WithArguments(name).Should(BeEmpty(), name)
}
