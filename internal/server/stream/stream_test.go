package stream

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

var noon = time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)

func news(from, to int64) []News {
	list := make([]News, 0, to-from+1)
	for id := from; id <= to; id++ {
		list = append(list, News{ID: id, Topic: Fills, At: noon, Data: fmt.Appendf(nil, `{"fill":%d}`, id)})
	}
	return list
}

func TestEventsReachWhoSubscribed(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		t := w.t
		first, second := w.login(), w.login()
		first.say(`{"subscribe":["fills","quotes"]}`)
		first.expect("subscribed", `{"topics":["fills","quotes"]}`)
		second.say(`{"subscribe":["quotes"]}`)
		second.expect("subscribed", `{"topics":["quotes"]}`)
		w.hub.PublishNews(news(7, 7)...)
		w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`{"pair":"BTC-USD"}`))
		w.hub.Publish(Equity, "", noon, []byte(`{"equity":"1"}`))
		w.hub.Publish(Quotes, "ETH-USD", noon, []byte(`{"pair":"ETH-USD"}`))

		fill := first.expect("fills", `{"fill":7}`)
		if !strings.HasPrefix(fill.ID, "7.") || !fill.Time.Equal(noon) {
			t.Errorf("id %q and time %s", fill.ID, fill.Time)
		}
		for _, p := range []*peer{first, second} {
			p.expect("quotes", `{"pair":"BTC-USD"}`)
			p.expect("quotes", `{"pair":"ETH-USD"}`)
		}
	})
}

func TestSubscriptionReplacesTheOneBefore(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		p := w.login()
		p.say(`{"subscribe":["quotes"]}`)
		p.expect("subscribed", "")
		p.say(`{"subscribe":["orders"]}`)
		p.expect("subscribed", `{"topics":["orders"]}`)
		w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`1`))
		w.hub.Publish(Orders, "", noon, []byte(`2`))
		p.expect("orders", `2`)
	})
}

func TestUnknownTopicsAreNamed(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		p := w.login()
		p.say(`{"subscribe":["fills","gossip"]}`)
		p.expect("subscribed", `{"topics":["fills"]}`)
		p.expect("error", `{"known":["fills","orders","decisions","positions","equity","quotes","status"],"message":"unknown topics","topics":["gossip"]}`)
		p.say(`nonsense`)
		p.expect("error", "")
		w.hub.PublishNews(news(1, 1)...)
		p.expect("fills", `{"fill":1}`)
	})
}

func TestWhoIsNotLetInGetsACodeAndNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		header  http.Header
		limited bool
		want    websocket.StatusCode
	}{
		"no key":            {http.Header{}, false, CodeUnauthenticated},
		"wrong key":         {http.Header{"Authorization": {"wrong"}}, false, CodeUnauthenticated},
		"no scope":          {http.Header{"Authorization": {"scopeless"}}, false, CodeUnauthenticated},
		"too many attempts": {http.Header{"Authorization": {"good"}}, true, websocket.StatusTryAgainLater},
		"foreign page":      {http.Header{"Authorization": {"good"}, "Origin": {"https://evil.example.com"}}, false, CodeOrigin},
		"no origin at all":  {http.Header{"Authorization": {"good"}, "Origin": {"null"}}, false, CodeOrigin},
		"two origins":       {http.Header{"Authorization": {"good"}, "Origin": {"https://desk.example.com", "https://evil.example.com"}}, false, CodeOrigin},
		"plain page":        {http.Header{"Authorization": {"good"}, "Origin": {"http://desk.example.com"}}, false, CodeOrigin},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Options{}, func(w *world) {
				w.desk.limited = c.limited
				w.desk.known["scopeless"] = keys.Identity{KeyID: "k2"}
				w.hub.Publish(Status, "", noon, []byte(`"secret"`))
				p := w.connect(c.header)
				w.hub.Publish(Status, "", noon, []byte(`"secret"`))
				p.wantClosed(c.want)
			})
		})
	}
}

