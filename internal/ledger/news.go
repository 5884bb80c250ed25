package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Topics of news.
const (
	NewsDecision = "Decision"
	NewsOrder    = "Order"
	NewsFill     = "Fill"
)

// News were committed together with what they tell of.
type News struct {
	// ID orders the news of an agent. Other agents' ids lie between.
	ID int64
	// Topic is NewsDecision, NewsOrder or NewsFill.
	Topic string
	// Key is the sequence of the decision, the id of the order or the trade id of
	// the fill.
	Key string
	// Payload is a JSON object.
	Payload []byte
	// RecordedAt is when they were committed, in real time.
	RecordedAt time.Time
}

// NewsReader tells the news of one agent, the oldest first.
type NewsReader interface {
	// NewsAfter are the first news behind an id, at most so many.
	NewsAfter(ctx context.Context, after int64, most int) ([]News, error)
	// LatestNews are the last news, at most so many.
	LatestNews(ctx context.Context, most int) ([]News, error)
}

var (
	_ NewsReader = (*PostgresReader)(nil)
	_ NewsReader = (*MemoryReader)(nil)
)

func decisionNews(decision Decision) map[string]any {
	return map[string]any{"pair": decision.Pair, "barEnd": decision.BarEnd, "action": decision.Action, "outcome": decision.Outcome}
}

// intentNews tells of a new order and its first state.
func intentNews(intent order.Intent, state order.State) map[string]any {
	return map[string]any{"pair": intent.Pair, "state": state, "reason": intent.Reason}
}

func updateNews(update OrderUpdate) map[string]any {
	return map[string]any{"state": update.State, "reason": update.Reason}
}

// fillNews tells of a fill; late says that its order had ended before.
func fillNews(instrument market.Instrument, fill order.Fill, state order.State, late bool) map[string]any {
	news := map[string]any{
		"order": fill.OrderID, "state": state, "pair": fill.Pair, "side": side(fill.Side),
		"quantity": instrument.QuantityDecimal(fill.Quantity), "price": instrument.PriceDecimal(fill.Price),
		"fee": fill.Fee.String(), "feeCurrency": fill.FeeCurrency, "marketTime": fill.MarketTime,
	}
	if late {
		news["late"] = true
	}
	return news
}

// NewsAfter implements NewsReader.
func (p *PostgresReader) NewsAfter(ctx context.Context, after int64, most int) ([]News, error) {
	return p.news(ctx, `SELECT id, topic, key, payload, recorded_at FROM trading.outbox
		WHERE agent_uid = $1 AND id > $2 ORDER BY id LIMIT $3`, p.agentUID, after, most)
}

// LatestNews implements NewsReader.
func (p *PostgresReader) LatestNews(ctx context.Context, most int) ([]News, error) {
	found, err := p.news(ctx, `SELECT id, topic, key, payload, recorded_at FROM trading.outbox
		WHERE agent_uid = $1 ORDER BY id DESC LIMIT $2`, p.agentUID, most)
	slices.Reverse(found)
	return found, err
}

func (p *PostgresReader) news(ctx context.Context, statement string, arguments ...any) ([]News, error) {
	var found []News
	err := p.read(ctx, "news", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, statement, arguments...)
		if err != nil {
			return fmt.Errorf("asking for them: %w", err)
		}
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (News, error) {
			var n News
			var payload json.RawMessage
			err := row.Scan(&n.ID, &n.Topic, &n.Key, &payload, &n.RecordedAt)
			n.Payload, n.RecordedAt = payload, n.RecordedAt.UTC()
			return n, err //nolint:wrapcheck // Collected and wrapped below.
		})
		if err != nil {
			return fmt.Errorf("reading them: %w", err)
		}
		return nil
	})
	return found, err
}

// tell adds news to what a ledger in memory keeps.
func (h *memoryHistory) tell(topic, key string, payload map[string]any) {
	text, err := json.Marshal(payload)
	if err != nil { // These maps hold texts, numbers and times.
		return
	}
	h.lastNews++
	h.news = kept(h.news, News{ID: h.lastNews, Topic: topic, Key: key, Payload: text, RecordedAt: time.Now().UTC()})
}

// NewsAfter implements NewsReader.
func (r *MemoryReader) NewsAfter(_ context.Context, after int64, most int) ([]News, error) {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	news := r.history().news
	first, found := slices.BinarySearchFunc(news, after, func(n News, id int64) int { return int(n.ID - id) })
	if found {
		first++
	}
	return slices.Clone(news[first:min(first+most, len(news))]), nil
}

// LatestNews implements NewsReader.
func (r *MemoryReader) LatestNews(_ context.Context, most int) ([]News, error) {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	news := r.history().news
	return slices.Clone(news[max(0, len(news)-most):]), nil
}
