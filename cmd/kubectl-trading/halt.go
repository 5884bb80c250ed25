package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/link"
)

const (
	// haltPoll is how often the counts of a halt are read while they are waited for.
	haltPoll = 200 * time.Millisecond
	// defaultWait is how long the acknowledgements are waited for.
	defaultWait = time.Minute
	// drillReason stands in a drill's release.
	drillReason = "the drill is over"
)

// halting is one wish to halt.
type halting struct {
	desk   deskClient
	output io.Writer
	spec   v1alpha1.TradingHaltSpec
	name   string
	// everywhere makes it a ClusterTradingHalt.
	everywhere bool
	wait       time.Duration
}

// deskClient speaks to the API server in one namespace, as one user.
type deskClient struct {
	client    client.Client
	namespace string
	user      string
}

func openDesk(ctx context.Context, kubeconfig clientcmd.ClientConfig) (deskClient, error) {
	config, err := kubeconfig.ClientConfig()
	if err != nil {
		return deskClient{}, fmt.Errorf("find the API server: %w", err)
	}
	namespace, _, err := kubeconfig.Namespace()
	if err != nil {
		return deskClient{}, fmt.Errorf("find the namespace: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), authenticationv1.AddToScheme(scheme)); err != nil {
		return deskClient{}, fmt.Errorf("register the kinds: %w", err)
	}
	made, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return deskClient{}, fmt.Errorf("prepare to ask the API server: %w", err)
	}
	user, err := link.WhoAmI(ctx, made)
	return deskClient{made, namespace, user}, err
}

// scopeFlags are the flags that say what is halted, each with its type of scope.
var scopeFlags = []struct {
	name  string
	scope v1alpha1.HaltScopeType
	usage string
}{
	{"agent", v1alpha1.HaltAgent, "halt the agent of this name"},
	{"policy", v1alpha1.HaltRiskPolicy, "halt every agent of this RiskPolicy"},
	{"account", v1alpha1.HaltTradingAccount, "halt every agent on this TradingAccount"},
	{"venue", v1alpha1.HaltVenue, "halt every agent at this venue, such as Coinbase"},
	{"pair", v1alpha1.HaltAssetPair, "halt this pair, such as BTC-USD; agents go on with their others"},
	{"model", v1alpha1.HaltModel, "halt every agent in whose debate this model speaks, such as builtin/trend"},
}

