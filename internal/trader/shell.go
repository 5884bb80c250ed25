package trader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

const (
	// callTimeout bounds each call to ledger or venue.
	callTimeout = 10 * time.Second
	// reconcileTimeout bounds one attempt to make ledger and venue agree, which is
	// many calls.
	reconcileTimeout = 30 * time.Second
	// requestExpiry is how long after it was frozen an order may still be sent: a
	// process that was paused for longer must not send it any more.
	requestExpiry = 5 * time.Second
	firstBackoff  = 100 * time.Millisecond
	longestPause  = 5 * time.Second
	// haltGrace is how long a call that is under way may hold up a halt. One
	// that is broken off has an unknown outcome, which reconciliation resolves.
	haltGrace = 500 * time.Millisecond
	// mostMissed is how many bars are kept for matching while the paper venue's
	// book cannot be reached.
	mostMissed = 10_000
)

// BarTaker is a venue that fills orders against the agent's own market data.
type BarTaker interface {
	OnBar(ctx context.Context, bar market.PairBar) ([]order.Fill, error)
}

// Adopter is a venue that must be told of positions that the agent took over.
type Adopter interface {
	Adopt(openings []paper.Opening)
}

// Options connect a core to the world.
type Options struct {
	Ledger ledger.Ledger
	Venue  venue.Venue
	// Sentry that the venue's adapter asks before bytes leave; nil makes one that
	// only the trader asks.
	Sentry *venue.Sentry
	// Feed opens the market data behind the last bar of each pair that was dealt
	// with.
	Feed func(resumeAfter map[string]time.Time) (market.Feed, error)
	// Clock of simulations; nil takes the machine's.
	Clock Clock
	Log   logr.Logger
	// OnFill and OnBar, when set, are called by Run's goroutine after a fill was
	// booked and after a bar was dealt with.
	OnFill func(fill order.Fill)
	OnBar  func(bar market.PairBar)
	// inline takes bars without a goroutine and without publishing status, as
	// backtests do, and returns at the end of the data.
	inline bool
}

// Shell runs a core: it carries out commands one after another and tells the
// core what came of them.
type Shell struct {
	core    *Core
	options Options
	config  Config
	lease   ledger.Lease
	feed    market.Feed

	clock  Clock
	times  timetable
	traits venue.Traits
	// sentry lets out what the gate has let pass, and nothing else.
	sentry *venue.Sentry
	cursor string
	// booked are trade ids of the newest fills that the ledger has.
	booked newest
	// silences counts how often in a row the venue has not told of fills.
	silences int
	// shortfalls counts how often in a row the account has held less than it should.
	shortfalls int
	// orphaned is when an order was last cancelled that the ledger does not hold open.
	orphaned time.Time
	// missing is since when an order has not been found at the venue.
	missing map[uuid.UUID]time.Time
	// missed are bars that the venue could not match yet.
	missed  []market.PairBar
	backoff time.Duration

	// What most bars need is kept, so that they need no memory: the events of one
	// command, those that come most often, and commands that wait.
	events    []Event
	arrived   Arrived
	ruled     Ruled
	committed Committed
	queue     []Command
	spare     []Command
	following []Command

	mu sync.Mutex
	// wanted and ending are the owner's last words, whether the core has heard them
	// or not; the sentry has.
	wanted  Settings
	ending  *Deleting
	pending []Event
	wake    chan struct{}
	// waiting are those who want to know what becomes of a wish.
	waiting map[ledger.Request][]chan Closed
	// ended is closed when Run returns.
	ended chan struct{}
	// interrupt breaks off the call under way; pondering says that it is a debate.
	interrupt context.CancelFunc
	pondering bool
	// overdue says that a halt has waited for its grace without being heard.
	overdue bool

	// obeyed is what was last told of each halt, by its UID; swept is what became of
	// open orders before the ledger has said what is open.
	obeyed map[string]Obeyed
	swept  string

	status  atomic.Pointer[Status]
	changed chan struct{}
	// busySince is when the loop began what it is doing, in nanoseconds of the
	// Unix time; 0 while it waits.
	busySince atomic.Int64
}

