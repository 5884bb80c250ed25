package sim

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// books are the ledger and what the world has seen enter it.
type books struct {
	*ledger.Memory
	committed map[uuid.UUID]order.Intent
	booked    map[string]order.Fill
}

func newBooks() *books {
	return &books{Memory: ledger.NewMemory(), committed: map[uuid.UUID]order.Intent{}, booked: map[string]order.Fill{}}
}

// keeper is the ledger as one process reaches it.
type keeper struct{ *process }

var _ ledger.Ledger = keeper{}

// call carries out one transaction under what may strike it: a database that
// does not answer, before or after it has done what it was asked, or that hangs.
func (k keeper) call(ctx context.Context, unknown error, do func() error) error {
	w := k.w
	strike := -1
	if w.stormy() && w.chance(w.plan.outages) {
		strike = w.random.IntN(4)
		w.counts.Outages++
	}
	switch strike {
	case 0:
		return ledger.ErrUnavailable
	case 1:
		// It hangs until the caller gives up, and may do it at any time meanwhile.
		if w.chance(500) {
			w.in(w.between(0, 9*time.Second), func() { _ = do() })
		}
		_ = k.await(ctx, func() bool { return false })
		return unknown
	}
	if err := k.sleep(ctx, w.between(time.Millisecond, 10*time.Millisecond)); err != nil {
		return errors.Join(ledger.ErrUnavailable, err)
	}
	err := do()
	if err == nil && strike == 2 {
		return unknown
	}
	if err := k.sleep(ctx, w.between(0, 5*time.Millisecond)); err != nil {
		return errors.Join(unknown, err)
	}
	return err
}

// lost is the failure of a transaction that may have been done.
var lost = errors.Join(ledger.ErrOutcomeUnknown, ledger.ErrUnavailable)

func (k keeper) keep(intents []order.Intent) {
	for i := range intents {
		k.w.books.committed[intents[i].ID] = intents[i]
		k.w.note("committed", intents[i].ID.String(), k.name)
	}
	if len(intents) > 0 {
		k.w.ambush(k.agent)
	}
}

// Acquire implements ledger.Ledger.
func (k keeper) Acquire(ctx context.Context, agent ledger.Agent) (lease ledger.Lease, err error) {
	err = k.call(ctx, lost, func() (err error) {
		lease, err = k.w.books.Acquire(ctx, agent)
		if err == nil {
			k.epoch = lease.Epoch
		}
		return err
	})
	return lease, err
}

// Load implements ledger.Ledger.
func (k keeper) Load(ctx context.Context, lease ledger.Lease) (snapshot ledger.Snapshot, err error) {
	err = k.call(ctx, lost, func() (err error) { snapshot, err = k.w.books.Load(ctx, lease); return err })
	return snapshot, err
}

// Decide implements ledger.Ledger.
func (k keeper) Decide(ctx context.Context, lease ledger.Lease, d ledger.Decision, intents []order.Intent, sentAt time.Time) error {
	return k.call(ctx, lost, func() error {
		err := k.w.books.Decide(ctx, lease, d, intents, sentAt)
		if err == nil {
			k.w.counts.Decisions++
			k.keep(intents)
		}
		return err
	})
}

// Request implements ledger.Ledger.
func (k keeper) Request(ctx context.Context, lease ledger.Lease, request ledger.Request, intents []order.Intent, sentAt time.Time) error {
	return k.call(ctx, lost, func() error {
		err := k.w.books.Request(ctx, lease, request, intents, sentAt)
		if err == nil {
			k.keep(intents)
		}
		return err
	})
}

// Recall implements ledger.Ledger.
func (k keeper) Recall(ctx context.Context, lease ledger.Lease, request ledger.Request) (orders []uuid.UUID, err error) {
	err = k.call(ctx, lost, func() (err error) { orders, err = k.w.books.Recall(ctx, lease, request); return err })
	return orders, err
}

// UpdateOrder implements ledger.Ledger.
func (k keeper) UpdateOrder(ctx context.Context, lease ledger.Lease, update ledger.OrderUpdate) error {
	return k.call(ctx, lost, func() error {
		err := k.w.books.UpdateOrder(ctx, lease, update)
		if err == nil {
			k.w.note(string(update.State), update.ID.String(), update.Reason, k.name)
		}
		return err
	})
}

// BookFill implements ledger.Ledger.
func (k keeper) BookFill(ctx context.Context, lease ledger.Lease, fill order.Fill) (isNew bool, err error) {
	err = k.call(ctx, lost, func() (err error) {
		isNew, err = k.w.books.BookFill(ctx, lease, fill)
		if err == nil && isNew {
			k.w.books.booked[fill.TradeID] = fill
			k.w.note("booked", fill.TradeID, k.name)
		}
		return err
	})
	return isNew, err
}

// Disarm implements ledger.Ledger.
func (k keeper) Disarm(ctx context.Context, lease ledger.Lease, reason string, at time.Time) error {
	return k.call(ctx, lost, func() error { return k.w.books.Disarm(ctx, lease, reason, at) })
}

// Arming implements ledger.Ledger.
func (k keeper) Arming(ctx context.Context, lease ledger.Lease) (arming ledger.Arming, err error) {
	err = k.call(ctx, lost, func() (err error) { arming, err = k.w.books.Arming(ctx, lease); return err })
	return arming, err
}

// Fund implements ledger.Ledger.
func (k keeper) Fund(ctx context.Context, lease ledger.Lease, claims []ledger.Claim) (shares map[string]market.Money, err error) {
	err = k.call(ctx, lost, func() (err error) { shares, err = k.w.books.Fund(ctx, lease, claims); return err })
	return shares, err
}

// Holdings implements ledger.Ledger.
func (k keeper) Holdings(ctx context.Context, lease ledger.Lease) (held map[string]ledger.Holding, err error) {
	err = k.call(ctx, lost, func() (err error) { held, err = k.w.books.Holdings(ctx, lease); return err })
	return held, err
}

// Proven implements ledger.Ledger.
func (k keeper) Proven(ctx context.Context, lease ledger.Lease, what string) error {
	return k.call(ctx, lost, func() error { return k.w.books.Proven(ctx, lease, what) })
}

// SaveMark implements ledger.Ledger.
func (k keeper) SaveMark(ctx context.Context, lease ledger.Lease, mark ledger.Mark) error {
	return k.call(ctx, lost, func() error { return k.w.books.SaveMark(ctx, lease, mark) })
}

// coin is a judge that rules by the last price alone, and now and then takes too
// long.
type coin struct{ *process }

// Name implements decision.Judge.
func (coin) Name() string { return "sim/coin" }

// Rule implements decision.Judge.
func (c coin) Rule(ctx context.Context, bull, bear decision.Argument, view decision.View) (decision.Ruling, error) {
	if c.w.stormy() && c.w.chance(c.w.plan.hangs) {
		c.w.counts.Hangs++
		if err := c.await(ctx, func() bool { return false }); err != nil {
			return decision.Ruling{}, err
		}
	}
	price := uint64(view.Fast.Close) //nolint:gosec // a price
	actions := []decision.Action{decision.Buy, decision.Sell, decision.Hold, decision.Buy, decision.Sell}
	action := actions[(price*0x9e3779b97f4a7c15>>32)%uint64(len(actions))]
	return decision.Ruling{Action: action, ConfidenceMicros: 900_000, Judge: "sim/coin", Arguments: []decision.Argument{bull, bear}}, nil
}
