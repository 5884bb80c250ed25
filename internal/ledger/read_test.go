package ledger_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func openReader(tb testing.TB, uri, agentUID string) *ledger.PostgresReader {
	tb.Helper()
	reader, err := ledger.OpenReader(tb.Context(), database.Fixed(uri), agentUID)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(reader.Close)
	return reader
}

// walk reads a list to its end, page by page.
func walk[T any](t *rapid.T, limit int, read func(ctx context.Context, cursor string) (ledger.Page[T], error)) []T {
	t.Helper()
	var all []T
	cursor := ""
	for range 1000 {
		page, err := read(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) > limit || (page.Next != "" && len(page.Items) < limit) {
			t.Fatalf("a page of %d items, asked for %d; the next begins at %q", len(page.Items), limit, page.Next)
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all
		}
		cursor = page.Next
	}
	t.Fatal("a list without an end")
	return nil
}

// Whatever happened to an agent, the reader of the ledger in memory and that of
// the one in PostgreSQL tell the same, however the list is cut into pages.
func TestReadersTellTheSame(t *testing.T) {
	stored, uri := openLedger(t)
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		kept := ledger.NewMemoryWithHistory()
		h := newHistory(t, r, strconv.Itoa(run), kept, stored)
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			h.step()
		}
		reader, err := ledger.OpenReader(t.Context(), database.Fixed(uri), h.agent.UID)
		if err != nil {
			r.Fatal(err)
		}
		defer reader.Close()
		compareReaders(r, h, kept.Reader(h.agent.UID), reader)
	})
}

func compareReaders(r *rapid.T, h *history, memory, postgres ledger.Reader) {
	query := ledger.Query{
		Pair:  rapid.SampledFrom([]string{"", "BTC-USD", "ETH-USD", "SOL-USD"}).Draw(r, "of pair"),
		Limit: rapid.SampledFrom([]int{1, 2, 7, ledger.MaxPage}).Draw(r, "limit"),
	}
	orders := ledger.OrderQuery{Query: query, States: rapid.SampledFrom([][]order.State{nil, {order.Filled}, {order.Intended, order.Acked}}).Draw(r, "states")}
	fills := ledger.FillQuery{Query: query}
	if len(h.orders) > 0 && rapid.Bool().Draw(r, "of one order") {
		fills.Order = rapid.SampledFrom(h.orders).Draw(r, "its order").ID
	}
	equity := ledger.EquityQuery{Query: query, Step: rapid.SampledFrom([]time.Duration{0, time.Hour, 7 * time.Hour, 24 * time.Hour}).Draw(r, "step")}
	if rapid.Bool().Draw(r, "bounded") {
		equity.From, equity.To = h.hour(), h.hour()
	}
	each := func(reader ledger.Reader, limit int) []any {
		query.Limit, orders.Limit, fills.Limit, equity.Limit = limit, limit, limit, limit
		return []any{
			walk(r, query.Limit, func(ctx context.Context, cursor string) (ledger.Page[ledger.OrderRecord], error) {
				orders.Cursor = cursor
				return reader.Orders(ctx, orders)
			}),
			walk(r, query.Limit, func(ctx context.Context, cursor string) (ledger.Page[ledger.FillRecord], error) {
				fills.Cursor = cursor
				return reader.Fills(ctx, fills)
			}),
			walk(r, query.Limit, func(ctx context.Context, cursor string) (ledger.Page[ledger.DecisionRecord], error) {
				query.Cursor = cursor
				return reader.Decisions(ctx, query)
			}),
			walk(r, query.Limit, func(ctx context.Context, cursor string) (ledger.Page[ledger.EquityRecord], error) {
				equity.Cursor = cursor
				return reader.Equity(ctx, equity)
			}),
		}
	}
	limit := query.Limit
	whole := each(memory, ledger.MaxPage)
	for kind, cut := range map[string][]any{"memory": each(memory, limit), "PostgreSQL": each(postgres, limit)} {
		if diff := cmp.Diff(whole, cut, cmpopts.EquateEmpty(), cmp.Comparer(decimal.Decimal.Equal)); diff != "" {
			r.Fatalf("in pages of %d, %s differs (-all at once +pages):\n%s", limit, kind, diff)
		}
	}
	for _, intent := range h.orders {
		one, err := memory.Order(r.Context(), intent.ID)
		two, err2 := postgres.Order(r.Context(), intent.ID)
		if diff := cmp.Diff(one, two, cmp.Comparer(decimal.Decimal.Equal)); diff != "" || err != nil || err2 != nil {
			r.Fatalf("order %s: %v, %v (-memory +PostgreSQL):\n%s", intent.ID, err, err2, diff)
		}
	}
}