// NewShell makes a shell around a new core.
func NewShell(config Config, options Options) (*Shell, error) {
	core, err := NewCore(config)
	if err != nil {
		return nil, err
	}
	if options.Log.GetSink() == nil {
		options.Log = logr.Discard()
	}
	s := &Shell{
		core: core, options: options, config: config, backoff: firstBackoff,
		missing: map[uuid.UUID]time.Time{},
		wake:    make(chan struct{}, 1), changed: make(chan struct{}, 1),
		waiting: map[ledger.Request][]chan Closed{}, ended: make(chan struct{}),
	}
	_, taker := options.Venue.(BarTaker)
	core.live = !taker
	core.current = core.live && !config.Recorded
	s.traits = options.Venue.Traits()
	switch {
	case options.inline:
		s.clock = marketClock{core}
	case options.Clock != nil:
		s.clock = options.Clock
	default:
		s.clock = &wallClock{}
	}
	if s.sentry = options.Sentry; s.sentry == nil {
		s.sentry = venue.NewSentry(s.clock.Now)
	}
	s.wanted = config.Settings
	s.forbid()
	s.publish()
	return s, nil
}

// Update puts new settings in force. It may be called from any goroutine and
// waits only for a write that is under way. When it returns, not a byte of an order leaves any more that the
// settings forbid. Open orders are cancelled as soon as the call under way is over
// or broken off; a debate is broken off at once.
func (s *Shell) Update(settings Settings) {
	halts := settings.Trading == risk.Halted || len(settings.Halts) > 0
	s.mu.Lock()
	s.wanted = settings
	s.forbid()
	s.pending = append(s.pending, Updated{settings})
	if halts && s.pondering {
		s.interrupt()
	}
	s.mu.Unlock()
	s.rouse()
	if halts {
		s.clock.After(haltGrace, s.breakOff)
	}
}

// forbid tells the sentry what the owner lets no order do any more. What is told is
// a copy: the sentry asks from other goroutines.
func (s *Shell) forbid() {
	wanted, ending := s.wanted, s.ending
	s.sentry.Forbid(func(intent *order.Intent) bool { return wanted.forbids(intent, ending) })
}

// breakOff ends the call under way, and those that begin before the owner is heard,
// if he has not been heard yet.
func (s *Shell) breakOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.overdue = len(s.pending) > 0; s.overdue && s.interrupt != nil {
		s.interrupt()
	}
}

// Delete ends the agent: with flatten it closes its positions first, otherwise
// it only cancels its orders. When it returns, not a byte leaves any more of an order
// that opens a position, and without flatten of any order. Status.Finished tells when
// all is done. It may be called from any goroutine and waits only for a write that is
// under way.
func (s *Shell) Delete(flatten bool) {
	deleting := Deleting{flatten}
	s.mu.Lock()
	s.ending = &deleting
	s.forbid()
	s.pending = append(s.pending, deleting)
	s.mu.Unlock()
	s.rouse()
}

func (s *Shell) post(event Event) {
	s.mu.Lock()
	s.pending = append(s.pending, event)
	s.mu.Unlock()
	s.rouse()
}

// rouse lets the loop look at what was posted.
func (s *Shell) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Shell) posted() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.pending
	s.pending, s.overdue = nil, false
	return events
}

// hear tells the core of the owner's wishes. What they lead to comes after the
// last of them: no order leaves on the strength of a wish that the next takes
// back.
func (s *Shell) hear(ctx context.Context) error { return s.carryOut(ctx, nil) }

// Status is what the agent does now. It may be called from any goroutine; the
// result must not be changed.
func (s *Shell) Status() *Status { return s.status.Load() }

// Changed receives after Status has changed. Changes that nobody has received
// are one.
func (s *Shell) Changed() <-chan struct{} { return s.changed }

// longestWork is how long one command, or one turn of the loop without any, may
// take before the loop counts as hanging: several calls that each run into their
// time-out.
const longestWork = 12 * callTimeout

// Alive fails when the loop hangs and only a restart can help. It may be called
// from any goroutine.
func (s *Shell) Alive() error {
	since := s.busySince.Load()
	if since == 0 {
		return nil
	}
	if busy := time.Since(time.Unix(0, since)); busy > longestWork {
		return fmt.Errorf("the loop has been busy with one event for %s", busy.Round(time.Second))
	}
	return nil
}

