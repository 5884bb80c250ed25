package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

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
	access := desk.Account.Access()
	if access == nil {
		account, err := trader.NewPaperAccount(config, desk.Account)
		if err != nil {
			return nil, nil, err
		}
		simulated, err := paper.New(kept.paper(config.Agent.Account, config.Agent.UID), account)
		return simulated, nil, err
	}
	if p.route.venues == nil || p.route.credentials == "" {
		return nil, nil, fmt.Errorf("TradingAccount %q is at %s: name the directory with its credentials with --credentials-dir", desk.Account.Name, desk.Account.Spec.Venue)
	}
	sentry := venue.NewSentry(time.Now)
	account := venues.Account{Venue: desk.Account.Spec.Venue, Instruments: config.Agent.Instruments, Guard: sentry}
	if known := desk.Account.Status.VenueAccount; known != nil {
		account.ID = known.ID
	}
	opened, err := p.route.venues.OpenKeyed(ctx, account, *access, p.route.credentials, p.log)
	if err != nil {
		return nil, nil, fmt.Errorf("TradingAccount %q: %w", desk.Account.Name, err)
	}
	context.AfterFunc(ctx, opened.Close)
	return opened, sentry, nil
}

// awaitStart builds the trader as soon as its account's credentials can be used: a
// restart of the process would not mend them.
func (p *process) awaitStart(ctx context.Context, desk *link.Desk, kept books) (*trader.Shell, error) {
	for {
		shell, err := p.start(ctx, desk, kept)
		wrong, ok := errors.AsType[*venues.CredentialsError](err)
		if !ok {
			return shell, err
		}
		p.log.Info("the account's credentials cannot be used", "reason", wrong.Reason, "error", err.Error())
		p.wait(wrong.Reason, err.Error(), desk.Agent.Generation)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(longestPause):
		}
	}
}