func TestOriginsAreLive(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		page := http.Header{"Authorization": {"good"}, "Origin": {"https://other.example.com"}}
		w.connect(page).wantClosed(CodeOrigin)
		w.origins = append(w.origins, "https://other.example.com")
		p := w.connect(page)
		p.say(`{"subscribe":[]}`)
		p.expect("subscribed", `{"topics":[]}`)
	})
}

func TestAKeyThatEndsEndsItsSocketsWithinASecond(t *testing.T) {
	for name, stop := range map[string]func(w *world){
		"revoked": func(w *world) { w.revoke() },
		"expired": func(w *world) { <-time.After(time.Until(w.desk.known["good"].Expires)) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Options{}, func(w *world) {
				t := w.t
				identity := w.desk.known["good"]
				if name == "expired" {
					identity.Revoked = nil
					identity.Expires = time.Now().Add(10 * time.Second)
				}
				w.desk.known["good"] = identity
				reading, stalled := w.login(), w.login()
				reading.say(`{"subscribe":["quotes"]}`)
				reading.expect("subscribed", "")
				stalled.say(`{"subscribe":["quotes"]}`)
				w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`1`))
				reading.expect("quotes", `1`)
				synctest.Wait()
				stop(w)
				at := time.Now()
				reading.wantClosed(CodeUnauthenticated)
				// The one that never reads cannot be told, but it is gone too.
				w.wantClients(0)
				if took := time.Since(at); took > time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// wantClients waits for the number of clients.
func (w *world) wantClients(want int) {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		w.hub.crowdMu.Lock()
		got := len(w.hub.crowd)
		w.hub.crowdMu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d clients, want %d", got, want)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestTheAgentsEndIsTold(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		t := w.t
		p, stalled := w.login(), w.login()
		stalled.say(`{"subscribe":["quotes"]}`)
		p.say(`{"subscribe":["quotes"]}`)
		p.expect("subscribed", "")
		at := time.Now()
		go w.end()
		p.wantClosed(websocket.StatusGoingAway)
		w.end()
		if took := time.Since(at); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestSlowClientsAreDroppedAndOthersAreNot(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		t := w.t
		slow, stalled, quick := w.login(), w.login(), w.login()
		for _, p := range []*peer{slow, quick} {
			p.say(`{"subscribe":["quotes"]}`)
			p.expect("subscribed", "")
		}
		stalled.say(`{"subscribe":["quotes"]}`)
		const events = 2 * ringSize
		for i := range events {
			w.hub.Publish(Quotes, "BTC-USD", noon, fmt.Appendf(nil, "%d", i))
			quick.expect("quotes", strconv.Itoa(i))
		}
		// A pipe holds nothing back, so the slow one has got no more than what is
		// being written; then it learns why.
		for got := 0; ; got++ {
			_, _, err := slow.conn.Read(t.Context())
			if code := websocket.CloseStatus(err); code == CodeSlow {
				break
			}
			if err != nil || got > ringSize {
				t.Fatalf("after %d events: %v, want %d", got, err, CodeSlow)
			}
		}
		w.wantClients(1)
		w.hub.Publish(Quotes, "BTC-USD", noon, []byte(`"last"`))
		quick.expect("quotes", `"last"`)
	})
}

func TestAClientThatNeverReadsIsDropped(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		t := w.t
		p := w.login()
		p.say(`{"subscribe":["quotes"]}`)
		at := time.Now()
		w.wantClients(0)
		if took := time.Since(at); took < 9*time.Second || took > 12*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestSilentClientsArePingedAndThenDropped(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		t := w.t
		answers := w.login()
		go func() { // Reading answers pings.
			_, _, _ = answers.conn.Read(t.Context())
		}()
		w.deaf()
		<-time.After(29 * time.Second)
		w.wantClients(2)
		<-time.After(20 * time.Second)
		w.wantClients(1)
		<-time.After(10 * time.Minute)
		w.wantClients(1)
	})
}

