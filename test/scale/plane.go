package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	// nodes that kwok simulates.
	nodes = 20

	// The users of the programs, as they stand in the audit log.
	operatorUser          = "system:serviceaccount:trading-system:trading-operator"
	controllerManagerUser = "system:kube-controller-manager"

	startDeadline = time.Minute
)

// auditPolicy has the API server write down what the operator asks for, with
// the bodies of its writes, so that they can be done again by a bare client; and
// what the StatefulSet controller writes.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Request
  users: ["` + operatorUser + `"]
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
  users: ["` + operatorUser + `"]
- level: Metadata
  users: ["` + controllerManagerUser + `"]
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

// kwokConfig: as many pods are brought up at once as the operator reconciles.
const kwokConfig = `apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  podPlayStageParallelism: 16
  podsOnNodeSyncParallelism: 4
  nodePlayStageParallelism: 4
  nodeLeaseParallelism: 4
`

// plane is a control plane of plain processes on loopback, with nodes whose
// kubelets kwok simulates.
type plane struct {
	dir    string
	scheme *runtime.Scheme
	// config is an administrator's; admin uses it and does not cache.
	config *rest.Config
	admin  client.WithWatch
	audit  *auditLog

	environment *envtest.Environment
	outputs     []io.Closer
	processes   []*process
	kubeconfig  string
}

// programs finds programs and what belongs to them by name in a list of
// directories.
type programs []string