func newHaltCommand(kubeconfig clientcmd.ClientConfig) *cobra.Command {
	h := &halting{}
	var all, drill, another bool
	var selector, state, task string
	var deadline time.Duration
	named := make([]string, len(scopeFlags))
	command := &cobra.Command{
		Use:   "halt [NAME]",
		Short: "Halt agents until somebody releases them",
		Long: `Halt agents, and wait until each of them has said that it has obeyed. The halt is
latched: nothing ends it but kubectl trading release. Without a NAME it gets one of
its time.

With --drill it is an exercise on agents of mode Paper, which is released when all
of them have obeyed.`,
		Example: `  kubectl trading halt --all -n desk --reason 'prices are wrong'
  kubectl trading halt --venue Coinbase --cluster --task Flatten --reason 'the venue misbehaves'
  kubectl trading halt --agent eur-trend -n desk --state ReduceOnly --reason 'it trades too much'
  kubectl trading halt --drill --all -n desk --reason 'monthly drill'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			scope, err := scopeOf(all, selector, named)
			if err != nil {
				return err
			}
			if h.desk, err = openDesk(command.Context(), kubeconfig); err != nil {
				return err
			}
			h.spec.Scope, h.spec.RequestedBy = scope, h.desk.user
			h.spec.State, h.spec.Task = v1alpha1.HaltState(state), v1alpha1.HaltTask(task)
			h.spec.DeadlineSeconds = int32(deadline / time.Second) //nolint:gosec // the schema bounds it
			if another {
				h.spec.ReleaseBy = v1alpha1.ReleaseByAnother
			}
			h.name = "halt-" + time.Now().UTC().Format("20060102-150405")
			if drill {
				h.spec.Drill, h.name = v1alpha1.DrillPaper, "drill"+strings.TrimPrefix(h.name, "halt")
			}
			if len(args) > 0 {
				h.name = args[0]
			}
			h.output = command.OutOrStdout()
			return h.run(command.Context())
		},
	}
	flags := command.Flags()
	flags.BoolVar(&all, "all", false, "halt every agent of the namespace, or with --cluster of all")
	flags.StringVar(&selector, "selector", "", "halt agents with these labels, such as team=eur,tier=1")
	for i, flag := range scopeFlags {
		flags.StringVar(&named[i], flag.name, "", flag.usage)
	}
	flags.BoolVar(&h.everywhere, "cluster", false, "halt in every namespace, by a ClusterTradingHalt")
	flags.StringVar(&state, "state", string(v1alpha1.HaltHalted), "Halted, or ReduceOnly")
	flags.StringVar(&task, "task", string(v1alpha1.HaltCancelOrders), "what becomes of open orders and positions: Keep, CancelOrders or Flatten")
	flags.StringVar(&h.spec.Reason, "reason", "", "why, for those who find the desk halted")
	flags.DurationVar(&deadline, "deadline", 0, "how long an agent may take to acknowledge before it is fenced; 10s if not set")
	flags.BoolVar(&another, "release-by-another", false, "let nobody release it who is the one to request it")
	flags.BoolVar(&drill, "drill", false, "make it an exercise on agents of mode Paper, and release it when all have obeyed")
	flags.DurationVar(&h.wait, "wait", defaultWait, "how long to wait until all have obeyed; 0 does not wait")
	utilruntime.Must(command.MarkFlagRequired("reason"))
	return command
}

// scopeOf is the one scope that the flags name.
func scopeOf(all bool, selector string, named []string) (v1alpha1.HaltScope, error) {
	var scopes []v1alpha1.HaltScope
	if all {
		scopes = append(scopes, v1alpha1.HaltScope{Type: v1alpha1.HaltEverything})
	}
	if selector != "" {
		scopes = append(scopes, v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: selector})
	}
	for i, name := range named {
		if name != "" {
			scopes = append(scopes, v1alpha1.HaltScope{Type: scopeFlags[i].scope, Name: name})
		}
	}
	if len(scopes) != 1 {
		return v1alpha1.HaltScope{}, errors.New("say what is halted by exactly one of --all, --agent, --selector, --policy, --account, --venue, --pair and --model")
	}
	return scopes[0], nil
}

// object is the halt that is wished for.
func (h *halting) object() v1alpha1.Halt {
	if h.everywhere {
		return &v1alpha1.ClusterTradingHalt{ObjectMeta: metav1.ObjectMeta{Name: h.name}, Spec: h.spec}
	}
	return &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: h.desk.namespace, Name: h.name}, Spec: h.spec}
}

func (h *halting) run(ctx context.Context) error {
	halt := h.object()
	begun := time.Now()
	if err := h.desk.client.Create(ctx, halt); err != nil {
		return fmt.Errorf("create the halt: %w", err)
	}
	if _, err := fmt.Fprintf(h.output, "%s created: %s, %s, %s\n", halt.Reference(), h.spec.State, h.spec.EffectiveTask(), h.spec.Scope.String()); err != nil {
		return err
	}
	stopped := true
	if h.wait > 0 {
		if err := h.await(ctx, halt, begun); err != nil {
			return err
		}
		matched := halt.HaltStatus().Matched
		stopped = matched == nil || *matched > 0
	}
	if h.spec.Drill == "" || h.wait <= 0 {
		if _, err := fmt.Fprintf(h.output, "release it with: kubectl trading release %s %s --reason …\n", h.name, h.where()); err != nil {
			return err
		}
	} else if err := release(ctx, h.desk, h.output, halt, drillReason, h.wait); err != nil {
		return err
	}
	if !stopped {
		return fmt.Errorf("%s binds no agent, so nothing was stopped; look for your agents with kubectl get tradingagents -A, and halt them with -n NAMESPACE or --cluster", halt.Reference())
	}
	return nil
}

// where is the flag that finds the halt again.
func (h *halting) where() string {
	if h.everywhere {
		return "--cluster"
	}
	return "-n " + h.desk.namespace
}

// await waits until the halt is enforced, and tells how far it has come.
func (h *halting) await(ctx context.Context, halt v1alpha1.Halt, begun time.Time) error {
	told := ""
	err := wait.PollUntilContextTimeout(ctx, haltPoll, h.wait, true, func(ctx context.Context) (bool, error) {
		if err := h.desk.client.Get(ctx, client.ObjectKeyFromObject(halt), halt); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		if line := progress(halt); line != told {
			told = line
			if _, err := fmt.Fprintf(h.output, "%6.1f s  %s\n", time.Since(begun).Seconds(), line); err != nil {
				return false, err
			}
		}
		enforced := reconcile.StatusOf(halt).Get(v1alpha1.ConditionEnforced)
		return enforced != nil && enforced.Status == metav1.ConditionTrue, nil
	})
	if !wait.Interrupted(err) {
		return err
	}
	return fmt.Errorf("%s is in force, but after %s not every agent is done: %s", halt.Reference(), h.wait, h.missing(ctx, halt))
}

// progress is how far the operator has seen a halt come.
func progress(halt v1alpha1.Halt) string {
	status := halt.HaltStatus()
	if status.Matched == nil || status.Done == nil || status.Acknowledged == nil || status.Overdue == nil || status.Absent == nil {
		return "the operator has not counted yet"
	}
	line := fmt.Sprintf("%d matched, %d acknowledged, %d done, %d overdue", *status.Matched, *status.Acknowledged, *status.Done, *status.Overdue)
	if *status.Absent > 0 {
		line += fmt.Sprintf(", %d without a process", *status.Absent)
	}
	return line
}

// missing names those that have not obeyed: the operator's word, and where there is
// none the agents' own.
func (h *halting) missing(ctx context.Context, halt v1alpha1.Halt) string {
	status := halt.HaltStatus()
	if status.Matched != nil {
		names := make([]string, 0, len(status.OverdueAgents))
		for _, agent := range status.OverdueAgents {
			names = append(names, agent.Namespace+"/"+agent.Name)
		}
		line := progress(halt)
		if len(names) > 0 {
			line += "; overdue are " + strings.Join(names, ", ")
		}
		return line
	}
	var agents v1alpha1.TradingAgentList
	if err := h.desk.client.List(ctx, &agents, client.InNamespace(halt.GetNamespace())); err != nil {
		return "the operator has not counted, and the agents cannot be read: " + err.Error()
	}
	obeying := 0
	for i := range agents.Items {
		if trading := agents.Items[i].Status.Trading; trading != nil {
			for _, told := range trading.Halts {
				if told.UID == string(halt.GetUID()) {
					obeying++
				}
			}
		}
	}
	return fmt.Sprintf("the operator has not counted; %d of %d agents say themselves that they have acknowledged", obeying, len(agents.Items))
}

func newReleaseCommand(kubeconfig clientcmd.ClientConfig) *cobra.Command {
	var everywhere bool
	var reason string
	var patience time.Duration
	command := &cobra.Command{
		Use:   "release NAME",
		Short: "Release a halt, and let agents trade again",
		Long: `Release a halt. Its agents trade again, unless something else halts them. Who releases
it, and why, stays in its history; a release is final.`,
		Example: `  kubectl trading release halt-20261123-174502 -n desk --reason 'prices are right again'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			desk, err := openDesk(command.Context(), kubeconfig)
			if err != nil {
				return err
			}
			h := &halting{desk: desk, name: args[0], everywhere: everywhere}
			return release(command.Context(), desk, command.OutOrStdout(), h.object(), reason, patience)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&everywhere, "cluster", false, "release a ClusterTradingHalt")
	flags.StringVar(&reason, "reason", "", "why trading may go on")
	flags.DurationVar(&patience, "wait", defaultWait, "how long to wait until the ledgers know of it; 0 does not wait")
	utilruntime.Must(command.MarkFlagRequired("reason"))
	return command
}

