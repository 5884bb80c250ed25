package trader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

const (
	// overlap is how many fills that the ledger should have are booked again on
	// reconciliation with a venue that tells an agent's whole history. Booking
	// twice changes nothing.
	overlap = 100
	// lookBack is how far before the agent's last sign of life fills are asked for
	// where a venue tells of the account's.
	lookBack = 24 * time.Hour
	// foreignFor is how long a fill that is none of the agent's lets it only
	// reduce: somebody else trades its pair.
	foreignFor = 24 * time.Hour
	// patience is how many times in a row an account may hold less than its agents'
	// books say before it counts as a difference: an agent books a fill some time
	// after the venue has.
	patience = 3
)

// errMismatch means that ledger and venue disagree.
var errMismatch = errors.New("ledger and venue disagree")

// tooEarlyError means that waiting alone helps.
type tooEarlyError struct {
	why   string
	until time.Time
}

func (e *tooEarlyError) Error() string {
	return fmt.Sprintf("%s; waiting until %s", e.why, e.until.UTC().Format(time.RFC3339))
}

// forgotten says that the venue has no trace of what it has accepted.
func forgotten(id uuid.UUID) error {
	return fmt.Errorf("order %s was accepted, but the venue does not know it: %w", id, errMismatch)
}

// reconciliation is one attempt to make the ledger agree with the venue.
type reconciliation struct {
	*Shell
	begun    time.Time
	snapshot ledger.Snapshot
	// whole says that the venue tells the agent's whole history, and held is what
	// that comes to by pair, with what the agent took over.
	whole bool
	held  map[string]market.Quantity
	seen  int64
	// filled is what was newly booked of each order.
	filled map[uuid.UUID]market.Quantity
	// foreign are fills that are none of the agent's.
	foreign []order.Fill
	// until is when the last request of a former process can have arrived.
	until time.Time
	// shows is when the last order shows that a ledger which has forgotten may have
	// lost.
	shows time.Time
}

// reconcile makes the ledger agree with the venue, and the core with the ledger:
// what a former process has sent is waited for, every fill is booked, every open
// order is resolved, orders that the ledger does not hold open are cancelled, and
// positions and balances are compared.
func (s *Shell) reconcile(ctx context.Context) error {
	ctx, cancel := s.boundedBy(ctx, reconcileTimeout)
	defer cancel()
	// gofail: var reconcileBegun struct{}
	_, balancer := s.options.Venue.(venue.Balancer)
	r := &reconciliation{Shell: s, begun: s.clock.Now(), whole: !balancer, filled: map[uuid.UUID]market.Quantity{}}
	if err := r.load(ctx); err != nil {
		return err
	}
	// gofail: var reconcileLoaded struct{}
	r.held = s.adopted(r.snapshot)
	left := r.snapshot.OpenOrders
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	s.cursor = r.begin()
	if err := s.eachNewFill(ctx, func(fill order.Fill) error { return r.take(ctx, fill) }); err != nil {
		return err
	}
	// gofail: var reconcileFillsBooked struct{}
	for i := range left {
		if err := r.resolve(ctx, &left[i]); err != nil {
			return err
		}
	}
	// gofail: var openOrdersWanted struct{}
	if err := s.cancelOrphans(ctx, left, nil); err != nil {
		return err
	}
	if s.core.epoch == 0 && r.until.After(s.clock.Now()) {
		return &tooEarlyError{"an order of the last process may still arrive at the venue", r.until}
	}
	// gofail: var openOrdersKnown struct{}
	if err := r.load(ctx); err != nil {
		return err
	}
	// gofail: var positionsCompared struct{}
	if err := r.compare(ctx); err != nil {
		return err
	}
	if err := r.prove(ctx); err != nil {
		return err
	}
	s.options.Log.Info("ledger and venue agree", "epoch", s.lease.Epoch, "fills", r.snapshot.Fills, "openOrders", len(r.snapshot.OpenOrders))
	// gofail: var reconciled struct{}
	return s.dispatch(ctx, Recovered{Epoch: s.lease.Epoch, Snapshot: r.snapshot})
}

