package ledger_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// owned is what a position is in the base currency, change among it.
func owned(instrument market.Instrument, position ledger.Position) decimal.Decimal {
	return instrument.QuantityDecimal(position.Quantity).Add(position.Change.Decimal())
}

// Ten parts of an order with a fee of a part of a lot each, as at Alpaca, lose one
// lot to them and not ten.
func TestFeesOfPartsTakeOneLot(t *testing.T) {
	pair := instrument("BTC", "USD", "0.01", "0.001")
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", pair))
			id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
			for i := range 10 {
				fill := fillOf(lease, id, strconv.Itoa(i), "BTC-USD", order.Buy, 1, 6_000_000, "0.0000025")
				fill.FeeCurrency = "BTC"
				bookFill(t, b, lease, fill)
			}
			want := ledger.Position{Quantity: 9, Cost: money("540"), Change: money("0.000975")}
			if got := load(t, b, acquire(t, b, trader("a", pair))).Positions["BTC-USD"]; got != want {
				t.Errorf("0.01 BTC less ten fees are %+v, want %+v", got, want)
			}
		})
	}
}

// Whatever is bought, sold and charged: lots and change are together what an
// independent sum of the same fills says, and a long position that has just paid a
// fee in kind is every whole lot of it.
func TestChangeAndLotsAreWhatIsOwned(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		lot := decimal.New(rapid.Int64Range(1, 40).Draw(r, "lot"), -rapid.Int32Range(1, 10).Draw(r, "places"))
		pair := instrument("BTC", "USD", "0.01", lot.String())
		countable := lot.Equal(lot.Truncate(8))
		var position ledger.Position
		sum := decimal.Zero
		for i := range rapid.IntRange(1, 40).Draw(r, "fills") {
			fill := order.Fill{
				TradeID: strconv.Itoa(i), Pair: "BTC-USD", Side: rapid.SampledFrom([]order.Side{order.Buy, order.Buy, order.Sell}).Draw(r, "side"),
				Quantity: market.Quantity(rapid.IntRange(1, 30).Draw(r, "lots")), Price: market.Price(rapid.IntRange(1, 10_000_000).Draw(r, "ticks")),
				Fee: market.Money(rapid.Int64Range(-400_000, 4_000_000).Draw(r, "fee")), FeeCurrency: rapid.SampledFrom([]string{"BTC", "BTC", "USD"}).Draw(r, "currency"),
			}
			// Fees of some lots at most, however small these are.
			fill.Fee = market.Money(min(int64(fill.Fee), lot.Shift(8).Mul(decimal.NewFromInt(5)).IntPart()))
			before := position.Quantity + fill.Quantity*market.Quantity(fill.Side)
			var err error
			if position, err = position.After(pair, fill); err != nil {
				r.Fatal(err)
			}
			sum = sum.Add(pair.QuantityDecimal(fill.Quantity * market.Quantity(fill.Side)))
			if fill.FeeCurrency == "USD" {
				if position.Quantity != before {
					r.Fatalf("fill %d: a fee in USD has moved %d lots", i, before-position.Quantity)
				}
			} else {
				sum = sum.Sub(fill.Fee.Decimal())
			}
			if got := owned(pair, position); !got.Equal(sum) {
				r.Fatalf("fill %d: lots and change are %s, what was bought less what was sold and paid is %s", i, got, sum)
			}
			paid := fill.FeeCurrency == "BTC" && fill.Fee != 0 && before > 0 && !sum.IsNegative()
			if whole := sum.Div(lot).Floor().IntPart(); paid && countable && int64(position.Quantity) != whole {
				r.Fatalf("fill %d: %d lots are held of %s, which are %d", i, position.Quantity, sum, whole)
			}
			if position.Quantity == 0 && position.Cost != 0 || position.Quantity > 0 && position.Cost < 0 {
				r.Fatalf("fill %d: %+v", i, position)
			}
		}
	})
}

