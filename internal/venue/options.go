package venue

import (
	"fmt"
	"net/http"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Options are what every adapter of a real venue is made of. Each has credentials
// of a kind of its own.
type Options[Credentials any] struct {
	Environment v1alpha1.VenueEnvironment
	// Instruments of the agent's pairs; none for one who only asks about the account.
	Instruments []market.Instrument
	// Symbols are the venue's spellings by pair, where they are not the usual ones.
	Symbols     map[string]string
	Credentials Credentials
	// Gateway that requests are sent to; empty for the venue itself. Where the venue's
	// own host is no part of what is signed, it stands in the header X-Forwarded-Host.
	Gateway string
	// Transport that requests are sent by; nil for one that checks certificates.
	Transport http.RoundTripper
	// Now tells the time; nil for the machine's clock.
	Now func() time.Time
	// Guard is asked before an order leaves. Without one none does.
	Guard Guard
}

// Spellings are what a venue calls an agent's pairs.
type Spellings struct {
	// Instruments and Symbols by pair.
	Instruments map[string]market.Instrument
	Symbols     map[string]string
	// Pairs by the key of their symbol.
	Pairs map[string]string
}

// Spell finds the symbol of each of the agent's pairs: the one that was chosen for
// it, or the usual one. Key is what a symbol is found again by in the venue's answers,
// which may spell it in several ways. It fails if two pairs have the same.
func (o *Options[Credentials]) Spell(venue string, usual func(base, quote string) string, key func(symbol string) string) (Spellings, error) {
	s := Spellings{Instruments: map[string]market.Instrument{}, Symbols: map[string]string{}, Pairs: map[string]string{}}
	for _, instrument := range o.Instruments {
		symbol := o.Symbols[instrument.Pair]
		if symbol == "" {
			symbol = usual(instrument.Base, instrument.Quote)
		}
		if other, taken := s.Pairs[key(symbol)]; taken {
			return s, fmt.Errorf("%s and %s have the same symbol %s at %s; each pair needs its own", other, instrument.Pair, symbol, venue)
		}
		s.Instruments[instrument.Pair], s.Symbols[instrument.Pair], s.Pairs[key(symbol)] = instrument, symbol, instrument.Pair
	}
	return s, nil
}
