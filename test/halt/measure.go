package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

const (
	namespace = "bench"
	// user is who the benchmark is at the API server.
	user = "admin"
	// patience is how long a desk may take to trade, or to obey.
	patience = 10 * time.Minute
	// What a halt may take.
	lastOrderLimit    = time.Second
	acknowledgedLimit = 5 * time.Second
)

// worker is a process that runs agents.
type worker struct {
	command *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Scanner
}

func measure(ctx context.Context, opts options) (err error) {
	server, err := testbench.StartServer(false) //nolint:contextcheck // it is stopped below, whatever ends
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	server.Config.QPS = -1
	admin, err := client.NewWithWatch(server.Config, client.Options{Scheme: server.Client.Scheme()})
	if err != nil {
		return err
	}
	if err := furnish(ctx, admin, opts); err != nil {
		return fmt.Errorf("make the desk: %w", err)
	}
	workers, err := startWorkers(ctx, server.Config, opts)
	if err != nil {
		return err
	}
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.ask.Close(), w.command.Wait())
		}
	}()
	if err := awaitTrading(ctx, workers, opts); err != nil {
		return err
	}
	loading, unload := context.WithCancel(ctx)
	var load sync.WaitGroup
	defer load.Wait()
	defer unload()
	for range opts.readers {
		load.Go(func() { readAgain(loading, admin) })
	}
	load.Go(func() { applyAgain(loading, admin, opts) })
	return rounds(ctx, admin, workers, opts)
}

