package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// quiet is how long the operator must have written nothing to count as settled.
const quiet = 5 * time.Second

// bench is one run with one number of agents.
type bench struct {
	shape      shape
	programs   programs
	manager    string
	repository string
	logs       string
	idle       time.Duration
	edits      int
	profiling  bool
	// concurrency of the operator's controllers; its own default if zero.
	concurrency int
	// lease is how long the operator's lead lasts; its own default if zero.
	lease    time.Duration
	database *postgres.Server
	out      io.Writer
	errs     []error
}

func (b *bench) dir(phase string) string {
	return filepath.Join(b.logs, fmt.Sprintf("%d-%s", b.shape.agents, phase))
}

// patience is how long a phase may take. It bounds a run that hangs, and is no
// target.
func (b *bench) patience() time.Duration {
	return 3*time.Minute + time.Duration(b.shape.agents)*200*time.Millisecond
}

func (b *bench) say(format string, values ...any) {
	_, _ = fmt.Fprintf(b.out, "%s  %d agents: %s\n", time.Now().Format(time.TimeOnly), b.shape.agents, fmt.Sprintf(format, values...))
}

// end stops a cluster; what goes wrong then is told at the end of the run.
func (b *bench) end(p *plane) { b.errs = append(b.errs, p.stop()) }