// load reads what the ledger holds.
func (r *reconciliation) load(ctx context.Context) (err error) {
	if r.snapshot, err = r.options.Ledger.Load(ctx, r.lease); err != nil {
		return fmt.Errorf("loading what the ledger holds: %w", err)
	}
	r.shows = r.clock.Now().Add(requestExpiry + r.expiry() + clocksDiffer + r.traits.Settle - r.snapshot.ForgotFor)
	return nil
}

// begin is where to begin with fills: at the first where the venue keeps a book
// for the agent alone. Elsewhere it is a while before the last mark, at which the
// agent was alive, and before the oldest order that is open.
func (r *reconciliation) begin() string {
	if r.whole {
		return ""
	}
	from := r.clock.Now()
	if last := r.snapshot.Newest.MarketTime; !last.IsZero() && last.Before(from) {
		from = last
	}
	for i := range r.snapshot.OpenOrders {
		if sent := refOf(&r.snapshot.OpenOrders[i].Intent, "").SentAt; !sent.IsZero() && sent.Before(from) {
			from = sent
		}
	}
	return venue.Since(from.Add(-lookBack))
}

// take books a fill. One that is none of the agent's is noted.
func (r *reconciliation) take(ctx context.Context, fill order.Fill) error {
	r.seen++
	r.held[fill.Pair] += fill.Quantity * market.Quantity(fill.Side)
	if r.whole && r.seen <= r.snapshot.Fills-overlap {
		return nil
	}
	if !r.whole && fill.OrderID == uuid.Nil {
		r.foreign = append(r.foreign, fill)
		return nil
	}
	// gofail: var reconcileFillSeen struct{}
	isNew, err := r.book(ctx, fill)
	switch {
	case err == nil && isNew:
		r.filled[fill.OrderID] += fill.Quantity
	case !r.whole && errors.Is(err, ledger.ErrNoIntent):
		r.foreign = append(r.foreign, fill)
		return nil
	}
	return err
}

// adopted tells the venue of the positions that the agent took over, and returns
// them by pair.
func (s *Shell) adopted(snapshot ledger.Snapshot) map[string]market.Quantity {
	held := map[string]market.Quantity{}
	openings := make([]paper.Opening, 0, len(snapshot.Adopted))
	for _, a := range snapshot.Adopted {
		held[a.Pair] += a.Quantity
		openings = append(openings, paper.Opening{Pair: a.Pair, Quantity: a.Quantity, Cost: a.Cost})
	}
	if adopter, ok := s.options.Venue.(Adopter); ok && len(openings) > 0 {
		adopter.Adopt(openings)
	}
	return held
}

// catchUp lets the venue take the bars that it has missed.
func (s *Shell) catchUp(ctx context.Context) error {
	taker, ok := s.options.Venue.(BarTaker)
	for ok && len(s.missed) > 0 {
		if _, err := taker.OnBar(ctx, s.missed[0]); err != nil {
			return fmt.Errorf("%w: %w", errVenue, err)
		}
		s.missed = s.missed[1:]
	}
	return nil
}

