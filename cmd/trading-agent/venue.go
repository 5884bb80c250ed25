package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// venueOptions are the flags that say how real venues are reached.
type venueOptions struct {
	credentials string
	gateways    venues.Gateways
}

func (o *venueOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.credentials, "credentials-dir", "", "directory with the credentials of accounts at real venues: for each a directory named as its Secret is, with a file for each key; with one account the files may be in the directory itself")
	flags.Var(&o.gateways, "venue-gateway", "address of a gateway to a venue, in place of the venue's own hosts, such as Kraken=https://gateway.example; it must begin with https:// unless it is a loopback address")
}

// route is the way to real venues.
type route struct {
	venues      *venues.Venues
	credentials string
}

// read fails on gateways that must not be used.
func (o *venueOptions) read() (route, error) {
	reached, err := venues.New(venues.Options{Gateways: o.gateways})
	if err != nil {
		return route{}, fmt.Errorf("--venue-gateway: %w", err)
	}
	return route{reached, o.credentials}, nil
}

// venueOf is where the agent's orders go, and the sentry that it asks before bytes
// leave. The venue's connections are let go of when the context ends.
func (p *process) venueOf(ctx context.Context, desk *link.Desk, config trader.Config, kept books) (venue.Venue, *venue.Sentry, error) {
	sentry := venue.NewSentry(time.Now)
	if desk.Account.Access() == nil {
		account, err := trader.NewPaperAccount(config, desk.Account)
		if err != nil {
			return nil, nil, err
		}
		account.Guard = sentry
		simulated, err := paper.New(kept.paper(config.Agent.Account, config.Agent.UID), account)
		return simulated, sentry, err
	}
	opened, err := p.openVenue(ctx, desk, &config, sentry)
	if err != nil {
		return nil, nil, err
	}
	if err := bind(ctx, opened, config.Agent.UID, kept.accounts); err != nil {
		opened.Close()
		return nil, nil, fmt.Errorf("TradingAccount %q: %w", desk.Account.Name, err)
	}
	context.AfterFunc(ctx, opened.Close)
	return opened, sentry, nil
}

// openVenue opens the agent's account at a real venue. The guard is asked before an
// order leaves; without one none does. The caller closes it.
func (p *process) openVenue(ctx context.Context, desk *link.Desk, config *trader.Config, guard venue.Guard) (*venues.Keyed, error) {
	if p.route.venues == nil || p.route.credentials == "" {
		return nil, fmt.Errorf("TradingAccount %q is at %s: name the directory with its credentials with --credentials-dir", desk.Account.Name, desk.Account.Spec.Venue)
	}
	account := venues.Account{Venue: desk.Account.Spec.Venue, Instruments: config.Agent.Instruments, Guard: guard}
	if known := desk.Account.Status.VenueAccount; known != nil {
		account.ID = known.ID
	}
	opened, err := p.route.venues.OpenKeyed(ctx, account, *desk.Account.Access(), p.route.credentials, p.log)
	if err != nil {
		return nil, fmt.Errorf("TradingAccount %q: %w", desk.Account.Name, err)
	}
	return opened, nil
}

// bind has the ledger remember on which account at its venue the agent trades. It
// knows better than a status, which can get lost and is in no file.
func bind(ctx context.Context, opened *venues.Keyed, agentUID string, accounts ledger.VenueAccounts) error {
	known, err := accounts.BindVenueAccount(ctx, agentUID, opened.ID())
	if err != nil {
		return err
	}
	return opened.BoundTo(known)
}

// Bounds of the pause before a venue is asked again whose a key is. Files are looked
// at again after the least: a venue shuts out who tries wrong keys often.
const (
	leastAskPause = longestPause
	mostAskPause  = time.Minute
)

// held says why the trader cannot be built yet, in a word of the API that is empty if
// waiting is of no use, and how long to wait at least.
func held(err error, before time.Duration) (string, time.Duration) {
	next := min(max(2*before, leastAskPause), mostAskPause)
	if wrong, ok := errors.AsType[*venues.CredentialsError](err); ok {
		if wrong.Reason == v1alpha1.ReasonCredentialsNotFound || wrong.Reason == v1alpha1.ReasonCredentialsInvalid {
			next = leastAskPause
		}
		return wrong.Reason, next
	}
	if away, ok := errors.AsType[*venues.UnverifiedError](err); ok {
		return away.Reason, max(next, away.After)
	}
	if errors.Is(err, ledger.ErrUnavailable) {
		return v1alpha1.ReasonLedgerUnavailable, leastAskPause
	}
	return "", 0
}

// awaitStart builds the trader as soon as venue and ledger say that the credentials are
// for the agent's account: a restart of the process would not mend what keeps it. It
// returns the manifests that the trader was built from.
func (p *process) awaitStart(ctx context.Context, watcher deskWatcher, kept books) (*trader.Shell, link.Desk, error) {
	var pause time.Duration
	for {
		desk, err := p.awaitDesk(ctx, watcher)
		if err != nil {
			return nil, desk, err
		}
		p.venueTurn <- struct{}{}
		shell, err := p.start(ctx, &desk, kept)
		<-p.venueTurn
		if err != nil && ctx.Err() != nil {
			return nil, desk, ctx.Err()
		}
		var reason string
		if reason, pause = held(err, pause); reason == "" {
			return shell, desk, err
		}
		p.log.Info("the account cannot be traded on yet", "reason", reason, "error", err.Error())
		p.wait(reason, err.Error(), desk.Agent.Generation)
		if err := p.heed(ctx, watcher, pause); err != nil {
			return nil, desk, err
		}
	}
}

// heed takes up what the manifests say, halts above all, for a while.
func (p *process) heed(ctx context.Context, watcher deskWatcher, pause time.Duration) error {
	over := time.After(pause)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watcher.Changes():
			if _, err := p.read(ctx, watcher); err != nil {
				return err
			}
			p.signal()
		case <-over:
			return nil
		}
	}
}

// startFromFiles builds the trader of manifests in files. What the person who has
// started it must mend ends it; a venue that does not answer is waited for.
func (p *process) startFromFiles(ctx context.Context, desk *link.Desk, kept books) (*trader.Shell, error) {
	var pause time.Duration
	for {
		shell, err := p.start(ctx, desk, kept)
		if _, away := errors.AsType[*venues.UnverifiedError](err); !away {
			return shell, err
		}
		var reason string
		reason, pause = held(err, pause)
		p.log.Info("the account cannot be traded on yet", "reason", reason, "error", err.Error())
		p.wait(reason, err.Error(), desk.Agent.Generation)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}
