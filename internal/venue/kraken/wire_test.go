package kraken

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

func instrument(tb testing.TB, tick, lot string) market.Instrument {
	tb.Helper()
	made, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString(tick), decimal.RequireFromString(lot), decimal.Zero)
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// The whole table of what a refused placement means: what is not definitive stays
// open, whatever it sounds like.
func TestDefinitiveRefusals(t *testing.T) {
	for said, want := range map[string]bool{
		"EOrder:Insufficient funds":                      true,
		"EOrder:Order minimum not met":                   true,
		"EOrder:Cost minimum not met":                    true,
		"EOrder:Tick size check failed":                  true,
		"EOrder:Rate limit exceeded":                     true,
		"EOrder:Orders limit exceeded":                   true,
		"EGeneral:Invalid arguments":                     true,
		"EGeneral:Invalid arguments:volume":              true,
		"EGeneral:Permission denied":                     true,
		"EAPI:Invalid key":                               true,
		"EAPI:Invalid signature":                         true,
		"EAPI:Rate limit exceeded":                       true,
		"EQuery:Unknown asset pair":                      true,
		"EService:Market in cancel_only mode":            true,
		"EService:Market in post_only mode":              true,
		"EAPI:Invalid nonce":                             false,
		"EGeneral:Internal error":                        false,
		"EGeneral:Internal error:42":                     false,
		"EService:Unavailable":                           false,
		"EService:Busy":                                  false,
		"EService:Timeout":                               false,
		"EService:Deadline elapsed":                      false,
		"EGeneral:Invalid arguments:cl_ord_id in use":    false,
		"EOrder:Duplicate client order id":               false,
		"EOrder:Invalid price and something else":        false,
		"EOrder:Insufficient fundsomething":              false,
		"something of which nobody knows what it means":  false,
		"EUnknown:Insufficient funds":                    false,
		"WDatabase:not an error":                         false,
		"EOrder:Insufficient funds\nEOrder:and a secret": false,
	} {
		refused := saidErrors([]string{said})
		if got := refused != nil && refused.refusesForGood(); got != want {
			t.Errorf("%q is definitive: %t, want %t", said, got, want)
		}
	}
	if saidErrors([]string{"EOrder:Insufficient funds", "EService:Timeout"}).refusesForGood() {
		t.Error("one open error beside a definitive one counts as definitive")
	}
	if !saidErrors([]string{"EOrder:Insufficient funds", "WGeneral:Slow"}).refusesForGood() {
		t.Error("a warning makes a refusal less definitive")
	}
	if said := saidErrors([]string{"EGeneral:<b>Bearer secret</b>"}); said.Error() != "Kraken says "+unspoken {
		t.Errorf("it repeats %v", said)
	}
}

func TestQuestions(t *testing.T) {
	for said, want := range map[string]error{
		"EAPI:Invalid key":           venue.ErrRefused,
		"EAPI:Invalid signature":     venue.ErrRefused,
		"EGeneral:Permission denied": venue.ErrForbidden,
		"EQuery:Unknown asset pair":  venue.ErrNoSuchThing,
		"EGeneral:Unknown method":    venue.ErrNoEndpoint,
		"EAPI:Invalid nonce":         venue.ErrUnreachable,
		"EService:Unavailable":       venue.ErrUnreachable,
	} {
		if got := questionError(saidErrors([]string{said})); !errors.Is(got, want) {
			t.Errorf("%q: got %v, want %v", said, got, want)
		}
	}
	for _, said := range []string{"EAPI:Rate limit exceeded", "EGeneral:Temporary lockout", "EService:Throttled:1741500000"} {
		if limited, ok := errors.AsType[*venue.RateLimitedError](questionError(saidErrors([]string{said}))); !ok || limited.After != limitedFor {
			t.Errorf("%q: got %v", said, limited)
		}
	}
}

func TestStates(t *testing.T) {
	one, two := decimal.NewFromInt(1), decimal.NewFromInt(2)
	for _, test := range []struct {
		status   string
		executed decimal.Decimal
		want     order.State
	}{
		{"pending", decimal.Zero, order.Acked}, {"open", one, order.Acked}, {"closed", two, order.Filled},
		{"closed", one, order.Cancelled}, {"canceled", one, order.Cancelled}, {"expired", decimal.Zero, order.Cancelled},
	} {
		if got, err := stateOf(test.status, two, test.executed); got != test.want || err != nil {
			t.Errorf("%s with %s of 2: got %s, %v, want %s", test.status, test.executed, got, err, test.want)
		}
	}
	if got, err := stateOf("settled", two, one); !errors.Is(err, venue.ErrMalformed) {
		t.Errorf("a status that is not known: got %s, %v", got, err)
	}
}