func TestBudgetAndBounds(t *testing.T) {
	for name, c := range map[string]struct {
		send func(p *peer)
		want websocket.StatusCode
	}{
		"too many messages": {func(p *peer) {
			for range mostSaid + 1 {
				p.say(`{"subscribe":[]}`)
			}
		}, websocket.StatusPolicyViolation},
		"too many pings": {func(p *peer) {
			go func() {
				for range mostSaid + 1 {
					_ = p.conn.Ping(p.t.Context())
				}
			}()
		}, websocket.StatusPolicyViolation},
		"binary": {func(p *peer) {
			_ = p.conn.Write(p.t.Context(), websocket.MessageBinary, []byte(`{"subscribe":[]}`))
		}, websocket.StatusUnsupportedData},
		"too long": {func(p *peer) {
			go func() {
				_ = p.conn.Write(p.t.Context(), websocket.MessageText, make([]byte, 10*longestMessage))
			}()
		}, websocket.StatusMessageTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Options{}, func(w *world) {
				t := w.t
				p := w.login()
				c.send(p)
				for {
					_, _, err := p.conn.Read(t.Context())
					if err == nil {
						continue
					}
					if code := websocket.CloseStatus(err); code != c.want {
						t.Fatalf("%v, want %d", err, c.want)
					}
					return
				}
			})
		})
	}
}

func TestMessagesAtAQuietPaceAreNoFlood(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		p := w.login()
		for range 5 * mostSaid {
			p.say(`{"subscribe":[]}`)
			p.expect("subscribed", "")
			<-time.After(time.Second / 10)
		}
	})
}

func TestTooManyClients(t *testing.T) {
	inWorld(t, Options{MaxClients: 2}, func(w *world) {
		first := w.login()
		w.login()
		w.wantClients(2)
		w.login().wantClosed(websocket.StatusTryAgainLater)
		_ = first.conn.CloseNow()
		w.wantClients(1)
		p := w.login()
		p.say(`{"subscribe":[]}`)
		p.expect("subscribed", "")
	})
}

func TestNoKeyIsEchoedAsProtocol(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		t := w.t
		for want, offered := range map[string][]string{Protocol: {Protocol, "ta_k1_secret"}, "": {"ta_k1_secret"}} {
			p := w.connect(http.Header{"Authorization": {"good"}}, offered...)
			if got := p.conn.Subprotocol(); got != want {
				t.Errorf("offered %q, got %q back, want %q", offered, got, want)
			}
		}
	})
}

func TestOtherRequestsGetAProblemDocument(t *testing.T) {
	whole := http.Header{
		"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	for name, change := range map[string]func(r *http.Request){
		"no upgrade":    func(r *http.Request) { r.Header.Del("Upgrade") },
		"no connection": func(r *http.Request) { r.Header.Set("Connection", "close") },
		"old version":   func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") },
		"short key":     func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "AAAA") },
		"no base64":     func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "ta_k1_secret") },
		"HTTP/2":        func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/stream", nil)
			r.Header = whole.Clone()
			if fault := handshakeFault(r); fault != "" {
				t.Fatalf("a whole handshake is refused: %s", fault)
			}
			change(r)
			answer := httptest.NewRecorder()
			NewHandler(NewHub(logr.Discard()), Options{}).ServeHTTP(answer, r)
			if answer.Code != http.StatusUpgradeRequired || answer.Header().Get("Content-Type") != problem.ContentType {
				t.Errorf("status %d, type %q", answer.Code, answer.Header().Get("Content-Type"))
			}
			if strings.Contains(answer.Body.String(), "ta_k1") {
				t.Errorf("the answer repeats what the client sent: %s", answer.Body)
			}
		})
	}
}

func TestWhoIsSentAwayAndDoesNotReadIsNotWaitedFor(t *testing.T) {
	inWorld(t, Options{}, func(w *world) {
		conn := w.raw("wrong")
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || answer != "HTTP/1.1 101 Switching Protocols\r\n" {
			w.t.Fatalf("%q, %v", answer, err)
		}
		<-time.After(time.Second)
		if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
			w.t.Errorf("a second later there was still %q, %v", rest, err)
		}
	})
}
