package stream

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestNewClientsGetTheStateThatHolds(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		t := w.t
		w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`1`))
		w.hub.Publish(Equity, "", noon, []byte(`2`))
		w.hub.Publish(Quotes, "ETH-USD", noon, []byte(`3`))
		w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`4`))
		w.hub.PublishNews(news(1, 1)...)
		p := w.login()
		p.say(`{"subscribe":["quotes","fills"]}`)
		start := p.expect("subscribed", "")
		for _, want := range []string{`3`, `4`} {
			if state := p.expect("quotes", want); state.ID != "" {
				t.Errorf("a state has the id %q", state.ID)
			}
		}
		w.hub.PublishNews(news(2, 2)...)
		p.expect("fills", `{"fill":2}`)

		// The confirmation's id is a place to resume after.
		again := w.login()
		again.say(`{"subscribe":["fills"],"after":"` + start.ID + `"}`)
		again.expect("subscribed", "")
		again.expect("fills", `{"fill":2}`)
	})
}

func TestResumeMissesNothingAndRepeatsNothing(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		p := w.login()
		p.say(`{"subscribe":["fills","quotes"]}`)
		p.expect("subscribed", "")
		w.hub.PublishNews(news(1, 1)...)
		last := p.expect("fills", `{"fill":1}`)
		_ = p.conn.CloseNow()
		w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`1`))
		w.hub.PublishNews(news(2, 2)...)
		w.hub.Publish(Equity, "", noon, []byte(`2`))

		p = w.login()
		p.say(`{"subscribe":["fills","quotes"],"after":"` + last.ID + `"}`)
		p.expect("subscribed", "")
		p.expect("quotes", `1`)
		p.expect("fills", `{"fill":2}`)
		w.hub.PublishNews(news(3, 3)...)
		p.expect("fills", `{"fill":3}`)
	})
}

func TestResumeAcrossARestart(t *testing.T) {
	var last string
	inWorld(t, Options{}, func(w *world) {
		w.hub.Recall(nil, true)
		p := w.login()
		p.say(`{"subscribe":["fills"]}`)
		p.expect("subscribed", "")
		w.hub.PublishNews(news(1, 3)...)
		p.expect("fills", `{"fill":1}`)
		last = p.expect("fills", `{"fill":2}`).ID
	})
	inWorld(t, Options{}, func(w *world) {
		t := w.t
		w.hub.Recall(news(1, 4), true)
		w.hub.Publish(Status, "", noon, []byte(`"here"`))
		p := w.login()
		p.say(`{"subscribe":["fills","status"],"after":"` + last + `"}`)
		if confirmed := p.expect("subscribed", ""); confirmed.ID != "" {
			t.Errorf("who still has to get a replay would miss it after %q", confirmed.ID)
		}
		p.expect("gap", `{"message":"events of these topics may be missing; read them over HTTP","topics":["status"]}`)
		p.expect("fills", `{"fill":3}`)
		fourth := p.expect("fills", `{"fill":4}`)
		p.expect("status", `"here"`)
		w.hub.PublishNews(news(4, 5)...)
		p.expect("fills", `{"fill":5}`)

		// What is older than the process can be resumed after too.
		p = w.login()
		p.say(`{"subscribe":["fills"],"after":"` + fourth.ID + `"}`)
		p.expect("subscribed", "")
		p.expect("fills", `{"fill":5}`)
	})
}

func TestGaps(t *testing.T) {
	const gap = `{"message":"events of these topics may be missing; read them over HTTP","topics":["fills"]}`
	for name, c := range map[string]struct {
		recall   []News
		known    bool
		complete bool
		live     []News
		after    string
		gap      bool
		first    int64
	}{
		"the ledger was not asked yet":      {after: "3.other.9", gap: true},
		"nothing was known then and now":    {after: "0.other.9", gap: true},
		"nothing is missing":                {recall: news(5, 6), known: true, after: "4.other.9", first: 5},
		"older news were not recalled":      {recall: news(5, 6), known: true, after: "3.other.9", gap: true, first: 5},
		"there are no older news":           {recall: news(5, 6), known: true, complete: true, after: "3.other.9", first: 5},
		"the history has dropped some":      {known: true, complete: true, live: news(1, historySize+2), after: "1.other.9", gap: true, first: 3},
		"the history holds just enough":     {known: true, complete: true, live: news(1, historySize+2), after: "2.other.9", first: 3},
		"the ledger was set back":           {recall: news(5, 6), known: true, complete: true, after: "9.other.9", gap: true},
		"no id of ours":                     {recall: news(5, 6), known: true, complete: true, after: "yesterday", gap: true},
		"the client has seen everything":    {recall: news(5, 6), known: true, complete: true, after: "6.other.9"},
		"an id that this process never had": {recall: news(5, 6), known: true, complete: true, after: "5.BOOT.99", first: 6},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Options{}, func(w *world) {
				if c.known {
					w.hub.Recall(c.recall, c.complete)
				}
				w.hub.PublishNews(c.live...)
				p := w.login()
				p.say(`{"subscribe":["fills"],"after":"` + strings.ReplaceAll(c.after, "BOOT", w.hub.boot) + `"}`)
				p.expect("subscribed", "")
				if c.gap {
					p.expect("gap", gap)
				}
				for id := c.first; id > 0 && id <= w.hub.history.newest; id++ {
					p.expect("fills", fmt.Sprintf(`{"fill":%d}`, id))
				}
				w.hub.PublishNews(news(5000, 5000)...)
				p.expect("fills", `{"fill":5000}`)
			})
		})
	}
}

func TestResumeBeginsWithTheStateOfThen(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		w.hub.Publish(Equity, "", noon, []byte(`1`))
		w.hub.PublishNews(news(1, 1)...)
		p := w.login()
		p.say(`{"subscribe":["fills"]}`)
		start := p.expect("subscribed", "")
		w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`2`))
		p = w.login()
		p.say(`{"subscribe":["equity","quotes"],"after":"` + start.ID + `"}`)
		if confirmed := p.expect("subscribed", ""); confirmed.ID != start.ID {
			w.t.Errorf("it begins after %q, not after %q", confirmed.ID, start.ID)
		}
		p.expect("equity", `1`)
		p.expect("quotes", `2`)
		w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`3`))
		p.expect("quotes", `3`)
	})
}

func TestWhoIsAwayForTooLongIsToldSo(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		w.hub.Recall(nil, true)
		p := w.login()
		p.say(`{"subscribe":["fills","quotes"]}`)
		p.expect("subscribed", "")
		w.hub.PublishNews(news(1, 1)...)
		last := p.expect("fills", `{"fill":1}`)
		_ = p.conn.CloseNow()
		w.hub.PublishNews(news(2, 2)...)
		for i := range ringSize {
			w.hub.Publish(Quotes, "BTC-USD", noon, strconv.AppendInt(nil, int64(i), 10))
		}
		p = w.login()
		p.say(`{"subscribe":["fills","quotes"],"after":"` + last.ID + `"}`)
		p.expect("subscribed", "")
		p.expect("gap", `{"message":"events of these topics may be missing; read them over HTTP","topics":["quotes"]}`)
		p.expect("fills", `{"fill":2}`)
		p.expect("quotes", strconv.Itoa(ringSize-1))
	})
}