func TestMoments(t *testing.T) {
	for text, want := range map[json.Number]time.Time{
		"1688667796.8802":            time.Unix(1688667796, 880_200_000),
		"1688667796":                 time.Unix(1688667796, 0),
		"1688667796.000000001":       time.Unix(1688667796, 1),
		"1688667796.123456789123456": time.Unix(1688667796, 123_456_789),
	} {
		if got, err := moment(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []json.Number{"", "-1", "1e30", "99999999999999", "0x10"} {
		if got, err := moment(text); err == nil {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

func TestSymbols(t *testing.T) {
	for pair, want := range map[[2]string]string{
		{"BTC", "USD"}: "XBTUSD", {"ETH", "BTC"}: "ETHXBT", {"DOGE", "EUR"}: "XDGEUR", {"SOL", "USD"}: "SOLUSD",
	} {
		if got := Symbol(pair[0], pair[1]); got != want {
			t.Errorf("%v: got %s, want %s", pair, got, want)
		}
	}
	for code, want := range map[string]string{"XXBT": "BTC", "ZUSD": "USD", "XETH": "ETH", "SOL": "SOL", "XTZ": "XTZ", "ZRX": "ZRX", "XXDG": "DOGE"} {
		if got := currencyOf(code); got != want {
			t.Errorf("%s: got %s, want %s", code, got, want)
		}
	}
}

// FuzzOrders reads any answer as a list of orders. What it understands is an order
// that adds up.
func FuzzOrders(f *testing.F) {
	f.Add([]byte(`{"error":[],"result":{"open":{"OUF4EM-FRGI2-MQMWZD":{"status":"open","opentm":1688666559.8974,"vol":"1.25","vol_exec":"0.375","descr":{"pair":"XBTUSD","type":"buy"},"cl_ord_id":"1d17b155-4a17-5119-8099-392774789dae"}}}}`))
	f.Add([]byte(`{"error":["EOrder:Unknown order"]}`))
	f.Add([]byte(`{"error":[],"result":{"open":{}}}`))
	f.Add([]byte(`{"error":[],"result":{"open":{"O":{"vol":"1e99"}}}}`))
	btc := instrument(f, "0.1", "0.0001")
	f.Fuzz(func(t *testing.T, answer []byte) {
		var told struct {
			Open map[string]orderInfo `json:"open"`
		}
		if err := open(answer, &told); err != nil {
			return
		}
		for id, info := range told.Open {
			got, err := info.read(id, btc)
			if err != nil {
				continue
			}
			volume := decimal.RequireFromString(info.Volume)
			filled := btc.QuantityDecimal(got.Filled)
			rounded := filled.Sub(decimal.RequireFromString(info.Executed)).Abs()
			if got.State == "" || got.VenueOrderID != id || got.Filled < 0 || rounded.GreaterThanOrEqual(btc.Lot) ||
				got.State == order.Filled && filled.LessThan(volume.Sub(btc.Lot)) {
				t.Errorf("%+v is told as %+v", info, got)
			}
		}
	})
}

// FuzzTrades reads any answer as a page of trades. What it understands can be booked.
func FuzzTrades(f *testing.F) {
	f.Add([]byte(`{"error":[],"result":{"count":1,"trades":{"THVRQM-33VKH-UCI7BS":{"ordertxid":"OQCLML-BW3P3-BUCMWZ","pair":"XXBTZUSD","time":1688667796.8802,"type":"buy","price":"30010.0","fee":"0.02","vol":"0.02000000"}}}}`))
	f.Add([]byte(`{"error":[],"result":{"trades":{"T":{"time":"x"}}}}`))
	f.Add([]byte(`{"error":[],"result":null}`))
	btc := &listing{instrument: instrument(f, "0.5", "0.0001")}
	f.Fuzz(func(t *testing.T, answer []byte) {
		var page struct {
			Trades map[string]tradeInfo `json:"trades"`
		}
		if err := open(answer, &page); err != nil {
			return
		}
		for id, info := range page.Trades {
			read, err := info.read(id, btc)
			if err != nil {
				continue
			}
			fill, err := read.fill(known{}, decimal.Zero)
			if err != nil {
				continue
			}
			if fill.TradeID != id || fill.Price < 1 || fill.Quantity < 0 || fill.Fee < 0 || fill.MarketTime.IsZero() || fill.Side != order.Buy && fill.Side != order.Sell {
				t.Errorf("%+v is told as %+v", info, fill)
			}
		}
	})
}

// FuzzProduct reads any answer as a pair.
func FuzzProduct(f *testing.F) {
	f.Add([]byte(`{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","lot_decimals":8,"lot_multiplier":1,"ordermin":"0.0001","costmin":"0.5","tick_size":"0.1","status":"online"}}}`))
	f.Add([]byte(`{"error":["EQuery:Unknown asset pair"]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		var pairs map[string]assetPair
		if err := open(answer, &pairs); err != nil {
			return
		}
		for _, pair := range pairs {
			product, err := pair.product()
			if err == nil && (!product.PriceIncrement.IsPositive() || !product.BaseIncrement.IsPositive() || product.QuoteMinSize.IsNegative() || product.BaseMinSize.IsNegative()) {
				t.Errorf("%+v is told as %+v", pair, product)
			}
		}
	})
}