// Change is of who has paid the fee and in which pair: the next agent adopts the
// lots alone, and a fee of another pair in the same currency is none.
func TestChangeStaysWhereItIs(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			bought := func(lease ledger.Lease, sequence int64, pair, fee string) {
				t.Helper()
				id := ordered(t, b, lease, sequence, pair, order.Buy, 10)
				fill := fillOf(lease, id, fmt.Sprint(lease.Agent.Name, sequence), pair, order.Buy, 10, 1_000_000, fee)
				fill.FeeCurrency = "BTC"
				bookFill(t, b, lease, fill)
			}
			held := func(lease ledger.Lease, pair string, lots market.Quantity, change string) {
				t.Helper()
				if got := load(t, b, lease).Positions[pair]; got.Quantity != lots || got.Change != money(change) {
					t.Errorf("%s of %s: %d lots and %s, want %d and %s", pair, lease.Agent, got.Quantity, got.Change, lots, change)
				}
			}
			bought(lease, 1, "BTC-USD", "0.00003")
			bought(lease, 2, "ETH-USD", "0.5")
			held(lease, "BTC-USD", 9, "0.00007")
			held(lease, "ETH-USD", 10, "0")
			// A pair that was given up and is taken back has its change.
			sold := ordered(t, b, lease, 3, "BTC-USD", order.Sell, 9)
			bookFill(t, b, lease, fillOf(lease, sold, "sold", "BTC-USD", order.Sell, 9, 1_000_000, "0"))
			acquire(t, b, trader("a", eth))
			lease = acquire(t, b, trader("a", btc, eth))
			held(lease, "BTC-USD", 0, "0.00007")
			bought(lease, 4, "BTC-USD", "0.00003")
			held(lease, "BTC-USD", 10, "0.00004")
			if err := b.Release(t.Context(), lease.Agent.UID); err != nil {
				t.Fatal(err)
			}
			heir := acquire(t, b, trader("heir", btc))
			held(heir, "BTC-USD", 10, "0")
			bought(heir, 1, "BTC-USD", "0.00003")
			held(heir, "BTC-USD", 19, "0.00007")
		})
	}
}

// oldRule books a purchase of one lot whose fee takes a whole lot, whatever change
// there is, as the ledger did before.
const oldRule = `WITH t AS (
		INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time) VALUES ('uid-a', 'Fill', 1, now()) RETURNING id
	), p AS (
		INSERT INTO trading.postings (transaction_id, agent_uid, ledger_account, pair, currency, amount)
		SELECT t.id, 'uid-a', u.* FROM t, (VALUES ('equity:exchange', 'BTC-USD', 'BTC', -0.0001), ('assets:cash', '', 'USD', -1),
			('income:realised', 'BTC-USD', 'USD', 1), ('expenses:fees', 'BTC-USD', 'BTC', 0.000025), ('assets:cash', '', 'BTC', 0.000075)) u
	)
	INSERT INTO trading.fills (venue, account, trade_id, order_id, agent_uid, epoch, pair, side, quantity, price, value, fee, fee_currency,
		realised, quantity_lots, price_ticks, fee_quantity, transaction_id, market_time)
	SELECT 'Paper', 'account', 'old ' || t.id, i.id, 'uid-a', 1, 'BTC-USD', 'Buy', 0.0001, 10000, 1, 0.000025, 'BTC', -1, 1, 1000000, 0.0001, t.id, now()
	FROM t, trading.intents i`

// A ledger in which each fee took a lot is whole, and loads; with the next fee the
// lots that the others took too much come back into the position.
func TestLedgersOfTheOldRule(t *testing.T) {
	b, uri := openLedger(t)
	lease := acquire(t, b, trader("a", btc))
	id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 100)
	for range 10 {
		if err := exec(t, b, oldRule); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, uri)
	if got, want := load(t, b, lease).Positions["BTC-USD"], (ledger.Position{Change: money("0.00075")}); got != want {
		t.Errorf("ten lots less ten fees are loaded as %+v, want %+v", got, want)
	}
	fills := make([]order.Fill, 3)
	for i := range fills {
		fills[i] = fillOf(lease, id, strconv.Itoa(i), "BTC-USD", order.Buy, 1, 1_000_000, "0.000025")
		fills[i].FeeCurrency = "BTC"
	}
	bookFill(t, b, lease, fills[0])
	// Seven come back at the price of the one that is held then.
	if got, want := load(t, b, lease).Positions["BTC-USD"], (ledger.Position{Quantity: 8, Cost: money("8"), Change: money("0.000025")}); got != want {
		t.Errorf("one lot more is %+v, want %+v", got, want)
	}
	if _, err := b.BookFills(t.Context(), lease, fills[1:]); err != nil {
		t.Fatal(err)
	}
	if got, want := load(t, b, lease).Positions["BTC-USD"], (ledger.Position{Quantity: 9, Cost: money("9"), Change: money("0.000075")}); got != want {
		t.Errorf("three lots more are %+v, want %+v", got, want)
	}
	checkBooks(t, b)
	verify(t, uri)
}