// run does every phase. Each begins with an empty cluster, so that none finds
// what another has left.
func (b *bench) run(ctx context.Context) (*result, error) {
	r := &result{Agents: b.shape.agents}
	b.say("StatefulSets of one pod by Kubernetes' own controller")
	sets, err := b.measureSets(ctx)
	if err != nil {
		return nil, fmt.Errorf("StatefulSets: %w", err)
	}
	b.say("all sets are ready after %.1f s", sets.took.Seconds())
	r.Sets, r.SetWrites, r.SetServerCPU = sets.took.Seconds(), sets.writes, sets.serverCPU
	b.say("the operator")
	recorded, err := b.measureOperator(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	b.say("a bare client that does the same writes")
	if err := b.measureBare(ctx, r, recorded); err != nil {
		return nil, fmt.Errorf("bare client: %w", err)
	}
	return r, errors.Join(b.errs...)
}

// whileLeading ends the context when the operator ends by itself: it has lost its
// lead, or met what it cannot live with. In a cluster it would be started again;
// here it would be a figure that says nothing.
func (d *desk) whileLeading(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-d.leader.ended:
			if !d.leader.killed.Load() {
				cancel(fmt.Errorf("%s has ended by itself (%w); see its log in %s", d.leader.name, d.leader.err, d.plane.dir))
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// recording is what the bare client does again.
type recording struct {
	chains map[string][]request
	uids   map[string]types.UID
}

// desk is the cluster of the operator's phase.
type desk struct {
	*plane
	*bench
	crowd           *crowd
	leader, standby *operator
}

// measureOperator runs the operator through everything that is measured.
func (b *bench) measureOperator(ctx context.Context, r *result) (*recording, error) {
	d, err := b.openDesk(ctx, "operator")
	if err != nil {
		return nil, err
	}
	defer b.end(d.plane)
	defer d.crowd.stop()
	if d.leader, err = d.startOperator(b, "manager-1"); err != nil {
		return nil, err
	}
	ctx, stop := d.whileLeading(ctx)
	defer stop()
	if err := d.leader.awaitLead(ctx); err != nil {
		return nil, err
	}
	if err := d.furnished(ctx); err != nil {
		return nil, err
	}
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	if err := d.warm(ctx); err != nil {
		return nil, err
	}
	recorded, err := d.apply(ctx, r)
	if err != nil {
		return nil, err
	}
	// The standby comes now, so that it does not compete while the desk comes up.
	if d.standby, err = d.startOperator(b, "manager-2"); err != nil {
		return nil, err
	}
	for _, phase := range []func(context.Context, *result) error{d.rest, d.edit, d.editPolicies, d.failover} {
		if err := d.settle(ctx); err != nil {
			return nil, err
		}
		if err := phase(ctx, r); err != nil {
			return nil, err
		}
	}
	return recorded, nil
}

// openDesk starts a cluster with everything that agents refer to, and the crowd.
func (b *bench) openDesk(ctx context.Context, phase string) (*desk, error) {
	p, err := startPlane(ctx, b.programs, b.dir(phase), b.shape.agents)
	if err != nil {
		return nil, err
	}
	uri, err := newDatabase(ctx, b.database, fmt.Sprintf("%s_%d", phase, b.shape.agents))
	if err == nil {
		err = p.install(ctx, b.repository, b.shape, uri)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	c, err := startCrowd(ctx, p)
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return &desk{plane: p, bench: b, crowd: c}, nil
}

// furnished waits until everything that agents refer to is Ready.
func (d *desk) furnished(ctx context.Context) error {
	lists := []client.ObjectList{&v1alpha1.LedgerList{}, &v1alpha1.TradingAccountList{}, &v1alpha1.RiskPolicyList{}, &v1alpha1.AssetPairList{}}
	return poll(ctx, 200*time.Millisecond, d.patience(), "what the agents refer to is Ready", func(ctx context.Context) (bool, error) {
		for _, list := range lists {
			if err := d.admin.List(ctx, list); err != nil {
				return false, err
			}
			objects, err := meta.ExtractList(list)
			if err != nil {
				return false, err
			}
			for _, object := range objects {
				named := object.(client.Object)
				ready := reconcile.StatusOf(named).Get(v1alpha1.ConditionReady)
				if ready == nil || ready.Status != metav1.ConditionTrue {
					return false, fmt.Errorf("%T %s is not Ready: %+v", named, named.GetName(), ready)
				}
			}
		}
		return true, nil
	})
}

// warm has the API server compile what its first server-side apply of a kind
// needs, and waits until it is at rest.
func (d *desk) warm(ctx context.Context) error {
	for _, kind := range []schema.GroupVersionKind{
		corev1.SchemeGroupVersion.WithKind("ServiceAccount"), rbacv1.SchemeGroupVersion.WithKind("Role"),
	} {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(kind)
		object.SetNamespace(deskName(0))
		object.SetName("warm")
		err := d.admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("warm"), client.DryRunAll)
		if err != nil {
			return fmt.Errorf("apply a %s for practice: %w", kind.Kind, err)
		}
	}
	if err := d.admin.Create(ctx, agent(d.shape, 0), client.DryRunAll); err != nil {
		return fmt.Errorf("create an agent for practice: %w", err)
	}
	return d.calm(ctx)
}

// requests are the operator's since a time.
func (d *desk) requests(from time.Time) ([]request, error) {
	all, err := d.audit.read()
	return since(all, operatorUser, from, time.Now()), err
}

// settle waits until the operator has written nothing for a while.
func (d *desk) settle(ctx context.Context) error {
	return poll(ctx, 500*time.Millisecond, d.patience(), "the operator comes to rest", func(context.Context) (bool, error) {
		requests, err := d.requests(time.Now().Add(-quiet))
		return err == nil && count(requests).writes == 0, err
	})
}

// snapshot is what the operator and the API server have used so far.
type snapshot struct {
	heap, live  float64
	passes      float64
	own, server usage
}

func (d *desk) snapshot(ctx context.Context) (snapshot, error) {
	var s snapshot
	var err error
	if s.heap, s.live, err = d.leader.heap(ctx); err != nil {
		return s, err
	}
	found, err := d.leader.scrape(ctx)
	if err != nil {
		return s, err
	}
	s.passes = found.passes()
	if s.own, err = usageOf(d.leader.cmd.Process.Pid); err != nil {
		return s, err
	}
	s.server, err = serverUsage()
	return s, err
}

// apply creates the agents and waits until all are observed.
func (d *desk) apply(ctx context.Context, r *result) (*recording, error) {
	before, err := d.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	all, err := d.crowd.awaitAgents(ctx, "every agent is observed", "", d.shape.agents, observed)
	if err != nil {
		return nil, err
	}
	if d.profiling {
		go d.saveProfile(ctx, "profile?seconds=30", "cpu.pprof")
		go d.saveServerProfile(ctx)
	}
	start := time.Now()
	uids, err := d.createAgents(ctx)
	if err != nil {
		return nil, err
	}
	created := time.Now()
	end, err := all.wait(ctx, d.patience())
	if err != nil {
		return nil, err
	}
	serving, err := serverUsage()
	if err != nil {
		return nil, err
	}
	r.Apply, r.Create = end.Sub(start).Seconds(), created.Sub(start).Seconds()
	r.ServerCPUPerAgent = perAgent(serving.cpu-before.server.cpu, d.shape.agents)
	d.say("all observed after %.1f s", r.Apply)
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	requests, err := d.requests(start)
	if err != nil {
		return nil, err
	}
	after, err := d.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if d.profiling {
		d.saveProfile(ctx, "heap", "heap.pprof")
	}
	r.record(count(requests), after.passes-before.passes)
	agents := float64(d.shape.agents)
	r.HeapPerAgent, r.LivePerAgent = (after.heap-before.heap)/agents, (after.live-before.live)/agents
	r.CPUPerAgent = perAgent(after.own.cpu-before.own.cpu, d.shape.agents)
	r.RSS, r.PeakRSS = after.own.rss, after.own.peak
	return &recording{chains: chains(requests), uids: uids}, nil
}

// perAgent is a time in milliseconds for each agent.
func perAgent(d time.Duration, agents int) float64 {
	return d.Seconds() * 1000 / float64(agents)
}

func (d *desk) saveProfile(ctx context.Context, name, file string) {
	if err := save(ctx, http.DefaultClient, d.leader.pprof+"/debug/pprof/"+name, filepath.Join(d.logs, fmt.Sprintf("%d-%s", d.shape.agents, file))); err != nil {
		d.say("no profile: %v", err)
	}
}

// saveServerProfile keeps where the API server spends its time.
func (d *desk) saveServerProfile(ctx context.Context) {
	httpClient, err := rest.HTTPClientFor(d.config)
	if err == nil {
		err = save(ctx, httpClient, strings.TrimSuffix(d.config.Host, "/")+"/debug/pprof/profile?seconds=30", filepath.Join(d.logs, fmt.Sprintf("%d-server-cpu.pprof", d.shape.agents)))
	}
	if err != nil {
		d.say("no profile of the API server: %v", err)
	}
}

// createAgents creates all agents and returns their UIDs by name.
func (d *desk) createAgents(ctx context.Context) (map[string]types.UID, error) {
	created := make([]*v1alpha1.TradingAgent, d.shape.agents)
	err := each(ctx, d.shape.agents, func(ctx context.Context, i int) error {
		created[i] = agent(d.shape, i)
		return d.admin.Create(ctx, created[i])
	})
	if err != nil {
		return nil, fmt.Errorf("create an agent: %w", err)
	}
	uids := make(map[string]types.UID, len(created))
	for _, object := range created {
		uids[object.Name] = object.UID
	}
	return uids, nil
}

// rest counts what the operator writes while nothing happens but that the
// agents report their figures.
func (d *desk) rest(ctx context.Context, r *result) error {
	start := time.Now()
	timer := time.NewTimer(d.idle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	requests, err := d.requests(start)
	if err != nil {
		return err
	}
	idle := count(requests)
	r.IdleWrites = float64(idle.writes+idle.refused) / d.idle.Minutes()
	d.say("idle: %.1f writes a minute %v", r.IdleWrites, idle.byKind)
	return nil
}

// measureBare does again what the operator wrote, by a client that needs not
// think, while nodes and agents do their part as before.
func (b *bench) measureBare(ctx context.Context, r *result, recorded *recording) error {
	d, err := b.openDesk(ctx, "bare")
	if err != nil {
		return err
	}
	defer b.end(d.plane)
	defer d.crowd.stop()
	bare, err := newBareClient(d.plane)
	if err != nil {
		return err
	}
	if err := d.warm(ctx); err != nil {
		return err
	}
	all, err := d.crowd.awaitAgents(ctx, "every agent has reported", "", b.shape.agents, reported)
	if err != nil {
		return err
	}
	served, err := serverUsage()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := bare.run(ctx, b.shape, recorded.chains, recorded.uids); err != nil {
		return err
	}
	written := time.Now()
	end, err := all.wait(ctx, b.patience())
	if err != nil {
		return err
	}
	if written.After(end) {
		end = written
	}
	r.BareWrites, r.Bare = written.Sub(start).Seconds(), end.Sub(start).Seconds()
	serving, err := serverUsage()
	r.BareServerCPUPerAgent = perAgent(serving.cpu-served.cpu, b.shape.agents)
	return err
}

// kinds are the kinds of writes, the most frequent first.
func kinds(byKind map[string]int) []string {
	return slices.SortedFunc(maps.Keys(byKind), func(a, b string) int { return byKind[b] - byKind[a] })
}
