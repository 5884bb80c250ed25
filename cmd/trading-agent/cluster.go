package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/server"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// Requests that an agent makes of its own accord are few; this is what they may
// burst to when it starts.
const (
	requestsPerSecond = 5
	requestsBurst     = 20
)

// runFromCluster serves one TradingAgent object until the context ends or the
// object is gone.
func runFromCluster(ctx context.Context, options runOptions, log logr.Logger) error {
	ctrllog.SetLogger(log)
	config, err := clientcmd.BuildConfigFromFlags("", options.kubeconfig)
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	config.QPS, config.Burst = requestsPerSecond, requestsBurst
	holder := os.Getenv("POD_UID")
	if holder == "" {
		return errors.New("the environment has no POD_UID; in a pod it comes from the downward API")
	}
	uri := uriFrom(options.ledgerURIFile)
	if _, err := uri(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	identity := identityOf(options)
	watcher, err := link.NewWatcher(ctx, config, identity)
	if err != nil {
		return err
	}
	revision, err := revisionFrom(os.Getenv(revisionVariable))
	if err != nil {
		return err
	}
	watcher.Pin(revision)
	writer, err := newStatusWriter(config)
	if err != nil {
		return err
	}
	log = log.WithValues("agent", identity.Namespace+"/"+identity.Name)
	running := newProcess(holder, library(options.data), log)
	if running.route, err = options.venue.read(); err != nil {
		return err
	}
	running.halter = &halter{client: writer, identity: identity}
	if running.front, err = newFront(&options.front, identity.Namespace, identity.Name, running, log); err != nil {
		return err
	}
	if err := running.front.serveInCluster(ctx, group, &options.front, config, identity); err != nil {
		return err
	}
	group.Go(func() error { return watcher.Run(ctx) })
	group.Go(func() error {
		if !watcher.WaitForSync(ctx) {
			return nil
		}
		return running.report(ctx, watcher, link.NewReporter(writer, overwriting{watcher, running.halts}, identity, options.reportInterval, log))
	})
	group.Go(func() error { return running.trade(ctx, watcher, uri) })
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// report writes what the process does, once it has taken up what a former process of
// the agent has told: that is what the first report overwrites.
func (p *process) report(ctx context.Context, watcher manifests, reporter *link.Reporter) error {
	desk, err := watcher.Desk(ctx)
	if err != nil {
		return err
	}
	p.halts.see(&desk)
	return reporter.Run(ctx, p.Status, p.changed)
}

// revisionVariable holds the fields of the spec that the operator has started this
// process for.
const revisionVariable = "AGENT_REVISION"

// revisionFrom reads a revision; nil if there is none. What this binary does not
// know it does not ignore.
func revisionFrom(text string) (*v1alpha1.AgentRevision, error) {
	if text == "" {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	revision := &v1alpha1.AgentRevision{}
	if err := decoder.Decode(revision); err != nil {
		return nil, fmt.Errorf("read %s: %w; use an image of the release that the spec was written for", revisionVariable, err)
	}
	return revision, nil
}

func newStatusWriter(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), authenticationv1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register the kinds: %w", err)
	}
	writer, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("prepare to write status: %w", err)
	}
	return writer, nil
}

// manifests are what a link.Watcher shows of the API server, and since when.
type manifests interface {
	deskWatcher
	Heard() time.Time
	Expect(within time.Duration)
}

// trade waits for the manifests and the ledger, then trades.
func (p *process) trade(ctx context.Context, watcher manifests, uri database.Source) error {
	desk, err := p.awaitDesk(ctx, watcher)
	if err != nil {
		return err
	}
	if err := p.awaitTurn(ctx, watcher); err != nil {
		return err
	}
	stop := p.obeyMeanwhile(ctx, watcher)
	book, err := p.openLedger(ctx, uri, desk.Agent.Generation, watcher)
	stop()
	if err != nil {
		return err
	}
	defer book.Close()
	return p.tradeBy(ctx, watcher, string(desk.Agent.UID), postgresBooks(book, uri))
}

// tradeBy trades by a ledger that is open, and follows what the manifests say.
func (p *process) tradeBy(ctx context.Context, watcher manifests, agentUID string, kept books) error {
	// A halt is latched whatever the trader still waits for.
	defer p.halts.keep(ctx, kept.halts, agentUID, p.log)()
	stop := p.obeyMeanwhile(ctx, watcher)
	defer stop()
	if err := p.recall(ctx, kept.halts, agentUID, watcher); err != nil {
		return err
	}
	// Waiting may have taken long; what counts is what is true when the trader starts.
	shell, desk, err := p.awaitStart(ctx, watcher, kept)
	if err != nil {
		return err
	}
	stop()
	p.obey(shell, &desk)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return shell.Run(ctx) })
	group.Go(func() error { return p.follow(ctx, watcher, shell, desk) })
	return group.Wait()
}