// release writes a halt's release, and waits until the operator has recorded it.
func release(ctx context.Context, desk deskClient, output io.Writer, halt v1alpha1.Halt, reason string, patience time.Duration) error {
	if err := desk.client.Get(ctx, client.ObjectKeyFromObject(halt), halt); err != nil {
		return fmt.Errorf("find the halt: %w", err)
	}
	if given := halt.HaltSpec().Release; given != nil {
		return fmt.Errorf("%s was released by %s already: %s", halt.Reference(), given.By, given.Reason)
	}
	before := halt.DeepCopyObject().(v1alpha1.Halt)
	halt.HaltSpec().Release = &v1alpha1.HaltRelease{By: desk.user, Reason: reason}
	if err := desk.client.Patch(ctx, halt, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("release the halt: %w", err)
	}
	if _, err := fmt.Fprintf(output, "%s released by %s\n", halt.Reference(), desk.user); err != nil {
		return err
	}
	if patience <= 0 {
		return nil
	}
	err := wait.PollUntilContextTimeout(ctx, haltPoll, patience, true, func(ctx context.Context) (bool, error) {
		if err := desk.client.Get(ctx, client.ObjectKeyFromObject(halt), halt); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		ready := reconcile.StatusOf(halt).Get(v1alpha1.ConditionReady)
		return ready != nil && ready.Reason == v1alpha1.ReasonHaltReleased, nil
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("%s is released, and agents that run know it, but after %s the operator has not recorded it in every ledger: an agent that starts now may still come up halted; look at kubectl describe", halt.Reference(), patience)
	}
	return err
}
