package trader

import (
	"context"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// nameless is a venue that does not know what the desk calls its account.
type nameless struct{ *paper.Venue }

func (n nameless) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	fills, next, err := n.Venue.Fills(ctx, cursor)
	told := make([]order.Fill, len(fills))
	for i, fill := range fills {
		fill.Account = ""
		told[i] = fill
	}
	return told, next, err
}

func TestFillsAreBookedOnTheAgentsAccount(t *testing.T) {
	config, account := setup(t, "AAA")
	simulated, err := paper.New(paper.NewMemoryBook(), account)
	if err != nil {
		t.Fatal(err)
	}
	var booked []order.Fill
	shell, err := NewShell(config, Options{
		Ledger: ledger.NewMemory(), Venue: nameless{simulated}, inline: true, OnFill: func(fill order.Fill) { booked = append(booked, fill) },
		Feed: func(map[string]time.Time) (market.Feed, error) {
			return record(walk(11, 200, config.Agent.Instruments), nil), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(booked) == 0 {
		t.Error("nothing was booked")
	}
	for _, fill := range booked {
		if fill.Account != config.Agent.Account {
			t.Errorf("%+v is booked on another account than %s", fill, config.Agent.Account)
		}
	}
}
