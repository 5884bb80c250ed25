package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// controlPace is how often the agent looks whether the API server still answers.
const controlPace = time.Second

// halts are what stops the agent from outside: halts of the API server, which the
// ledger remembers, and the loss of the API server itself.
type halts struct {
	latch link.Latch
	// lost says that the API server has not answered for too long.
	lost atomic.Bool
	news chan struct{}

	mu sync.Mutex
	// bound are the halts in force, and since when this process has known them.
	bound []trader.Halt
	since map[string]time.Time
	// recorded are those that the ledger has.
	recorded map[string]bool
	// gone are those that bind although their objects do not exist any more.
	gone map[string]bool
	// freed says that one of these was released.
	freed bool
	// swept is what became of open orders while there is no trader.
	swept string
}

func newHalts() *halts {
	return &halts{news: make(chan struct{}, 1), since: map[string]time.Time{}, recorded: map[string]bool{}}
}

// see takes up what the manifests say now. No order leaves any more that a halt
// forbids once a trader has these settings, or while there is no trader.
func (h *halts) see(desk *link.Desk) []trader.Halt {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.latch.See(desk)
	bound := make([]trader.Halt, len(seen))
	h.gone, h.freed = map[string]bool{}, false
	for i := range seen {
		if !slices.ContainsFunc(desk.Halts, func(halt v1alpha1.Halt) bool { return halt.GetUID() == seen[i].UID }) {
			h.gone[string(seen[i].UID)] = true
		}
		bound[i] = trader.NewHalt(string(seen[i].UID), seen[i].Name, &seen[i].Spec, seen[i].Pairs)
		if h.since[bound[i].UID].IsZero() {
			h.since[bound[i].UID] = time.Now()
		}
	}
	h.bound = bound
	select {
	case h.news <- struct{}{}:
	default:
	}
	return bound
}

// waiting is what a process without a trader tells of the halts in force: nothing
// leaves, and nothing is known to be done before the ledger has said what is open.
func (h *halts) waiting(status *v1alpha1.TradingStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := make([]trader.Obeyed, len(h.bound))
	for i := range h.bound {
		halt := h.bound[i]
		told[i] = trader.Obeyed{Halt: halt, Acknowledged: h.since[halt.UID], Left: "the agent does not trade yet: " + status.Reason}
		if h.swept != "" && halt.CancelsAll() {
			told[i].Left += "; " + h.swept
		}
		if halt.State == risk.Halted && halt.Pairs == nil {
			status.State = v1alpha1.TradingHalted
		}
	}
	status.Halts = trader.Acknowledgements(told)
}

// say has the status tell what became of open orders, and reports whether that is
// news.
func (h *halts) say(swept string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.swept
	h.swept = swept
	return swept != before
}

// restore takes up the halts that a former process of the agent was bound by.
func (h *halts) restore(latched []ledger.LatchedHalt) {
	bound := make([]link.BoundHalt, len(latched))
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, halt := range latched {
		bound[i] = link.BoundHalt{UID: types.UID(halt.UID), Name: halt.Name, Pairs: halt.Pairs, Spec: v1alpha1.TradingHaltSpec{
			State: v1alpha1.HaltState(halt.State), Task: v1alpha1.HaltTask(halt.Task), Reason: halt.Reason,
		}}
		h.recorded[halt.UID] = true
	}
	h.latch.Restore(bound)
}

// keep records halts in the background, from the moment that the ledger is open,
// until the function is called that it returns.
func (h *halts) keep(ctx context.Context, book ledger.Halts, agentUID string, log logr.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var recording sync.WaitGroup
	recording.Go(func() { h.record(ctx, book, agentUID, log) })
	return func() {
		cancel()
		recording.Wait()
	}
}

// overwriting is the version of the agent's object that a report overwrites. What a
// former process has told in it is taken up first.
type overwriting struct {
	watcher manifests
	halts   *halts
}

// Version implements link.Versioned.
func (o overwriting) Version(ctx context.Context) (string, error) {
	desk, err := o.watcher.Desk(ctx)
	if err != nil {
		return "", err
	}
	o.halts.latch.See(&desk)
	return desk.Agent.ResourceVersion, nil
}

