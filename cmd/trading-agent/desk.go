package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// library finds recordings below the data directory; empty leaves the samples.
func library(folder string) market.Library {
	if folder == "" {
		return market.NewLibrary(nil)
	}
	return market.NewLibrary(os.DirFS(folder))
}

// openFeed opens the prices that the manifests name. Speed zero replays as fast
// as the bars are taken.
func openFeed(ctx context.Context, desk *link.Desk, config trader.Config, data market.Library, paced bool, resumeAfter map[string]time.Time, log logr.Logger) (market.Feed, error) {
	settings, _ := v1alpha1.Resolve(desk.Agent, desk.Policy)
	instruments := config.Agent.Instruments
	switch desk.Agent.Spec.MarketData.Source {
	case v1alpha1.DataSourceReplay:
		recordings, err := data.OpenAll(desk.Agent.Spec.MarketData.Replay.Dataset, instruments)
		if err != nil {
			return nil, fmt.Errorf("spec.marketData.replay.dataset: %w", err)
		}
		options := market.ReplayOptions{ResumeAfter: resumeAfter}
		if paced {
			options.Speed = settings.Speed
		}
		for _, recording := range recordings {
			log.Info("recording opened", "pair", recording.Instrument.Pair, "report", recording.Report.String())
			options.WarmUp = max(options.WarmUp, trader.WarmUpBars(config.Interval, recording.Length, len(resumeAfter) > 0))
		}
		return market.NewReplay(recordings, options)
	case v1alpha1.DataSourceCoinbase:
		granularity := time.Duration(settings.GranularitySeconds) * time.Second
		return coinbase.Open(ctx, instruments, coinbase.Options{
			Granularity: granularity,
			WarmUp:      trader.WarmUpBars(config.Interval, granularity, len(resumeAfter) > 0),
			Report:      func(err error) { log.Info("the exchange does not answer; trying again", "error", err.Error()) },
		})
	}
	return nil, fmt.Errorf("spec.marketData.source: this binary does not know %q", desk.Agent.Spec.MarketData.Source)
}

// settingsOf is what may change while the agent runs. What cannot be understood
// or has gone closes to ReduceOnly rather than to a guess.
func settingsOf(desk *link.Desk) trader.Settings {
	settings, err := trader.NewSettings(desk.Agent, desk.Policy, desk.Account, desk.Pairs)
	settings.Generation = desk.Agent.Generation
	if err == nil {
		err = desk.Validate().ToAggregate()
	}
	missing := desk.Missing()
	switch {
	case err != nil:
		return closed(settings, v1alpha1.ReasonInvalidSpec, err.Error())
	case desk.Policy == nil:
		return settings
	case len(missing) > 0:
		return closed(settings, v1alpha1.ReasonReferenceNotReady, strings.Join(missing, ", ")+" does not exist; only reducing orders pass")
	}
	return settings
}

// closed lets only reducing orders pass, unless the manifests say stricter.
func closed(settings trader.Settings, reason, message string) trader.Settings {
	if settings.Trading == risk.Enabled {
		settings.Trading, settings.Reason, settings.Message = risk.Reducing, reason, message
	}
	return settings
}

// uriFrom is what a file says whenever it is asked: the kubelet brings a Secret's file
// up to date while the process runs.
func uriFrom(path string) database.Source {
	return func() (string, error) { return readURI(path) }
}

// readURI reads the ledger's connection URI from a file. Its content appears in
// no error.
func readURI(path string) (string, error) {
	text, err := fs.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the file with the ledger's URI does not exist: %s", path)
	}
	if err != nil {
		return "", fmt.Errorf("read the file with the ledger's URI: %w", err)
	}
	uri := strings.TrimSpace(string(text))
	if uri == "" {
		return "", fmt.Errorf("the file with the ledger's URI is empty: %s", path)
	}
	return uri, nil
}
