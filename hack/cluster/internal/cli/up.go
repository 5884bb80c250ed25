package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/apt"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/deploy"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/kube"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/parts"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/program"
)

// tradeTimeout is how long agents may take from the applied samples to their first decision.
const tradeTimeout = 3 * time.Minute

// options of up.
type options struct {
	cluster string
	// test trades etcd's durability for speed.
	test bool
	// only stops after Kubernetes and its add-ons, without operator and samples.
	only bool
	// tls adds Traefik, and as much of an internet as ACME needs.
	tls bool
}

// packages of the system that are needed.
func (o options) packages() []apt.Requirement {
	needed := slices.Concat(apt.Base, apt.Postgres)
	if o.tls {
		needed = append(needed, apt.Judges...)
	}
	return needed
}

// parts that are needed.
func (o options) parts() []parts.Part {
	if !o.tls {
		return parts.All
	}
	plain := slices.DeleteFunc(slices.Clone(parts.All), func(p parts.Part) bool { return p.Name == "cert-manager" })
	return append(plain, parts.TLS...)
}

// certManager is the part that cert-manager is taken from.
func (o options) certManager() string {
	if o.tls {
		return "cert-manager-acme"
	}
	return "cert-manager"
}

func (a *app) upCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start Kubernetes and the operator, and wait until agents trade",
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := a.logTo("up.log")
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			if o.tls && o.cluster != "local" {
				return errors.New("--tls works with --cluster local only: it needs addresses and names of its own")
			}
			switch o.cluster {
			case "local":
				err = a.upLocal(cmd.Context(), o)
			case "kind":
				err = a.upKind(cmd.Context())
			case "current":
				err = a.deployCurrent(cmd.Context(), "", "", true)
			default:
				err = fmt.Errorf("--cluster %q: use local, kind or current", o.cluster)
			}
			a.log.Printf("%s", a.log.Table())
			if err != nil {
				a.log.Filef("error: %v", err)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&o.cluster, "cluster", "local", "local, kind, or current for the cluster of the current kubeconfig")
	cmd.Flags().BoolVar(&o.test, "test", false, "let etcd lose its last writes when the machine crashes: faster, for tests")
	cmd.Flags().BoolVar(&o.tls, "tls", false, "add Traefik, an ACME authority and a DNS provider's API, for tests of the TLS chain")
	cmd.Flags().BoolVar(&o.only, "only-kubernetes", false, "stop when Kubernetes, cert-manager and PostgreSQL run")
	return cmd
}