// record writes every halt that binds the agent into its ledger, so that it binds
// on when its object is gone. A ledger that is away holds up nothing else.
func (h *halts) record(ctx context.Context, book ledger.Halts, agentUID string, log logr.Logger) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.news:
		case <-again:
		}
		again = nil
		for _, halt := range h.unrecorded() {
			if err := h.latchOne(ctx, book, agentUID, halt); err != nil {
				if ctx.Err() == nil {
					log.Info("a halt could not be latched in the ledger; it is tried again", "halt", halt.Name, "error", err.Error())
				}
				again = time.After(longestPause)
				break
			}
		}
		if !h.release(ctx, book, agentUID, log) {
			again = time.After(longestPause)
		}
	}
}

// release frees the agent of halts whose objects are gone and of whose release the
// ledger knows. It reports whether nothing is left to be asked for.
func (h *halts) release(ctx context.Context, book ledger.Halts, agentUID string, log logr.Logger) bool {
	h.mu.Lock()
	asked := slices.Sorted(maps.Keys(h.gone))
	asked = slices.DeleteFunc(asked, func(uid string) bool { return !h.recorded[uid] })
	h.mu.Unlock()
	if len(asked) == 0 {
		return true
	}
	latched, err := book.Latched(ctx, agentUID)
	if err != nil {
		return false
	}
	for _, halt := range latched {
		asked = slices.DeleteFunc(asked, func(uid string) bool { return uid == halt.UID })
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, uid := range asked {
		log.Info("a halt whose object is gone was released", "halt", uid)
		h.latch.Release(types.UID(uid))
		delete(h.gone, uid)
		h.freed = true
	}
	return len(h.gone) == 0
}

// relieved reports whether a halt has ended that no object spoke of any more.
func (h *halts) relieved() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.freed
}

func (h *halts) unrecorded() []trader.Halt {
	h.mu.Lock()
	defer h.mu.Unlock()
	var missing []trader.Halt
	for i := range h.bound {
		if !h.recorded[h.bound[i].UID] {
			missing = append(missing, h.bound[i])
		}
	}
	return missing
}

func (h *halts) latchOne(ctx context.Context, book ledger.Halts, agentUID string, halt trader.Halt) error {
	latched := ledger.LatchedHalt{UID: halt.UID, Name: halt.Name, Reason: halt.Reason, Pairs: halt.Pairs, State: string(v1alpha1.HaltHalted)}
	if halt.State == risk.Reducing {
		latched.State = string(v1alpha1.HaltReduceOnly)
	}
	switch halt.Task {
	case trader.KeepOrders:
		latched.Task = string(v1alpha1.HaltKeep)
	case trader.CancelOrders:
		latched.Task = string(v1alpha1.HaltCancelOrders)
	case trader.FlattenPositions:
		latched.Task = string(v1alpha1.HaltFlatten)
	}
	if err := book.Latch(ctx, agentUID, latched); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recorded[halt.UID] = true
	return nil
}

// settings are what may change while the agent runs, halts included.
func (p *process) settings(desk *link.Desk) trader.Settings {
	settings := settingsOf(desk)
	settings.Halts = p.halts.see(desk)
	if p.halts.lost.Load() {
		return uncontrolled(settings, desk)
	}
	return settings
}

// uncontrolled is what the agent does while no halt would reach it.
func uncontrolled(settings trader.Settings, desk *link.Desk) trader.Settings {
	resolved, _ := v1alpha1.Resolve(desk.Agent, desk.Policy)
	message := fmt.Sprintf("the API server has not answered for %d s, and spec.controlPlane.onLoss is %s", resolved.StaleAfterSeconds, resolved.OnLoss)
	switch resolved.OnLoss {
	case v1alpha1.LossContinue:
		return settings
	case v1alpha1.LossReduceOnly:
		return closed(settings, v1alpha1.ReasonControlPlaneLost, message)
	case v1alpha1.LossHalt:
	}
	if settings.Trading != risk.Halted {
		settings.Trading, settings.Reason, settings.Message = risk.Halted, v1alpha1.ReasonControlPlaneLost, message
	}
	return settings
}

// control looks whether the API server still answers, and reports whether the
// settings must be looked at again.
func (p *process) control(watcher manifests, desk *link.Desk) (changed bool) {
	resolved, _ := v1alpha1.Resolve(desk.Agent, desk.Policy)
	stale := time.Duration(resolved.StaleAfterSeconds) * time.Second
	watcher.Expect(stale)
	lost := time.Since(watcher.Heard()) > stale
	if p.halts.lost.Swap(lost) == lost {
		return p.halts.relieved()
	}
	if lost {
		p.log.Info("the API server does not answer", "reason", v1alpha1.ReasonControlPlaneLost, "onLoss", resolved.OnLoss)
	} else {
		p.log.Info("the API server answers again")
	}
	return true
}
