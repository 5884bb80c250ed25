package venues

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// Gateways are addresses that requests are sent to in place of a venue's own, by
// venue. Requests are signed for the venue itself even so, and a gateway must pass
// them on unchanged. It must be https, or http to a loopback address. Gateways are
// a flag's value: Kraken=https://gateway.example, several parted by commas.
type Gateways map[v1alpha1.Venue]string

// String is the flag's text.
func (g *Gateways) String() string {
	if g == nil {
		return ""
	}
	words := make([]string, 0, len(*g))
	for _, name := range slices.Sorted(maps.Keys(*g)) {
		words = append(words, string(name)+"="+(*g)[name])
	}
	return strings.Join(words, ",")
}

// Set adds to the gateways what a flag says.
func (g *Gateways) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		name, address, ok := strings.Cut(word, "=")
		if !ok || !slices.Contains(v1alpha1.RealVenues(), v1alpha1.Venue(name)) || address == "" {
			return fmt.Errorf("%q is not a venue and its gateway, such as %s=https://gateway.example; the venues are %v", word, v1alpha1.VenueKraken, v1alpha1.RealVenues())
		}
		if *g == nil {
			*g = Gateways{}
		}
		(*g)[v1alpha1.Venue(name)] = address
	}
	return nil
}

// Type names the flag's value in help texts.
func (*Gateways) Type() string { return "VENUE=URL" }
