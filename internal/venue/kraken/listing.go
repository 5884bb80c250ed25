package kraken

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// legacyNames are the currencies that Kraken calls by names of its own.
var legacyNames = map[string]string{"BTC": "XBT", "DOGE": "XDG"}

// legacyCodes are the currencies whose codes in balances carry Kraken's old mark
// of their kind, X for coins and Z for money. No currency gets one any more.
var legacyCodes = map[string]string{
	"XXBT": "BTC", "XBT": "BTC", "XXDG": "DOGE", "XDG": "DOGE", "XETH": "ETH", "XETC": "ETC", "XLTC": "LTC", "XMLN": "MLN",
	"XREP": "REP", "XXLM": "XLM", "XXMR": "XMR", "XXRP": "XRP", "XZEC": "ZEC",
	"ZAUD": "AUD", "ZCAD": "CAD", "ZCHF": "CHF", "ZEUR": "EUR", "ZGBP": "GBP", "ZJPY": "JPY", "ZUSD": "USD",
}

// Symbol is how Kraken usually spells a pair, such as XBTUSD for BTC-USD.
func Symbol(base, quote string) string { return legacyName(base) + legacyName(quote) }

func legacyName(currency string) string {
	if name, ok := legacyNames[currency]; ok {
		return name
	}
	return currency
}

// currencyOf is the usual name of a currency that Kraken has written as a code.
func currencyOf(code string) string {
	if name, ok := legacyCodes[code]; ok {
		return name
	}
	return code
}

// symbolShape keeps what is asked about out of the rest of an address.
var symbolShape = regexp.MustCompile(`^[A-Za-z0-9./]{2,32}$`)

// assetPair is a pair as AssetPairs tells of it.
type assetPair struct {
	AltName       string `json:"altname"`
	WebSocketName string `json:"wsname"`
	LotDecimals   int32  `json:"lot_decimals"`
	LotMultiplier int64  `json:"lot_multiplier"`
	TickSize      string `json:"tick_size"`
	OrderMinimum  string `json:"ordermin"`
	CostMinimum   string `json:"costmin"`
	Status        string `json:"status"`
}

// spells reports whether a pair has a spelling.
func (p *assetPair) spells(id, symbol string) bool {
	return symbol == id || symbol == p.AltName || symbol == p.WebSocketName
}

// assetPairs asks for pairs; without symbols it would be for all of them.
func (s *session) assetPairs(ctx context.Context, symbols []string) (map[string]assetPair, error) {
	for _, symbol := range symbols {
		if !symbolShape.MatchString(symbol) {
			return nil, fmt.Errorf("%w: %q is not how Kraken spells a pair", venue.ErrNoSuchThing, symbol)
		}
	}
	var pairs map[string]assetPair
	err := s.public(ctx, "AssetPairs", url.Values{"pair": {strings.Join(symbols, ",")}}, &pairs)
	return pairs, err
}

// mostDecimals bounds the digits of a step; Kraken has no finer ones than ten.
const mostDecimals = 18

// product reads how a pair is traded.
func (p *assetPair) product() (venue.Product, error) {
	if p.LotDecimals < 0 || p.LotDecimals > mostDecimals || p.LotMultiplier != 1 {
		return venue.Product{}, fmt.Errorf("%w: its quantities are not counted in a step to go by", venue.ErrMalformed)
	}
	product := venue.Product{BaseIncrement: decimal.New(1, -p.LotDecimals)}
	for _, field := range []struct {
		name, text string
		required   bool
		into       *decimal.Decimal
	}{
		{"tick_size", p.TickSize, true, &product.PriceIncrement},
		{"ordermin", p.OrderMinimum, false, &product.BaseMinSize},
		{"costmin", p.CostMinimum, false, &product.QuoteMinSize},
	} {
		if field.text == "" && !field.required {
			continue
		}
		value, err := rest.Number(field.name, field.text)
		if err == nil && field.required && !value.IsPositive() {
			err = fmt.Errorf("%w: %s is zero", venue.ErrMalformed, field.name)
		}
		if err != nil {
			return venue.Product{}, err
		}
		*field.into = value
	}
	product.Untradable = untradable(p.Status)
	return product, nil
}

// untradable says why a status lets no limit order of ours in.
func untradable(status string) string {
	switch status {
	case "online", "limit_only":
		return ""
	case "cancel_only":
		return "takes cancellations only"
	case "post_only":
		return "takes orders that rest only"
	case "reduce_only":
		return "takes orders that reduce margin positions only"
	case "delisted":
		return "is not listed any more"
	}
	return "is not online"
}

// listing is a pair of the agent's and how Kraken spells it.
type listing struct {
	instrument market.Instrument
	// symbol that orders are placed with.
	symbol string
}

// listings finds the agent's pairs by every spelling that Kraken uses in its
// answers: the id with trades, the short name with orders.
type listings struct {
	byPair     map[string]*listing
	bySpelling map[string]*listing
}

func newListings(options *Options) (*listings, error) {
	spellings, err := options.Spell("Kraken", Symbol, func(symbol string) string { return symbol })
	if err != nil {
		return nil, err
	}
	l := &listings{byPair: map[string]*listing{}}
	for pair, symbol := range spellings.Symbols {
		if !symbolShape.MatchString(symbol) {
			return nil, fmt.Errorf("%s: %q is not how Kraken spells a pair; it is like XBTUSD", pair, symbol)
		}
		l.byPair[pair] = &listing{instrument: spellings.Instruments[pair], symbol: symbol}
	}
	return l, nil
}

// symbols that orders are placed with, in order.
func (l *listings) symbols() []string {
	symbols := make([]string, 0, len(l.byPair))
	for _, known := range l.byPair {
		symbols = append(symbols, known.symbol)
	}
	slices.Sort(symbols)
	return symbols
}

// spelled takes in what AssetPairs has told of the agent's pairs.
func (l *listings) spelled(pairs map[string]assetPair) error {
	found := map[string]*listing{}
	for _, known := range l.byPair {
		id, pair, ok := find(pairs, known.symbol)
		if !ok {
			return fmt.Errorf("%w: Kraken does not list %s as %s", venue.ErrNoSuchThing, known.instrument.Pair, known.symbol)
		}
		for _, spelling := range []string{known.symbol, id, pair.AltName, pair.WebSocketName} {
			if spelling != "" {
				found[spelling] = known
			}
		}
	}
	l.bySpelling = found
	return nil
}

func find(pairs map[string]assetPair, symbol string) (string, *assetPair, bool) {
	for id, pair := range pairs {
		if pair.spells(id, symbol) {
			return id, &pair, true
		}
	}
	return "", nil, false
}