func (p programs) find(name string) (string, error) {
	for _, dir := range p {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %q in %s; give --programs what `go -C hack/cluster run . path kubernetes etcd kwok` prints", name, strings.Join(p, ", "))
}

// startPlane starts an empty cluster whose files and logs are in dir.
func startPlane(ctx context.Context, found programs, dir string, agents int) (*plane, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	p := &plane{dir: dir, scheme: scheme}
	if err := p.startServer(found); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	if err := p.startControllers(found); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	if err := p.addNodes(ctx, agents); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// startServer starts etcd and the API server.
func (p *plane) startServer(found programs) error {
	server, err := found.find("kube-apiserver")
	if err != nil {
		return err
	}
	store, err := found.find("etcd")
	if err != nil {
		return err
	}
	policy := filepath.Join(p.dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	auditPath := filepath.Join(p.dir, "audit.log")
	etcd := &envtest.Etcd{Path: store}
	// The data is thrown away. Every contestant has the same store.
	etcd.Configure().Set("unsafe-no-fsync", "true").Set("quota-backend-bytes", "8589934592")
	if etcd.Out, etcd.Err, err = p.output("etcd"); err != nil {
		return err
	}
	api := &envtest.APIServer{Path: server}
	// ServiceAccount admission gives pods their token volumes, as in a cluster.
	api.Configure().Disable("disable-admission-plugins").
		Set("audit-policy-file", policy).Set("audit-log-path", auditPath).Set("audit-log-maxsize", "0")
	if api.Out, api.Err, err = p.output("kube-apiserver"); err != nil {
		return err
	}
	p.environment = &envtest.Environment{
		ControlPlane:             envtest.ControlPlane{Etcd: etcd, APIServer: api},
		ControlPlaneStartTimeout: startDeadline,
		ControlPlaneStopTimeout:  startDeadline,
	}
	if p.config, err = p.environment.Start(); err != nil {
		return fmt.Errorf("start the API server, see the logs in %s: %w", p.dir, err)
	}
	p.config.QPS = -1
	if p.admin, err = client.NewWithWatch(p.config, client.Options{Scheme: p.scheme}); err != nil {
		return err
	}
	p.audit, err = openAuditLog(auditPath)
	return err
}

// startControllers starts what makes nodes and pods of objects. The clients'
// rates are raised far above what this machine can do, because the default of 20
// or 50 requests a second would be all that is measured.
func (p *plane) startControllers(found programs) error {
	certificates := p.environment.ControlPlane.APIServer.CertDir
	stages, err := p.kwokConfigs(found)
	if err != nil {
		return err
	}
	rate := []string{"--kube-api-qps=5000", "--kube-api-burst=5000", "--leader-elect=false", "--secure-port=0", "--v=1"}
	for _, program := range []struct {
		name, user string
		args       []string
	}{
		{"kube-controller-manager", controllerManagerUser, append([]string{
			"--service-account-private-key-file=" + filepath.Join(certificates, "sa-signer.key"),
			"--concurrent-statefulset-syncs=8",
			// kwok's heartbeats may be late on a busy machine; no node is lost here.
			"--node-monitor-grace-period=30m",
		}, rate...)},
		{"kube-scheduler", "system:kube-scheduler", rate},
		{"kwok", "kwok", append([]string{"--manage-all-nodes", "--node-lease-duration-seconds=40"}, stages...)},
	} {
		path, err := found.find(program.name)
		if err != nil {
			return err
		}
		kubeconfig, err := p.addUser(program.user, "system:masters")
		if err != nil {
			return err
		}
		args := append([]string{"--kubeconfig=" + kubeconfig}, program.args...)
		started, err := startProcess(p.dir, program.name, path, []string{"HOME=" + p.dir}, args...)
		if err != nil {
			return err
		}
		p.processes = append(p.processes, started)
	}
	return nil
}

// kwokConfigs are the flags that have kwok play nodes and pods as they are on
// its own clusters: what is created is ready at once, what is deleted gone.
func (p *plane) kwokConfigs(found programs) ([]string, error) {
	config := filepath.Join(p.dir, "kwok.yaml")
	if err := os.WriteFile(config, []byte(kwokConfig), 0o600); err != nil {
		return nil, err
	}
	flags := []string{"--config=" + config}
	for _, folder := range []string{"node-stages", "pod-stages"} {
		dir, err := found.find(folder)
		if err != nil {
			return nil, err
		}
		stages, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			return nil, err
		}
		for _, stage := range stages {
			flags = append(flags, "--config="+stage)
		}
	}
	return flags, nil
}

// addUser makes a user with a client certificate and returns its kubeconfig.
func (p *plane) addUser(name string, groups ...string) (string, error) {
	user, err := p.environment.AddUser(envtest.User{Name: name, Groups: groups}, nil)
	if err != nil {
		return "", fmt.Errorf("add user %s: %w", name, err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("write the kubeconfig of %s: %w", name, err)
	}
	path := filepath.Join(p.dir, strings.ReplaceAll(name, ":", "-")+".kubeconfig")
	return path, os.WriteFile(path, kubeconfig, 0o600)
}

// serviceAccountGroups are what the API server gives every ServiceAccount of a
// namespace.
func serviceAccountGroups(namespace string) []string {
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
}

// addNodes creates nodes with room for everything twice, and waits until the
// scheduler may use them.
func (p *plane) addNodes(ctx context.Context, agents int) error {
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1k"),
		corev1.ResourceMemory: resource.MustParse("4Ti"),
		corev1.ResourcePods:   *resource.NewQuantity(int64(max(110, 2*agents/nodes)), resource.DecimalSI),
	}
	for i := range nodes {
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%02d", i), Labels: map[string]string{corev1.LabelHostname: fmt.Sprintf("node-%02d", i)}},
			Status:     corev1.NodeStatus{Capacity: room, Allocatable: room},
		}
		if err := p.admin.Create(ctx, node); err != nil {
			return fmt.Errorf("create a node: %w", err)
		}
	}
	return poll(ctx, 200*time.Millisecond, startDeadline, "the nodes are ready", func(ctx context.Context) (bool, error) {
		var list corev1.NodeList
		if err := p.admin.List(ctx, &list); err != nil {
			return false, err
		}
		for i := range list.Items {
			if !usable(&list.Items[i]) {
				return false, nil
			}
		}
		return len(list.Items) == nodes, nil
	})
}

// calm waits until the API server has nothing left to do of what a new cluster
// gives it: new kinds have it compile their schemas for seconds, which would
// count against whoever comes first.
func (p *plane) calm(ctx context.Context) error {
	const window, share = time.Second, 0.1
	before := time.Duration(-1)
	return poll(ctx, window, startDeadline, "the API server comes to rest", func(context.Context) (bool, error) {
		used, err := serverUsage()
		if err != nil {
			return false, err
		}
		calm := before >= 0 && float64(used.cpu-before) < share*float64(window)
		before = used.cpu
		return calm, nil
	})
}

func usable(node *corev1.Node) bool {
	if len(node.Spec.Taints) > 0 {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// output is a file for a program's standard output and standard error.
func (p *plane) output(name string) (io.Writer, io.Writer, error) {
	file, err := os.Create(filepath.Join(p.dir, name+".log")) //nolint:gosec // In the run's own directory.
	if err != nil {
		return nil, nil, err
	}
	p.outputs = append(p.outputs, file)
	return file, file, nil
}

// stop ends the programs, the youngest first. Their logs stay.
func (p *plane) stop() error {
	var errs []error
	for _, started := range slices.Backward(p.processes) {
		errs = append(errs, started.stop())
	}
	if p.environment != nil {
		errs = append(errs, p.environment.Stop())
	}
	if p.audit != nil {
		errs = append(errs, p.audit.close())
	}
	for _, output := range p.outputs {
		errs = append(errs, output.Close())
	}
	return errors.Join(errs...)
}
