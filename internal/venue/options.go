package venue

import (
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