// deskWatcher follows an agent's manifests.
type deskWatcher interface {
	WaitForSync(ctx context.Context) bool
	Changes() <-chan struct{}
	Desk(ctx context.Context) (link.Desk, error)
}

// read is what the API server says now. What it says of the agent's API is in force
// at once, whatever the trader waits for.
func (p *process) read(ctx context.Context, watcher deskWatcher) (link.Desk, error) {
	desk, err := watcher.Desk(ctx)
	if err != nil {
		return desk, err
	}
	p.halts.see(&desk)
	if p.front != nil {
		p.front.server.SetRules(server.RulesOf(desk.Agent))
		p.learn(&desk)
	}
	return desk, nil
}

// recall takes up the halts that the ledger remembers. The agent does not begin to
// trade before that.
func (p *process) recall(ctx context.Context, book ledger.Halts, agentUID string, watcher manifests) error {
	pause := firstPause
	for {
		latched, err := book.Latched(ctx, agentUID)
		if err == nil {
			p.halts.restore(latched)
			return nil
		}
		p.wait(v1alpha1.ReasonLedgerUnavailable, err.Error(), p.waiting.Load().ObservedGeneration)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watcher.Changes():
			if _, err := p.read(ctx, watcher); err != nil {
				return err
			}
			p.signal()
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}

// awaitDesk waits until everything that the agent refers to exists. The operator
// starts no agent before that, so it rarely waits.
func (p *process) awaitDesk(ctx context.Context, watcher deskWatcher) (link.Desk, error) {
	if !watcher.WaitForSync(ctx) {
		return link.Desk{}, context.Cause(ctx)
	}
	for {
		desk, err := p.read(ctx, watcher)
		if err != nil {
			return link.Desk{}, err
		}
		// A policy may be missing: the agent then starts and only reduces.
		if desk.Account != nil && len(desk.Pairs) == len(desk.Agent.Spec.AssetPairs) {
			return desk, nil
		}
		p.wait(v1alpha1.ReasonReferenceNotReady, strings.Join(desk.Missing(), ", ")+" does not exist", desk.Agent.Generation)
		select {
		case <-ctx.Done():
			return link.Desk{}, ctx.Err()
		case <-watcher.Changes():
		}
	}
}

// awaitTurn waits until the operator names this pod as the agent's. A pod that
// somebody made by hand waits for ever, instead of taking the agent's epoch from
// the process that has it.
func (p *process) awaitTurn(ctx context.Context, watcher manifests) error {
	for {
		desk, err := p.read(ctx, watcher)
		if err != nil {
			return err
		}
		named := desk.Agent.Status.PodUID
		if named == p.holder {
			return nil
		}
		reason, message := v1alpha1.ReasonRecovering, "the operator has not named this pod as the agent's yet"
		if named != "" {
			reason, message = v1alpha1.ReasonDuplicatePod, fmt.Sprintf("the agent's pod is %s; this is another", desk.Agent.Status.PodName)
		}
		p.wait(reason, message, desk.Agent.Generation)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watcher.Changes():
		}
	}
}

// follow hands every change of the manifests to the trader and every change of
// the trader to the reporter, and sees to it that the API server answers.
func (p *process) follow(ctx context.Context, watcher manifests, shell *trader.Shell, desk link.Desk) error {
	look := time.NewTicker(controlPace)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-shell.Changed():
			p.signal()
		case <-look.C:
			if p.control(watcher, &desk) {
				p.obey(shell, &desk)
			}
		case <-watcher.Changes():
			var err error
			if desk, err = p.read(ctx, watcher); err != nil {
				return err
			}
			p.obey(shell, &desk)
		}
	}
}

// obey puts what the manifests say in force.
func (p *process) obey(shell *trader.Shell, desk *link.Desk) {
	shell.Update(p.settings(desk))
	if !desk.Agent.DeletionTimestamp.IsZero() {
		settings, _ := v1alpha1.Resolve(desk.Agent, desk.Policy)
		shell.Delete(settings.DeletionPolicy == v1alpha1.DeletionFlatten)
	}
}
