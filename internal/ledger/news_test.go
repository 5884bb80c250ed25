package ledger_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

// told is what must be the same from every ledger.
type told struct {
	Topic, Key string
	Payload    any
}

func toldBy(t *rapid.T, news []ledger.News) []told {
	list := make([]told, len(news))
	for i, n := range news {
		list[i] = told{Topic: n.Topic, Key: n.Key}
		if err := json.Unmarshal(n.Payload, &list[i].Payload); err != nil {
			t.Fatalf("news %d: %v in %s", n.ID, err, n.Payload)
		}
		if i > 0 && n.ID <= news[i-1].ID {
			t.Fatalf("news %d comes behind %d", n.ID, news[i-1].ID)
		}
		if age := time.Since(n.RecordedAt); age < -time.Minute || age > time.Hour {
			t.Fatalf("news %d were recorded at %s", n.ID, n.RecordedAt)
		}
	}
	return list
}

// Whatever happened to an agent, both ledgers tell the same news, however they are
// cut into parts.
func TestBothLedgersTellTheSameNews(t *testing.T) {
	stored, uri := openLedger(t)
	run, most := 0, 0
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
		part := rapid.IntRange(1, 9).Draw(r, "part")
		var all [2][]ledger.News
		for i, source := range []ledger.NewsReader{kept.Reader(h.agent.UID), reader} {
			for last := int64(0); ; {
				news, err := source.NewsAfter(t.Context(), last, part)
				if err != nil {
					r.Fatal(err)
				}
				if len(news) == 0 {
					break
				}
				all[i] = append(all[i], news...)
				last = news[len(news)-1].ID
			}
			latest, err := source.LatestNews(t.Context(), part)
			if err != nil {
				r.Fatal(err)
			}
			if diff := cmp.Diff(all[i][max(0, len(all[i])-part):], latest); diff != "" && len(all[i]) > 0 {
				r.Fatalf("the latest news are others (-all +latest):\n%s", diff)
			}
		}
		if diff := cmp.Diff(toldBy(r, all[0]), toldBy(r, all[1])); diff != "" {
			r.Fatalf("the ledgers tell other news (-memory +PostgreSQL):\n%s", diff)
		}
		most = max(most, len(all[0]))
	})
	if most < 3 {
		t.Errorf("no run had more than %d news", most)
	}
}

// An agent that asks for its news reads no others'.
func TestNewsAreFoundByIndex(t *testing.T) {
	b, uri := openLedger(t)
	plan := query[string](t, b, `SELECT string_agg(indexdef, ' ') FROM pg_indexes WHERE schemaname = 'trading' AND tablename = 'outbox'`)
	if !strings.Contains(plan, "(agent_uid, id)") {
		t.Errorf("the indices of the outbox are %s", plan)
	}
	if news, err := openReader(t, uri, "nobody").LatestNews(t.Context(), 5); err != nil || !slices.Equal(keysOf(news), []string{}) {
		t.Errorf("an agent without news: %v, %v", news, err)
	}
}

func keysOf(news []ledger.News) []string {
	list := make([]string, 0, len(news))
	for _, n := range news {
		list = append(list, n.Key)
	}
	return list
}