// resolve finds out what became of an order that the ledger holds open.
func (r *reconciliation) resolve(ctx context.Context, o *ledger.Order) error {
	// gofail: var resolveWanted struct{}
	provable := r.provablyAbsent(&o.Intent)
	found, err := r.options.Venue.Lookup(ctx, refOf(&o.Intent, o.VenueOrderID))
	if err != nil && !errors.Is(err, venue.ErrNotFound) {
		return fmt.Errorf("%w: %w", errVenue, err)
	}
	missing := err != nil
	// Fills first: an order must not end with fills that are not booked.
	if err := r.eachNewFill(ctx, func(fill order.Fill) error { return r.take(ctx, fill) }); err != nil {
		return err
	}
	update := ledger.OrderUpdate{ID: o.ID, MarketTime: o.MarketTime, At: r.clock.Now()}
	switch booked := o.Filled + r.filled[o.ID]; {
	case missing && r.filled[o.ID] > 0:
		return nil
	case missing && o.State == order.Intended && r.snapshot.Forgot == "":
		// Its sending was never recorded, so not a byte of it has left. A ledger that
		// has forgotten may have lost that very record.
		update.State, update.Reason = order.Rejected, EndNeverSent
	case missing && o.State == order.Acked:
		return forgotten(o.ID)
	case missing && provable:
		update.State, update.Reason = order.Rejected, EndNeverArrived
	case missing:
		update.State, update.Reason = order.Unknown, "NoAnswer"
		r.await(o)
	case found.State == order.Filled, found.State.Final() && found.Filled > booked:
		// Booking its fills ends it, or they are to come.
		update.State, update.VenueOrderID = order.Acked, found.VenueOrderID
	default:
		update.State, update.VenueOrderID = found.State, found.VenueOrderID
	}
	// gofail: var resolveAnswered struct{}
	return r.options.Ledger.UpdateOrder(ctx, r.lease, update)
}

// await remembers until when an order may arrive that a former process has sent.
// A venue that does not say for how long it takes a request is not waited for: the
// order stays unknown and its pair closed to new positions.
func (r *reconciliation) await(o *ledger.Order) {
	until := r.lastArrival(&o.Intent)
	if r.traits.RequestExpiry <= 0 {
		until = o.NotAfter
	}
	if until.After(r.until) {
		r.until = until
	}
}

// cancelOrphans cancels orders that are open at the venue and not in the ledger, of
// all pairs if none are named: a process that has been paused may have sent one that
// was given up. What has no
// client order id of ours is somebody else's and none of our business, unless he
// trades our pair.
func (s *Shell) cancelOrphans(ctx context.Context, known []ledger.Order, pairs []string) error {
	open, err := s.options.Venue.Open(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errVenue, err)
	}
	ours := map[uuid.UUID]bool{}
	for i := range known {
		ours[known[i].ID] = true
	}
	var foreign []string
	for _, o := range open {
		switch {
		case ours[o.ID], pairs != nil && !slices.Contains(pairs, o.Pair):
			continue
		case o.ID == uuid.Nil:
			foreign = append(foreign, o.VenueOrderID)
			continue
		}
		s.options.Log.Info("cancelling an order that the ledger does not hold open", "order", o.ID)
		s.orphaned = s.clock.Now()
		err := s.options.Venue.Cancel(ctx, venue.Ref{ID: o.ID, VenueOrderID: o.VenueOrderID, Pair: o.Pair})
		if err != nil && !errors.Is(err, venue.ErrNotFound) {
			return fmt.Errorf("%w: %w", errVenue, err)
		}
	}
	if len(foreign) > 0 {
		return fmt.Errorf("somebody else has orders in the agent's pairs, %s; cancel them at the venue: %w", strings.Join(foreign, ", "), errMismatch)
	}
	return nil
}

// prove tells a ledger that has forgotten something that the venue has answered
// for every order that is left in it, and that what was lost can have no more
// effect. Until then nothing is sent: an order that reduces a position might be the
// second one.
func (r *reconciliation) prove(ctx context.Context) error {
	if r.snapshot.Forgot == "" {
		return nil
	}
	for i := range r.snapshot.OpenOrders {
		if o := &r.snapshot.OpenOrders[i]; o.State.Unsettled() {
			return fmt.Errorf("%s: what became of order %s is not proven yet: %w", r.snapshot.Forgot, o.ID, ledger.ErrForgot)
		}
	}
	shows := r.shows
	if settled := r.orphaned.Add(r.traits.Settle); settled.After(shows) {
		shows = settled
	}
	// Fills and open orders must have been asked for after that.
	if r.begun.Before(shows) {
		return &tooEarlyError{r.snapshot.Forgot + "; an order that it has lost may still arrive at the venue", shows}
	}
	err := r.options.Ledger.Proven(ctx, r.lease, "the venue has answered for every open order, and what was lost can arrive no more")
	if err != nil {
		return err
	}
	// The next order's id follows from when it was proven.
	return r.load(ctx)
}

