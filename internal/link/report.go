package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/shopspring/decimal"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	applyv1alpha1 "github.com/three-rivers-tech/trading-operator/api/v1alpha1/applyconfiguration/api/v1alpha1"
)

// FieldOwner is the field manager under which agents write status.trading.
const FieldOwner = "trading-agent"

// DefaultReportInterval is how often figures are written at most. A change of
// state is written at once.
const DefaultReportInterval = 60 * time.Second

const (
	// gathering is how long a change of state waits for what follows from it, such as
	// orders that are cancelled after a halt is obeyed: a thousand agents that are
	// halted at once then write once each and not twice.
	gathering = 200 * time.Millisecond
	// minSpacing protects the API server from a state that flaps.
	minSpacing = time.Second
	// jitterFraction spreads the agents of a desk over the interval.
	jitterFraction = 0.1
	// Pauses before a write is tried again: that another writer of the object's
	// status had overtaken, and that failed otherwise. They double, so that many
	// agents do not keep an API server down that is slow.
	staleRetry         = 50 * time.Millisecond
	longestReportRetry = 30 * time.Second
	// longestHaltRetry is the longest pause before an acknowledgement of a halt is
	// tried again: who does not acknowledge in time is fenced.
	longestHaltRetry = 2 * time.Second
	// restPerWrite is how much longer than its last write an agent leaves the API
	// server alone before it writes figures again: an API server that has many agents
	// and answers slowly has fewer figures to write. longestInterval is the longest
	// that figures then wait.
	restPerWrite    = 1000
	longestInterval = 10 * time.Minute
	// writeTimeout bounds one write. A write that is given up has cost the API server
	// as much as one that is not, so it is long.
	writeTimeout = 30 * time.Second
)

// equityDeadBand is the smallest relative move of equity that is worth a write
// of its own: one hundredth of a per cent.
var equityDeadBand = decimal.New(1, -4)

// errStale means that the object has changed since it was read; it is read
// again and the write is repeated.
var errStale = errors.New("the object has changed since it was read")

// Versioned tells which version of the agent's object is known, and fails with
// ErrAgentGone when it is another object.
type Versioned interface {
	Version(ctx context.Context) (string, error)
}

// Reporter writes what the agent does into its object's status.trading.
type Reporter struct {
	client   client.Client
	object   Versioned
	identity Identity
	interval time.Duration
	log      logr.Logger

	// overtaken is the version at which a write was refused, until the watch shows
	// another; it is tried again all the same after longestReportRetry.
	overtaken   string
	overtakenAt time.Time
}

// NewReporter writes through the given client, figures at most once per interval.
func NewReporter(writer client.Client, object Versioned, identity Identity, interval time.Duration, log logr.Logger) *Reporter {
	return &Reporter{client: writer, object: object, identity: identity, interval: interval, log: log}
}

// Run writes until the context ends. Status is asked for whenever changed
// signals and when figures are due. It fails with ErrAgentGone; every other
// trouble is logged and tried again, because trading does not depend on it.
func (r *Reporter) Run(ctx context.Context, status func() v1alpha1.TradingStatus, changed <-chan struct{}) error {
	var (
		last    v1alpha1.TradingStatus
		written time.Time
		retry   retry
		spacing = r.interval
		change  change
		timer   = time.NewTimer(0)
	)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-timer.C:
		}
		now := time.Now()
		current := status()
		longest := longestReportRetry
		if haltsOf(&last) != haltsOf(&current) {
			longest = longestHaltRetry
			retry.at = earlier(retry.at, now.Add(longest))
		}
		pause := max(dueIn(&last, &current, now.Sub(written), spacing), retry.at.Sub(now), change.waits(stateOf(&last) != stateOf(&current), now))
		if pause <= 0 {
			err := r.write(ctx, current, now)
			switch {
			case err == nil:
				last, written, change.since, retry.pause = current, now, time.Time{}, 0
				spacing = max(r.interval, min(restPerWrite*time.Since(now), longestInterval))
				pause = wait.Jitter(spacing, jitterFraction)
			case errors.Is(err, ErrAgentGone):
				return err
			case errors.Is(err, errStale):
				pause = retry.after(staleRetry, longest)
			case ctx.Err() == nil:
				r.log.Error(err, "status.trading could not be written; it is tried again")
				pause = retry.after(minSpacing, longest)
			}
		}
		timer.Reset(pause)
	}
}

// change is since when the state is another than the one that was written.
type change struct{ since time.Time }