// Both readers, on a ledger with a little history.
func withReaders(t *testing.T, check func(t *testing.T, b book, lease ledger.Lease, reader ledger.Reader)) {
	t.Helper()
	t.Run("Memory", func(t *testing.T) {
		kept := ledger.NewMemoryWithHistory()
		check(t, kept, acquire(t, kept, trader("a", btc, eth)), kept.Reader("uid-a"))
	})
	t.Run("Postgres", func(t *testing.T) {
		b, uri := openLedger(t)
		check(t, b, acquire(t, b, trader("a", btc, eth)), openReader(t, uri, "uid-a"))
	})
}

func TestReaderTellsWhatHappened(t *testing.T) {
	withReaders(t, func(t *testing.T, b book, lease ledger.Lease, reader ledger.Reader) {
		t.Helper()
		of := intent(lease, 1, 0, "BTC-USD", order.Buy, 20_000)
		if err := b.Decide(t.Context(), lease, decide(1, "BTC-USD", noon), []order.Intent{of}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		bookFill(t, b, lease, fillOf(lease, of.ID, "t1", "BTC-USD", order.Buy, 5_000, 1_000_000, "0.25"))
		if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: of.ID, State: order.Cancelled, VenueOrderID: "v7", Reason: "Expired", MarketTime: noon.Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		for hours, equity := range []string{"10000", "9999.5", "10001"} {
			mark := ledger.Mark{Pair: "BTC-USD", MarketTime: noon.Add(time.Duration(hours) * time.Hour), Price: 5, Equity: money(equity), PeakEquity: money("10001"), DayStart: noon, DayStartEquity: money("10000")}
			if err := b.SaveMark(t.Context(), lease, mark); err != nil {
				t.Fatal(err)
			}
		}
		order1, err := reader.Order(t.Context(), of.ID)
		if err != nil || order1.State != order.Cancelled || order1.Ended != "Expired" || order1.VenueOrderID != "v7" || order1.Quantity.String() != "2" ||
			order1.Filled.String() != "0.5" || order1.Limit.String() != "10000" || order1.Reason != "Decision" || !order1.UpdatedAt.Equal(noon.Add(time.Minute)) {
			t.Errorf("the order is told as %+v, %v", order1, err)
		}
		fills, err := reader.Fills(t.Context(), ledger.FillQuery{Query: ledger.Query{Limit: 10}})
		if err != nil || len(fills.Items) != 1 || fills.Items[0].Value.String() != "5000" || fills.Items[0].Fee.String() != "0.25" || fills.Items[0].OrderID != of.ID {
			t.Errorf("the fills are told as %+v, %v", fills, err)
		}
		decisions, err := reader.Decisions(t.Context(), ledger.Query{Limit: 10})
		if err != nil || len(decisions.Items) != 1 || string(decisions.Items[0].Reasoning) != `{"judge": "Buy",  "bull": 0.9}` || decisions.Items[0].Orders[0] != of.ID {
			t.Errorf("the decisions are told as %+v, %v", decisions, err)
		}
		equity, err := reader.Equity(t.Context(), ledger.EquityQuery{Query: ledger.Query{Limit: 2}})
		if err != nil || len(equity.Items) != 2 || equity.Items[0].Equity != money("10001") || equity.Next == "" {
			t.Errorf("the equity is told as %+v, %v", equity, err)
		}
		// Spans include their end: noon and the hour before it are one half day.
		equity, err = reader.Equity(t.Context(), ledger.EquityQuery{Query: ledger.Query{Limit: 9}, Step: 12 * time.Hour})
		if err != nil || len(equity.Items) != 2 || !equity.Items[1].MarketTime.Equal(noon) {
			t.Errorf("in half days the equity is told as %+v, %v", equity, err)
		}
	})
}

func TestReaderRefusesWhatItCannotKnow(t *testing.T) {
	withReaders(t, func(t *testing.T, _ book, _ ledger.Lease, reader ledger.Reader) {
		t.Helper()
		if _, err := reader.Order(t.Context(), uuid.New()); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("an unknown order: %v", err)
		}
		// Neither nonsense, nor the cursor of another list, nor a second spelling.
		for _, cursor := range []string{"!", "MQ==", "MS4y", "MDE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"} {
			query := ledger.Query{Cursor: cursor, Limit: 1}
			_, orders := reader.Orders(t.Context(), ledger.OrderQuery{Query: query})
			_, decisions := reader.Decisions(t.Context(), query)
			_, equity := reader.Equity(t.Context(), ledger.EquityQuery{Query: query})
			for list, err := range map[string]error{"orders": orders, "decisions": decisions, "equity": equity} {
				if !errors.Is(err, ledger.ErrCursor) {
					t.Errorf("%s behind the cursor %q: %v", list, cursor, err)
				}
			}
		}
		// A forged cursor at the end of all numbers is one of the list all the same.
		for _, cursor := range []string{"OTIyMzM3MjAzNjg1NDc3NTgwNy45MjIzMzcyMDM2ODU0Nzc1ODA3", "LTkyMjMzNzIwMzY4NTQ3NzU4MDguMA"} {
			if _, err := reader.Fills(t.Context(), ledger.FillQuery{Query: ledger.Query{Cursor: cursor, Limit: 1}}); err != nil {
				t.Errorf("fills behind the cursor %q: %v", cursor, err)
			}
		}
	})
}