func (s *Shell) publish() {
	if s.options.inline {
		return
	}
	status := s.core.Status()
	if status.Epoch == 0 {
		status.Epoch = s.lease.Epoch
	}
	if s.feed != nil {
		status.Data = s.feed.Describe()
	}
	status.Refused = s.sentry.Refused()
	s.stamp(&status)
	s.status.Store(&status)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run trades until the context ends, which is no error. It fails if a newer
// process has taken over (ledger.ErrFenced) and on what cannot get better by
// waiting. No goroutine outlives it.
func (s *Shell) Run(ctx context.Context) error {
	defer close(s.ended)
	if wall, ok := s.clock.(*wallClock); ok {
		defer wall.close()
	}
	if err := s.start(ctx); err != nil {
		return ending(ctx, err)
	}
	if s.options.inline {
		return ending(ctx, s.runInline(ctx))
	}
	return ending(ctx, s.loop(ctx))
}

// ending hides the error that is nothing but the end of the context.
func ending(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// start takes the epoch, opens the feed and makes ledger and venue agree.
func (s *Shell) start(ctx context.Context) error {
	var snapshot ledger.Snapshot
	err := s.persist(ctx, func() (err error) {
		call, cancel := s.bounded(ctx)
		defer cancel()
		// gofail: var epochWanted struct{}
		if s.lease, err = s.options.Ledger.Acquire(call, s.config.Agent); err != nil {
			return fmt.Errorf("taking the agent's epoch: %w", err)
		}
		// gofail: var epochTaken struct{}
		snapshot, err = s.options.Ledger.Load(call, s.lease)
		return err
	})
	if err != nil {
		return err
	}
	// gofail: var leftBehindRead struct{}
	resume := map[string]time.Time{}
	for pair, mark := range snapshot.LastMark {
		resume[pair] = mark.MarketTime
	}
	if s.feed, err = s.options.Feed(resume); err != nil {
		return fmt.Errorf("opening the market data: %w", err)
	}
	for _, bar := range s.feed.History() {
		s.core.Handle(Observed{bar})
	}
	// gofail: var feedOpened struct{}
	return s.persist(ctx, func() error { return s.reconcile(ctx) })
}

// persist tries until it succeeds, as long as waiting can help.
func (s *Shell) persist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			s.backoff, s.swept = firstBackoff, ""
			return nil
		}
		if fatal(err) {
			return err
		}
		s.options.Log.Info("not ready to trade yet", "reason", err.Error())
		s.core.Handle(impairedBy(err))
		s.publish()
		if err := s.waitHearing(ctx, s.again(err)); err != nil {
			return err
		}
	}
}

// waitHearing waits and listens to the owner meanwhile.
func (s *Shell) waitHearing(ctx context.Context, until time.Time) error {
	for {
		came := s.clock.Next(ctx, Awaited{Until: until, Woken: s.wake})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.hear(ctx); err != nil {
			return err
		}
		s.cancelAllIfHalted(ctx)
		s.publish()
		if came.Due {
			return nil
		}
	}
}

// cancelAllIfHalted obeys halts while the ledger has not yet said what is open: the
// venue knows.
func (s *Shell) cancelAllIfHalted(ctx context.Context) {
	var pairs []string
	for i := range s.core.pairs {
		if pair := s.core.pairs[i].instrument.Pair; s.core.settings.CancelsAll(pair) {
			pairs = append(pairs, pair)
		}
	}
	if s.swept = ""; len(pairs) == 0 {
		return
	}
	call, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.cancelAll(call, pairs); err != nil {
		s.options.Log.Info("open orders could not be cancelled", "reason", err.Error())
		s.swept = fmt.Sprintf("open orders in %s could not be cancelled at the venue yet: %s", strings.Join(pairs, ", "), err)
		return
	}
	s.swept = "open orders in " + strings.Join(pairs, ", ") + " were cancelled at the venue"
}

// cancelAll cancels every order in some of the agent's pairs, in one call where the
// venue has one.
func (s *Shell) cancelAll(ctx context.Context, pairs []string) error {
	stopper, ok := s.options.Venue.(venue.Stopper)
	if !ok {
		return s.cancelOrphans(ctx, nil, pairs)
	}
	err := stopper.CancelAll(ctx, pairs)
	if errors.Is(err, errors.ErrUnsupported) {
		return s.cancelOrphans(ctx, nil, pairs)
	}
	return err
}

// again is when to try again after a failure.
func (s *Shell) again(err error) time.Time {
	now := s.clock.Now()
	if early, ok := errors.AsType[*tooEarlyError](err); ok {
		s.backoff = firstBackoff
		return now.Add(min(max(early.until.Sub(now), firstBackoff), longestPause))
	}
	return now.Add(s.pause())
}

// pause is how long to wait before the next attempt.
func (s *Shell) pause() time.Duration {
	pause := s.backoff
	s.backoff = min(2*s.backoff, longestPause)
	return pause
}

// bounded is a context for one call. It outlives the end of the shell's own
// context, so that the command in hand is finished.
func (s *Shell) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return s.boundedBy(ctx, callTimeout)
}

func (s *Shell) boundedBy(ctx context.Context, span time.Duration) (context.Context, context.CancelFunc) {
	if s.options.inline {
		return ctx, func() {}
	}
	call, cancel := s.clock.Bound(context.WithoutCancel(ctx), span)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupt = cancel
	if s.overdue {
		cancel()
	}
	return call, cancel
}