// waits is how long a change of state still waits for what follows from it.
func (c *change) waits(changed bool, now time.Time) time.Duration {
	if !changed {
		c.since = time.Time{}
		return 0
	}
	if c.since.IsZero() {
		c.since = now
	}
	return gathering - now.Sub(c.since)
}

// retry is when a write that failed is tried again, whatever changes before.
type retry struct {
	pause time.Duration
	at    time.Time
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// after is the next pause: at least the given one, and twice the last, up to the
// longest.
func (r *retry) after(least, longest time.Duration) time.Duration {
	r.pause = min(max(least, 2*r.pause), longest)
	pause := wait.Jitter(r.pause, jitterFraction)
	r.at = time.Now().Add(pause)
	return pause
}

// dueIn says how long the current status may wait before it is written; zero or
// less is now. Two statuses that differ in nothing worth a write wait for the
// whole interval again.
func dueIn(last, current *v1alpha1.TradingStatus, since, interval time.Duration) time.Duration {
	if stateOf(last) != stateOf(current) {
		return minSpacing - since
	}
	if since < interval {
		return interval - since
	}
	if figuresDiffer(last, current) {
		return 0
	}
	return interval
}

// state is what is reported at once when it changes.
type state struct {
	podUID, trading, reason            string
	generation, epoch, reconciledEpoch int64
	decided                            bool
	halts                              string
}

func stateOf(s *v1alpha1.TradingStatus) state {
	return state{
		podUID: s.PodUID, trading: string(s.State), reason: s.Reason,
		generation: s.ObservedGeneration, epoch: s.Epoch, reconciledEpoch: s.ReconciledEpoch,
		decided: s.Decisions > 0, halts: haltsOf(s),
	}
}

// haltsOf is how far each halt has been obeyed, in one word.
func haltsOf(s *v1alpha1.TradingStatus) string {
	var word strings.Builder
	for i := range s.Halts {
		word.WriteString(s.Halts[i].UID + string(s.Halts[i].State) + " ")
	}
	return word.String()
}

func figuresDiffer(last, current *v1alpha1.TradingStatus) bool {
	if last.Decisions != current.Decisions || last.Fills != current.Fills || last.OpenOrders != current.OpenOrders {
		return true
	}
	if !reflect.DeepEqual(quantities(last), quantities(current)) {
		return true
	}
	before, errBefore := decimal.NewFromString(string(last.Equity))
	after, errAfter := decimal.NewFromString(string(current.Equity))
	if errBefore != nil || errAfter != nil {
		return last.Equity != current.Equity
	}
	return after.Sub(before).Abs().GreaterThan(before.Abs().Mul(equityDeadBand))
}

func quantities(s *v1alpha1.TradingStatus) map[string]v1alpha1.SignedDecimal {
	held := make(map[string]v1alpha1.SignedDecimal, len(s.Positions))
	for _, position := range s.Positions {
		held[position.Pair] = position.Quantity
	}
	return held
}

// write applies status.trading under the agent's own field owner. It names the
// version of the object that it was read at: the API server ignores a UID in a
// write to the status, so this is what keeps the report from landing on another
// object of the same name.
func (r *Reporter) write(ctx context.Context, status v1alpha1.TradingStatus, now time.Time) error {
	version, err := r.object.Version(ctx)
	if err != nil {
		return err
	}
	if version == r.overtaken && now.Sub(r.overtakenAt) < longestReportRetry {
		return errStale
	}
	status.ReportedTime = new(metav1.NewTime(now))
	configuration, err := applyConfiguration(&status)
	if err != nil {
		return err
	}
	object := applyv1alpha1.TradingAgent(r.identity.Name, r.identity.Namespace).
		WithUID(r.identity.UID).
		WithResourceVersion(version).
		WithStatus(applyv1alpha1.TradingAgentStatus().WithTrading(configuration))
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err = r.client.Status().Apply(ctx, runtime.ApplyConfiguration(object), client.FieldOwner(FieldOwner), client.ForceOwnership)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		// The watch tells whether the object has changed or gone.
		r.overtaken, r.overtakenAt = version, now
		return fmt.Errorf("%w: %w", errStale, err)
	case err != nil:
		return fmt.Errorf("write status.trading: %w", err)
	}
	return nil
}

func applyConfiguration(status *v1alpha1.TradingStatus) (*applyv1alpha1.TradingStatusApplyConfiguration, error) {
	text, err := json.Marshal(status)
	if err != nil {
		return nil, fmt.Errorf("encode status.trading: %w", err)
	}
	configuration := applyv1alpha1.TradingStatus()
	if err := json.Unmarshal(text, configuration); err != nil {
		return nil, fmt.Errorf("encode status.trading: %w", err)
	}
	return configuration, nil
}