// upLocal is the whole way from a bare machine to trading agents.
func (a *app) upLocal(ctx context.Context, o options) error {
	if err := needRoot(); err != nil {
		return err
	}
	unlock, err := exclusive(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if missing := apt.Missing(o.packages()); len(missing) > 0 {
		if err := a.log.Run("install system packages", func(func(string)) error { return apt.Install(ctx, missing) }); err != nil {
			return err
		}
	}
	wanted := o.parts()
	missing, err := a.store.Missing(wanted)
	if err != nil {
		return err
	}
	if len(missing) > 0 && !o.only {
		if err := a.preview(ctx); err != nil {
			return err
		}
	}
	dirs, err := a.buildParts(ctx, wanted)
	if err != nil {
		return err
	}
	c := newLocalCluster(a, dirs, o)
	if err := c.run(ctx); err != nil {
		return err
	}
	a.farewell(a.kubectl(), "make down")
	return nil
}

// preview shows a backtest of the sample desk while there is nothing else to see yet.
func (a *app) preview(ctx context.Context) error {
	if !a.has("cmd/trading-agent") || !a.has("config/samples") {
		return nil
	}
	var agent string
	if err := a.log.Run("build the trading agent", func(func(string)) (err error) {
		agent, err = a.compile(ctx, "trading-agent", a.root, "./cmd/trading-agent")
		return err
	}); err != nil {
		return err
	}
	a.log.Printf("\n$ trading-agent backtest -f config/samples/")
	cmd := program.Command(ctx, agent, "backtest", "-f", filepath.Join(a.root, "config", "samples"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = a.root, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("backtest of config/samples: %w", err)
	}
	a.log.Printf("\nThis was the sample desk on recorded prices. Now the cluster it will trade on:\n")
	return nil
}

func (a *app) has(path string) bool {
	matches, err := filepath.Glob(filepath.Join(a.root, path, "*"))
	return err == nil && len(matches) > 0
}

// operator installs the operator and its samples and watches until agents trade.
func (a *app) operator(ctx context.Context, k kube.Kubectl, manager, agent string) error {
	if err := a.install(ctx, k, manager, agent); err != nil {
		return err
	}
	o := a.operatorOf(manager, agent)
	if err := a.log.Run("apply config/samples", func(func(string)) error { return o.Samples(ctx, k) }); err != nil {
		return err
	}
	return a.log.Run("agents trade", func(func(string)) error {
		return o.Watch(ctx, k, tradeTimeout, a.log.Show)
	})
}

// install installs the operator alone.
func (a *app) install(ctx context.Context, k kube.Kubectl, manager, agent string) error {
	o := a.operatorOf(manager, agent)
	return a.log.Run("install the operator", func(func(string)) error { return o.Install(ctx, k) })
}

func (a *app) operatorOf(manager, agent string) deploy.Operator {
	return deploy.Operator{Root: a.root, Overlay: a.local("overlay"), Manager: manager, Agent: agent, Roots: a.publicRoots}
}

// farewell says how to look further and how to stop.
func (a *app) farewell(k kube.Kubectl, stop string) {
	config := ""
	if k.Kubeconfig != "" {
		config = "  export KUBECONFIG=" + k.Kubeconfig + " PATH=" + filepath.Dir(k.Kubeconfig) + ":$PATH\n"
	}
	a.log.Printf("\nLook further:\n%s"+
		"  kubectl get ta -A -w                          what every agent does, as it happens\n"+
		"  kubectl describe ta -n desk                   conditions and events\n"+
		"  kubectl logs -n desk -l app.kubernetes.io/managed-by=trading-operator -f --prefix\n"+
		"  kubectl logs -n trading-system deploy/trading-operator -f\n"+
		"  kubectl get pods -n desk -o wide              then: curl http://<pod IP>:8080/metrics\n"+
		"Stop and remove everything:\n  %s\n", config, stop)
}

func (a *app) deployCommand() *cobra.Command {
	var manager, agent string
	var samples bool
	cmd := &cobra.Command{
		Use:   "deploy",
		Short: "Install the operator into the cluster of the current kubeconfig",
		Long: "Install the operator into the cluster of the current kubeconfig.\n" +
			"Where that is the local cluster, both images are built and loaded; elsewhere name images that its nodes can pull.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.deployCurrent(cmd.Context(), manager, agent, samples)
		},
	}
	cmd.Flags().StringVar(&manager, "manager-image", "", "the manager's image with its tag")
	cmd.Flags().StringVar(&agent, "agent-image", "", "the trading agent's image with its tag")
	cmd.Flags().BoolVar(&samples, "samples", false, "apply config/samples too and wait until agents trade")
	return cmd
}

func (a *app) deployCurrent(ctx context.Context, manager, agent string, samples bool) error {
	k, err := a.currentKubectl(ctx)
	if err != nil {
		return err
	}
	if manager == "" && agent == "" && a.isLocal(ctx, k) {
		if manager, agent, err = a.loadOwnImages(ctx); err != nil {
			return err
		}
	}
	if manager == "" || agent == "" {
		return errors.New("name images that the nodes of this cluster can pull: --manager-image name:tag and --agent-image name:tag")
	}
	if !samples {
		return a.install(ctx, k, manager, agent)
	}
	return a.operator(ctx, k, manager, agent)
}

// currentKubectl is the kubectl of the machine or of the cache, with the user's kubeconfig.
func (a *app) currentKubectl(ctx context.Context) (kube.Kubectl, error) {
	if bin, err := exec.LookPath("kubectl"); err == nil {
		return kube.Kubectl{Bin: bin}, nil
	}
	p, err := parts.Find("kubernetes")
	if err != nil {
		return kube.Kubectl{}, err
	}
	dirs, err := a.buildParts(ctx, []parts.Part{p})
	return kube.Kubectl{Bin: filepath.Join(dirs[p.Name], "kubectl")}, err
}

// isLocal reports whether k talks to the cluster of this machine.
func (a *app) isLocal(ctx context.Context, k kube.Kubectl) bool {
	const server = "jsonpath={.clusters[0].cluster.server}"
	current, err := k.Output(ctx, "config", "view", "--minify", "-o", server)
	if err != nil {
		return false
	}
	ours, err := a.kubectl().Output(ctx, "config", "view", "--minify", "-o", server)
	return err == nil && strings.TrimSpace(ours) == strings.TrimSpace(current)
}