// furnish makes the agents, each named to be run by a process of its own, and what
// other clients read.
func furnish(ctx context.Context, admin client.Client, opts options) error {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	rights := &rbacv1.Role{ObjectMeta: meta("agents"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"tradingagents/status"}, Verbs: []string{"patch"}},
	}}
	binding := &rbacv1.RoleBinding{ObjectMeta: meta("agents"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "agents"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + namespace}}}
	for _, object := range []client.Object{rights, binding} {
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	for i := range opts.agents {
		agent := manifest(i)
		if err := admin.Create(ctx, agent); err != nil {
			return err
		}
		named := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"status":{"observedGeneration":1,"podName":"bench","podUID":%q}}`, podUID(i)))
		if err := admin.Status().Patch(ctx, agent, named); err != nil {
			return err
		}
	}
	for i := range opts.objects {
		object := &corev1.ConfigMap{ObjectMeta: meta(fmt.Sprintf("ballast-%05d", i)), Data: map[string]string{"content": fmt.Sprintf("%0512d", i)}}
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func manifest(index int) *v1alpha1.TradingAgent {
	return &v1alpha1.TradingAgent{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TradingAgent"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: agentName(index)},
		Spec: v1alpha1.TradingAgentSpec{
			Mode: v1alpha1.ModePaper, Trading: v1alpha1.TradingEnabled,
			AccountRef: v1alpha1.ObjectReference{Name: "paper"}, RiskPolicyRef: v1alpha1.ObjectReference{Name: "careful"},
			AssetPairs: []v1alpha1.AssetPairSelector{{Name: "EUR-USD"}},
			MarketData: v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceReplay, Replay: &v1alpha1.ReplaySpec{Dataset: "sample/eurusd-1h"}},
		},
	}
}

func startWorkers(ctx context.Context, config *rest.Config, opts options) ([]*worker, error) {
	directory, err := os.MkdirTemp("", "trading-halt-")
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = os.RemoveAll(directory) })
	kubeconfig := filepath.Join(directory, "kubeconfig")
	access := clientcmdapi.NewConfig()
	access.Clusters["bench"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	access.AuthInfos["bench"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	access.Contexts["bench"] = &clientcmdapi.Context{Cluster: "bench", AuthInfo: "bench"}
	access.CurrentContext = "bench"
	if err := clientcmd.WriteToFile(*access, kubeconfig); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	workers := make([]*worker, opts.processes)
	for i := range workers {
		from, to := opts.agents*i/opts.processes, opts.agents*(i+1)/opts.processes
		command := exec.CommandContext(ctx, self, "--worker="+namespace, "--access="+kubeconfig, "--from="+strconv.Itoa(from), "--to="+strconv.Itoa(to)) //nolint:gosec // this program itself
		command.Stderr = os.Stderr
		w := &worker{command: command}
		if w.ask, err = command.StdinPipe(); err != nil {
			return nil, err
		}
		output, err := command.StdoutPipe()
		if err != nil {
			return nil, err
		}
		w.answers = bufio.NewScanner(output)
		w.answers.Buffer(nil, 16<<20)
		if err := command.Start(); err != nil {
			return nil, err
		}
		workers[i] = w
	}
	return workers, nil
}

// placements asks every worker when its agents last sent an order.
func placements(workers []*worker) (placed, error) {
	var all placed
	for _, w := range workers {
		if _, err := io.WriteString(w.ask, "\n"); err != nil {
			return all, err
		}
	}
	for _, w := range workers {
		if !w.answers.Scan() {
			return all, errors.Join(errors.New("a worker has ended"), w.answers.Err())
		}
		var one placed
		if err := json.Unmarshal(w.answers.Bytes(), &one); err != nil {
			return all, err
		}
		all.Last, all.Count = append(all.Last, one.Last...), append(all.Count, one.Count...)
	}
	return all, nil
}

// awaitTrading waits until every agent has sent an order since now.
func awaitTrading(ctx context.Context, workers []*worker, opts options) error {
	since := time.Now().UnixNano()
	idle := opts.agents
	err := wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(context.Context) (bool, error) {
		now, err := placements(workers)
		idle = 0
		for _, last := range now.Last {
			if last < since {
				idle++
			}
		}
		return idle == 0, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d agents do not trade: %w", idle, opts.agents, err)
	}
	return nil
}

// readAgain lists everything from the store, as clients do that have lost their
// watches.
func readAgain(ctx context.Context, admin client.Client) {
	for ctx.Err() == nil {
		var ballast corev1.ConfigMapList
		_ = admin.List(ctx, &ballast, client.InNamespace(namespace)) // A load that is refused is a load.
	}
}

// applyAgain applies every agent's manifest, as a GitOps tool does.
func applyAgain(ctx context.Context, admin client.Client, opts options) {
	ticker := time.NewTicker(opts.gitops)
	defer ticker.Stop()
	for {
		for i := range opts.agents {
			//nolint:staticcheck // what such tools send: a whole object as a server-side apply
			_ = admin.Patch(ctx, manifest(i), client.Apply, client.FieldOwner("gitops"), client.ForceOwnership)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// rounds halts, counts, releases, and lets the agents trade again.
func rounds(ctx context.Context, admin client.WithWatch, workers []*worker, opts options) error {
	fmt.Printf("%d agents in %d processes, %d objects read by %d clients, manifests applied every %s\n", opts.agents, opts.processes, opts.objects, opts.readers, opts.gitops)
	fmt.Printf("%-8s %14s %14s %14s %14s\n", "halt", "last order p50", "last order p99", "last order max", "acknowledged")
	failed := false
	for round := range opts.halts {
		if err := awaitTrading(ctx, workers, opts); err != nil {
			return err
		}
		last, acknowledged, err := oneHalt(ctx, admin, workers, opts, round)
		if err != nil {
			return err
		}
		p99 := quantile(last, 99)
		fmt.Printf("%-8d %14s %14s %14s %14s\n", round+1, quantile(last, 50), p99, last[len(last)-1], acknowledged)
		failed = failed || p99 > lastOrderLimit || acknowledged > acknowledgedLimit
	}
	if failed {
		return fmt.Errorf("a halt took longer than it may: p99 to the last order %s, to the last acknowledgement %s", lastOrderLimit, acknowledgedLimit)
	}
	return nil
}

// oneHalt measures from before the request that creates the halt. Last are the times
// to each agent's last order, sorted; zero for one that had sent none since.
func oneHalt(ctx context.Context, admin client.WithWatch, workers []*worker, opts options, round int) ([]time.Duration, time.Duration, error) {
	halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("halt-%d", round)}, Spec: v1alpha1.TradingHaltSpec{
		State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}, Reason: "a benchmark", RequestedBy: user,
	}}
	var agents v1alpha1.TradingAgentList
	if err := admin.List(ctx, &agents, client.InNamespace(namespace)); err != nil {
		return nil, 0, err
	}
	watching, err := admin.Watch(ctx, &v1alpha1.TradingAgentList{}, client.InNamespace(namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: agents.ResourceVersion}})
	if err != nil {
		return nil, 0, err
	}
	defer watching.Stop()
	begun := time.Now()
	if err := admin.Create(ctx, halt); err != nil {
		return nil, 0, err
	}
	obeying := map[string]bool{}
	deadline := time.After(patience)
	for len(obeying) < opts.agents {
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-deadline:
			return nil, 0, fmt.Errorf("%d of %d agents have acknowledged after %s", len(obeying), opts.agents, patience)
		case event, open := <-watching.ResultChan():
			if !open {
				return nil, 0, errors.New("the watch has ended; run it again")
			}
			if agent, ok := event.Object.(*v1alpha1.TradingAgent); ok && acknowledges(agent, halt.UID) {
				obeying[agent.Name] = true
			}
		}
	}
	acknowledged := time.Since(begun)
	// The GitOps tool comes by at least once more before orders are looked for.
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-time.After(opts.gitops + time.Second):
	}
	sent, err := placements(workers)
	if err != nil {
		return nil, 0, err
	}
	last := make([]time.Duration, len(sent.Last))
	for i, at := range sent.Last {
		last[i] = max(time.Unix(0, at).Sub(begun), 0).Round(time.Millisecond)
	}
	slices.Sort(last)
	release := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"release":{"by":"`+user+`","reason":"measured"}}}`))
	return last, acknowledged.Round(time.Millisecond), admin.Patch(ctx, halt, release)
}

func acknowledges(agent *v1alpha1.TradingAgent, halt types.UID) bool {
	return agent.Status.Trading != nil && slices.ContainsFunc(agent.Status.Trading.Halts, func(told v1alpha1.HaltAcknowledgement) bool { return told.UID == string(halt) })
}

func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}
