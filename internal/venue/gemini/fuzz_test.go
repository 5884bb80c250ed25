package gemini

import (
	"encoding/json"
	"testing"

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
	v, err := New(Options{Environment: v1alpha1.EnvironmentSandbox, Instruments: []market.Instrument{instrument}, Credentials: &Credentials{key: "k", secret: []byte("s")}})
	if err != nil {
		f.Fatal(err)
	}
	return v
}

// FuzzOrder reads any text as an order: what is understood is whole.
func FuzzOrder(f *testing.F) {
	f.Add(`{"order_id":"106817811","client_order_id":"1d17b155-4a17-5119-8099-392774789dae","symbol":"BTCUSD","side":"buy","is_live":true,"is_cancelled":false,"executed_amount":"3.7567928949","original_amount":"5"}`)
	f.Add(`{"order_id":106817811,"symbol":"btcusd","side":"sell","is_live":false,"is_cancelled":true,"executed_amount":0,"original_amount":5,"trades":[{"tid":1}]}`)
	v := fuzzed(f)
	f.Fuzz(func(t *testing.T, content string) {
		var told orderTold
		if json.Unmarshal([]byte(content), &told) != nil {
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

// FuzzTrade reads any text as a trade: what is understood is of something.
func FuzzTrade(f *testing.F) {
	f.Add(`{"price":"3648.09","amount":"0.0027343246","timestampms":1547232911021,"type":"Buy","fee_currency":"USD","fee_amount":"0.024937655575035","tid":107317526,"order_id":"107317524","symbol":"BTCUSD"}`)
	f.Add(`{"price":1e3,"amount":"-1","timestampms":"99999999999999999","type":"Sell","fee_amount":-1,"break":"full"}`)
	v := fuzzed(f)
	f.Fuzz(func(t *testing.T, content string) {
		var told trade
		if json.Unmarshal([]byte(content), &told) != nil {
			return
		}
		fill, err := told.fill("BTC-USD", v.spellings.Instruments["BTC-USD"], func(*trade) (decimal.Decimal, error) { return decimal.Zero, nil })
		if err == nil && (fill.Quantity < 0 || fill.Price <= 0 || fill.FeeCurrency == "" || fill.TradeID == "" || fill.MarketTime.IsZero()) {
			t.Fatalf("it is read as %+v", fill)
		}
	})
}

// FuzzDetails reads any text as a symbol's details: what is understood has steps.
func FuzzDetails(f *testing.F) {
	f.Add(`{"symbol":"BTCUSD","tick_size":1E-8,"quote_increment":0.01,"min_order_size":"0.00001","status":"open","product_type":"spot"}`)
	f.Add(`{"symbol":"btcusd","tick_size":1E-99,"quote_increment":"0","min_order_size":1}`)
	f.Fuzz(func(t *testing.T, content string) {
		var told details
		if json.Unmarshal([]byte(content), &told) != nil {
			return
		}
		product, err := told.product("btcusd")
		if err == nil && (!product.PriceIncrement.IsPositive() || !product.BaseIncrement.IsPositive() || product.BaseMinSize.IsNegative()) {
			t.Fatalf("it is read as %+v", product)
		}
	})
}

// FuzzCredentials reads any two texts as a key. Every objection is one of three
// sentences, so that none repeats its input.
func FuzzCredentials(f *testing.F) {
	const key, secret = "account-ABCDEFGH12345678", "abcdefghijklmnopqrstuvwxyz"
	f.Add(key, secret)
	f.Add("two\nlines", "x")
	sentences := map[string]bool{}
	for _, wrong := range [][2]string{{"master-ABCDEFGH12345678", secret}, {"", secret}, {key, ""}} {
		f.Add(wrong[0], wrong[1])
		_, err := ParseCredentials(wrong[0], wrong[1])
		if err == nil {
			f.Fatal("a wrong key is taken")
		}
		sentences[err.Error()] = true
	}
	if len(sentences) != 3 {
		f.Fatalf("there are %d sentences: %v", len(sentences), sentences)
	}
	f.Fuzz(func(t *testing.T, key, secret string) {
		credentials, err := ParseCredentials(key, secret)
		switch {
		case err == nil && credentials.String() != "(credentials)":
			t.Fatalf("credentials print as %s", credentials)
		case err != nil && !sentences[err.Error()]:
			t.Fatalf("it objects in words of its own: %v", err)
		}
	})
}
