package alpaca

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func fuzzed(f *testing.F) *Venue {
	f.Helper()
	instrument, err := market.NewInstrument("BTC", "USD", decimal.New(1, -2), decimal.New(1, -8), decimal.Zero)
	if err != nil {
		f.Fatal(err)
	}
	v, err := New(Options{Environment: v1alpha1.EnvironmentSandbox, Instruments: []market.Instrument{instrument}, Credentials: &Credentials{id: "k", secret: "s"}})
	if err != nil {
		f.Fatal(err)
	}
	return v
}

// FuzzOrder reads any text as an order: what is understood is whole.
func FuzzOrder(f *testing.F) {
	f.Add(`{"id":"61e69015-8549-4bfd-b9c3-01e75843f47d","client_order_id":"1d17b155-4a17-5119-8099-392774789dae","symbol":"BTC/USD","side":"buy","qty":"1","filled_qty":"0.5","status":"partially_filled"}`)
	f.Add(`{"id":"61e69015-8549-4bfd-b9c3-01e75843f47d","symbol":"BTCUSD","side":"sell","filled_qty":"1e9","status":"filled"}`)
	f.Add(`[{"id":1}]`)
	v := fuzzed(f)
	f.Fuzz(func(t *testing.T, text string) {
		var told orderTold
		if json.Unmarshal([]byte(text), &told) != nil {
			return
		}
		o, err := v.read(&told)
		if err != nil {
			return
		}
		switch o.State {
		case order.Acked, order.Filled, order.Cancelled:
		default:
			t.Fatalf("it is in state %s", o.State)
		}
		if o.VenueOrderID == "" || o.Pair != "BTC-USD" || o.Filled < 0 {
			t.Fatalf("it is read as %+v", o)
		}
	})
}

// FuzzExecution reads any text as an execution: what is understood is of something.
func FuzzExecution(f *testing.F) {
	f.Add(`{"id":"20210127144930176::ddc0a142-ebfd-4890-9021-641d33e58742","transaction_time":"2021-01-27T19:49:30.176Z","price":"31.6","qty":"100","side":"buy","symbol":"BTC/USD","cum_qty":"869","order_id":"ee8058e5-41a0-48fd-8156-915ae0af6d17"}`)
	f.Add(`{"price":"0","qty":"1","cum_qty":"0.5","side":"sell"}`)
	v := fuzzed(f)
	f.Fuzz(func(t *testing.T, text string) {
		var told execution
		if json.Unmarshal([]byte(text), &told) != nil {
			return
		}
		if _, err := moment(told.At); err != nil {
			return
		}
		fill, err := v.readFill(&told, "BTC-USD", time.Now())
		if err == nil && (fill.Quantity < 0 || fill.Price <= 0 || fill.Fee < 0 || fill.FeeCurrency == "") {
			t.Fatalf("it is read as %+v", fill)
		}
	})
}

// FuzzAsset reads any text as an asset: what is understood has steps.
func FuzzAsset(f *testing.F) {
	f.Add(`{"symbol":"BTC/USD","class":"crypto","status":"active","tradable":true,"min_order_size":"0.0001","min_trade_increment":"0.0001","price_increment":"1"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var told assetTold
		if json.Unmarshal([]byte(text), &told) != nil {
			return
		}
		product, err := told.product("BTC/USD")
		if err == nil && (!product.PriceIncrement.IsPositive() || !product.BaseIncrement.IsPositive() || product.BaseMinSize.IsNegative()) {
			t.Fatalf("it is read as %+v", product)
		}
	})
}

// FuzzCredentials reads any two texts as a key. Every objection is one of two
// sentences, so that none repeats its input.
func FuzzCredentials(f *testing.F) {
	f.Add("PKABCDEFGH12345678", "abcdefghijklmnopqrstuvwxyz0123456789ABCD")
	f.Add("two\nlines", "x")
	_, badID := ParseCredentials("", "")
	_, badSecret := ParseCredentials("PKABCDEFGH12345678", "")
	f.Fuzz(func(t *testing.T, id, secret string) {
		credentials, err := ParseCredentials(id, secret)
		switch {
		case err == nil && credentials.String() != "(credentials)":
			t.Fatalf("credentials print as %s", credentials)
		case err != nil && err.Error() != badID.Error() && err.Error() != badSecret.Error():
			t.Fatalf("it objects in words of its own: %v", err)
		}
	})
}