// What a reader does can neither write nor wait in the trader's way.
func TestReaderStaysOutOfTheWay(t *testing.T) {
	b, uri := openLedger(t)
	lease := acquire(t, b, trader("a", btc))
	ordered(t, b, lease, 1, "BTC-USD", order.Buy, 1)
	reader := openReader(t, uri, "uid-a")
	// While a writer holds the agent's lease and its orders, readers see the state
	// before it.
	locked, release, undone := make(chan struct{}), make(chan struct{}), errors.New("undone")
	wrote := make(chan error, 1)
	go func() {
		wrote <- b.Database().Write(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			defer close(locked)
			if _, err := tx.Exec(ctx, `LOCK trading.leases, trading.orders IN EXCLUSIVE MODE`); err != nil {
				return err
			}
			locked <- struct{}{}
			<-release
			return undone
		})
	}()
	<-locked
	defer func() {
		close(release)
		if err := <-wrote; !errors.Is(err, undone) {
			t.Errorf("the writer ended with %v", err)
		}
	}()
	if page, err := reader.Orders(t.Context(), ledger.OrderQuery{Query: ledger.Query{Limit: 1}}); err != nil || len(page.Items) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	if got := query[int64](t, b, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trading-operator-api'`); got != 1 {
		t.Errorf("the reader has %d connections; want 1 of its own", got)
	}
	results := make(chan error)
	for range 8 {
		go func() {
			_, err := reader.Fills(t.Context(), ledger.FillQuery{Query: ledger.Query{Limit: 1}})
			results <- err
		}()
	}
	for range 8 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := query[int64](t, b, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trading-operator-api'`); got > 2 {
		t.Errorf("eight readers at once have %d connections; want 2 at most", got)
	}
}

func TestReaderForgetsTheOldest(t *testing.T) {
	kept := ledger.NewMemoryWithHistory()
	lease := acquire(t, kept, trader("a", btc))
	const many = 50_001
	for i := range many {
		mark := ledger.Mark{Pair: "BTC-USD", MarketTime: noon.Add(time.Duration(i) * time.Minute), Price: 5, Equity: market.Money(i)}
		if err := kept.SaveMark(t.Context(), lease, mark); err != nil {
			t.Fatal(err)
		}
	}
	last := noon.Add((many - 1) * time.Minute)
	page, err := kept.Reader("uid-a").Equity(t.Context(), ledger.EquityQuery{Query: ledger.Query{Limit: 1}, To: last.Add(-45_001 * time.Minute)})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("what was to be forgotten is told: %+v, %v", page, err)
	}
	page, err = kept.Reader("uid-a").Equity(t.Context(), ledger.EquityQuery{Query: ledger.Query{Limit: 1}})
	if err != nil || len(page.Items) != 1 || !page.Items[0].MarketTime.Equal(last) {
		t.Errorf("the newest is told as %+v, %v", page, err)
	}
}