// compare refuses to trade on positions that the venue does not confirm.
func (r *reconciliation) compare(ctx context.Context) error {
	if r.whole {
		return compare(r.held, r.snapshot, r.config.Agent.Instruments)
	}
	if err := r.compareBalances(ctx); err != nil {
		return err
	}
	return r.compareForeign()
}

// compare refuses to trade on positions that the venue's fills, and what was
// taken over, do not explain.
func compare(held map[string]market.Quantity, snapshot ledger.Snapshot, instruments []market.Instrument) error {
	for i := range instruments {
		pair := instruments[i].Pair
		if booked := snapshot.Positions[pair].Quantity; held[pair] != booked {
			return fmt.Errorf("%s: the ledger holds %d lots and the venue %d: %w", pair, booked, held[pair], errMismatch)
		}
	}
	return nil
}

// What a balance may be short of, in units of its currency: venues count fees finer
// than the ledger does, and take parts of a lot for which the ledger has no fill.
// Such parts stay when an order is cancelled, so they may be many, but together no
// more than a share of the books.
var (
	rounding  = decimal.New(1, -6)
	mostParts = decimal.New(1, -4)
)

// partsOfLots is how many of them a balance may lack, as whole lots.
const partsOfLots = 100

// slack is what the account may be short of in a currency in which the books hold
// an amount.
func slack(instruments []market.Instrument, marks map[string]ledger.Mark, currency string, booked decimal.Decimal) decimal.Decimal {
	parts := decimal.Zero
	for i := range instruments {
		if instrument := &instruments[i]; instrument.Quote == currency {
			parts = parts.Add(instrument.Notional(marks[instrument.Pair].Price, partsOfLots).Decimal())
		}
	}
	return rounding.Add(decimal.Min(parts, booked.Mul(mostParts)))
}

// compareBalances compares what the account holds with the books of all of its
// agents. More is the owner's own affair.
func (r *reconciliation) compareBalances(ctx context.Context) error {
	booked, err := r.options.Ledger.Holdings(ctx, r.lease)
	if err != nil {
		return fmt.Errorf("summing the books of the account's agents: %w", err)
	}
	balances, err := r.options.Venue.(venue.Balancer).Balances(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errVenue, err)
	}
	total := map[string]decimal.Decimal{}
	for _, b := range balances {
		total[b.Currency] = total[b.Currency].Add(b.Total)
	}
	var short []string
	for _, currency := range slices.Sorted(maps.Keys(booked)) {
		want := booked[currency].Booked
		free := booked[currency].Pending.Add(slack(r.config.Agent.Instruments, r.snapshot.LastMark, currency, want))
		if want.IsPositive() && total[currency].Add(free).LessThan(want) {
			short = append(short, fmt.Sprintf("%s %s, and the books of its agents %s", total[currency], currency, want))
		}
	}
	if len(short) == 0 {
		r.shortfalls = 0
		return nil
	}
	if r.shortfalls++; r.shortfalls < patience {
		return &tooEarlyError{"the account holds " + strings.Join(short, "; "), r.clock.Now().Add(time.Second)}
	}
	return fmt.Errorf("the account holds %s: %w", strings.Join(short, "; "), errMismatch)
}

// compareForeign refuses to trade a pair that somebody else trades on the same
// account. What was traded before the agent had the pair is not its business.
func (r *reconciliation) compareForeign() error {
	for i := range r.foreign {
		fill := &r.foreign[i]
		since, claimed := r.snapshot.ClaimedAt[fill.Pair]
		over := fill.MarketTime.Add(foreignFor)
		if !claimed || fill.MarketTime.Before(since) || !over.After(r.clock.Now()) {
			continue
		}
		return fmt.Errorf("%s: trade %s at %s is none of this agent's, and nobody else may trade its pair on this account; it only reduces until %s: %w",
			fill.Pair, fill.TradeID, fill.MarketTime.UTC().Format(time.RFC3339), over.UTC().Format(time.RFC3339), errMismatch)
	}
	return nil
}
