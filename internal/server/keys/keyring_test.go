package keys

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request came over TLS, from one address unless told otherwise.
func request(t *testing.T, key string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://eur.desk.example.com/api/v1/status", nil)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return r
}

// socket asks for a WebSocket.
func socket(t *testing.T, query string, protocols ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://eur.desk.example.com/api/v1/stream?"+query, nil)
	r.Header.Set("Upgrade", "WebSocket")
	for _, protocol := range protocols {
		r.Header.Add("Sec-WebSocket-Protocol", protocol)
	}
	return r
}

func ring(t *testing.T, entries Entries) *Keyring {
	t.Helper()
	keyring := NewKeyring(Options{})
	keyring.Replace(entries)
	t.Cleanup(keyring.Stop)
	return keyring
}

func closed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

func TestOnlyTheRightKeyGetsIn(t *testing.T) {
	entries := Entries{}
	id, key := created(t, entries, "desk", Trade, time.Hour, time.Now())
	other, _ := created(t, entries, "other", Admin, time.Hour, time.Now())
	entries["aaaaaaaa"] = entries[id] // An entry copied to another id.
	keyring := ring(t, entries)
	identity, err := keyring.Authenticate(request(t, key))
	if err != nil || identity.KeyID != id || identity.Name != "desk" || identity.Scope != Trade || closed(identity.Revoked) {
		t.Fatalf("the right key: %+v, %v", identity, err)
	}
	flipped := []byte(key)
	flipped[20] ^= 1
	wrong := map[string]string{
		"nothing":               "",
		"another secret":        "ta_" + id + "_" + newSecret(),
		"one letter changed":    string(flipped),
		"the id of another key": strings.Replace(key, id, other, 1),
		"the id of a copy":      strings.Replace(key, id, "aaaaaaaa", 1),
		"an unknown id":         "ta_" + newID() + "_" + newSecret(),
		"a longer key":          key + "A",
		"a shorter key":         key[:len(key)-1],
		"capitals":              strings.ToUpper(key),
		"the secret alone":      key[len(key)-secretLength:],
		"its hash":              string(entries[id].Hash),
		"another spelling":      key[:len(key)-1] + string(otherSpelling(key[len(key)-1])),
	}
	for name, text := range wrong {
		fresh := ring(t, entries)
		if _, err := fresh.Authenticate(request(t, text)); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"two keys":        func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+key) },
		"another scheme":  func(r *http.Request) { r.Header.Set("Authorization", "Basic "+key) },
		"in the clear":    func(r *http.Request) { r.TLS = nil },
		"through a proxy": func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "http, https") },
		"ws by a proxy":   func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "WS") },
		"in the address": func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "token=" + key
		},
	} {
		r := request(t, key)
		change(r)
		if _, err := ring(t, entries).Authenticate(r); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// otherSpelling differs in the bits that base64 does not use.
func otherSpelling(last byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, last)|1]
}

func TestSocketsMayShowTheirKeyElsewhere(t *testing.T) {
	entries := Entries{}
	_, key := created(t, entries, "desk", Read, 0, time.Now())
	for name, c := range map[string]struct {
		request *http.Request
		in      bool
	}{
		"subprotocol":            {socket(t, "", "trading.v1, bearer."+key), true},
		"two lines":              {socket(t, "", "trading.v1", "bearer."+key), true},
		"address":                {socket(t, "token="+key), true},
		"address, escaped":       {socket(t, "after=7&token="+url.QueryEscape(key)), true},
		"both":                   {socket(t, "token="+key, "bearer."+key), false},
		"twice in the address":   {socket(t, "token="+key+"&token="+key), false},
		"twice as a subprotocol": {socket(t, "", "bearer."+key+", bearer."+key), false},
		"without bearer":         {socket(t, "", key), false},
		"an address that is off": {socket(t, "token="+key+"&%zz"), false},
		"none":                   {socket(t, "", "trading.v1"), false},
	} {
		identity, err := ring(t, entries).Authenticate(c.request)
		if (err == nil) != c.in || c.in && identity.Name != "desk" {
			t.Errorf("%s: %v", name, err)
		}
	}
	header := socket(t, "")
	header.Header.Set("Authorization", "bearer "+key)
	if _, err := ring(t, entries).Authenticate(header); err != nil {
		t.Errorf("Authorization of a client that is no browser: %v", err)
	}
	keyring := ring(t, entries)
	keyring.SetQueryToken(v1alpha1.QueryTokenTicketOnly)
	if _, err := keyring.Authenticate(socket(t, "token="+key)); err == nil {
		t.Error("a key in the address was taken under TicketOnly")
	}
	if _, err := keyring.Authenticate(socket(t, "", "bearer."+key)); err != nil {
		t.Errorf("under TicketOnly a subprotocol still holds a key: %v", err)
	}
}

func TestKeysEndAtTheirSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lifetime := range []time.Duration{time.Second, time.Minute, 26 * time.Hour} {
			entries := Entries{}
			_, key := created(t, entries, "desk", Read, lifetime, time.Now())
			keyring := NewKeyring(Options{})
			keyring.Replace(entries)
			identity, err := keyring.Authenticate(request(t, key))
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(lifetime - time.Millisecond)
			synctest.Wait()
			if _, err := keyring.Authenticate(request(t, key)); err != nil || closed(identity.Revoked) {
				t.Errorf("%s: the key ended too early: %v", lifetime, err)
			}
			<-time.After(time.Millisecond)
			synctest.Wait()
			if _, err := keyring.Authenticate(request(t, key)); err == nil || !closed(identity.Revoked) {
				t.Errorf("%s: the key has not ended: %v, sockets told: %t", lifetime, err, closed(identity.Revoked))
			}
			if len(keyring.Keys()) != 0 {
				t.Errorf("%s: a key that has ended is in force", lifetime)
			}
			keyring.Stop()
		}
	})
}

func TestChangesAreLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := Entries{}
		id, key := created(t, base, "desk", Trade, 24*time.Hour, time.Now())
		_, strangerKey := created(t, base, "stranger", Read, 0, time.Now())
		for name, c := range map[string]struct {
			change func(Entries)
			open   bool
		}{
			"nothing":          {func(Entries) {}, true},
			"an earlier end":   {edit(id, func(e *Entry) { e.Expires = time.Now().Add(time.Hour) }), true},
			"no end":           {edit(id, func(e *Entry) { e.Expires = time.Time{} }), true},
			"an end behind us": {edit(id, func(e *Entry) { e.Expires = time.Now() }), false},
			"revoked":          {func(e Entries) { delete(e, id) }, false},
			"another scope":    {edit(id, func(e *Entry) { e.Scope = Read }), false},
			"another name":     {edit(id, func(e *Entry) { e.Name = "new" }), false},
			"another hash":     {edit(id, func(e *Entry) { e.Hash = hash(e.Salt, "other") }), false},
			"all gone":         {func(e Entries) { clear(e) }, false},
		} {
			entries := maps.Clone(base)
			keyring := NewKeyring(Options{})
			keyring.Replace(base)
			identity, err := keyring.Authenticate(request(t, key))
			if err != nil {
				t.Fatal(err)
			}
			c.change(entries)
			keyring.Replace(entries)
			if closed(identity.Revoked) == c.open {
				t.Errorf("%s: sockets stay open: %t, want %t", name, !closed(identity.Revoked), c.open)
			}
			if _, err := keyring.Authenticate(request(t, strangerKey)); (err == nil) != (name != "all gone") {
				t.Errorf("%s: another key: %v", name, err)
			}
			<-time.After(2 * time.Hour)
			synctest.Wait()
			if ended := name == "an earlier end" || !c.open; closed(identity.Revoked) != ended {
				t.Errorf("%s: two hours later sockets have ended: %t", name, !ended)
			}
			keyring.Stop()
		}
	})
}

func edit(id string, change func(*Entry)) func(Entries) {
	return func(entries Entries) {
		entry := entries[id]
		change(&entry)
		entries[id] = entry
	}
}

func TestGuessingSlowsTheGuesserAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := Entries{}
		_, key := created(t, entries, "desk", Read, 0, time.Now())
		keyring := ring(t, entries)
		guess := func(address string) error {
			r := request(t, "ta_abcdefgh_"+newSecret())
			r.RemoteAddr = address
			_, err := keyring.Authenticate(r)
			return err
		}
		limited := func(err error) bool {
			var limit *LimitedError
			return errors.As(err, &limit) && limit.RetryAfter >= time.Second && limit.RetryAfter <= failuresEvery
		}
		for i := range failuresAtOnce {
			if err := guess("203.0.113.7:1000"); !errors.Is(err, ErrUnauthenticated) {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		for range 1000 {
			if err := guess("203.0.113.7:2000"); !limited(err) {
				t.Fatalf("one guess too many: %v", err)
			}
		}
		// The same proxy, a right key: nothing has changed.
		r := request(t, key)
		r.RemoteAddr = "203.0.113.7:3000"
		if _, err := keyring.Authenticate(r); err != nil {
			t.Errorf("a right key from the same address: %v", err)
		}
		r = request(t, "")
		r.RemoteAddr = "203.0.113.7:3000"
		if _, err := keyring.Authenticate(r); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("no key at all is no guess: %v", err)
		}
		if err := guess("203.0.113.8:1000"); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("a neighbour: %v", err)
		}
		<-time.After(failuresEvery)
		if err := guess("203.0.113.7:4000"); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("after waiting as told: %v", err)
		}
		if err := guess("203.0.113.7:4000"); !limited(err) {
			t.Errorf("and once more: %v", err)
		}
		// Whoever has a whole network counts once.
		for i := range failuresAtOnce + 1 {
			err := guess(fmt.Sprintf("[2001:db8:0:1::%x]:1000", i+1))
			if limited(err) != (i == failuresAtOnce) {
				t.Errorf("guess %d from one /64: %v", i, err)
			}
		}
		// Strangers without number take no memory without bound.
		for i := range 3 * maxAddresses {
			_ = guess(fmt.Sprintf("198.18.%d.%d:1000", i/256, i%256))
		}
		if n := keyring.limiter.addresses.Len(); n != maxAddresses {
			t.Errorf("%d addresses are remembered", n)
		}
	})
}

func TestAddressOf(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"direct":                     {"203.0.113.7:1", nil, "203.0.113.7/32"},
		"a stranger's word":          {"203.0.113.7:1", []string{"192.0.2.1"}, "203.0.113.7/32"},
		"a proxy's word":             {"10.1.2.3:1", []string{"192.0.2.1"}, "192.0.2.1/32"},
		"a lie before the proxy":     {"10.1.2.3:1", []string{"198.51.100.1, 192.0.2.1"}, "192.0.2.1/32"},
		"two proxies":                {"10.1.2.3:1", []string{"198.51.100.1, 192.0.2.1", "10.9.9.9"}, "192.0.2.1/32"},
		"proxies all the way":        {"10.1.2.3:1", []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.1/32"},
		"nonsense":                   {"10.1.2.3:1", []string{"192.0.2.1, unknown"}, "10.1.2.3/32"},
		"a proxy that says nothing":  {"10.1.2.3:1", nil, "10.1.2.3/32"},
		"IPv6":                       {"[2001:db8::1]:1", nil, "2001:db8::/64"},
		"IPv4 in IPv6":               {"[::ffff:10.1.2.3]:1", []string{"::ffff:192.0.2.1"}, "192.0.2.1/32"},
		"IPv6 with a zone":           {"[fe80::1%eth0]:1", nil, "fe80::/64"},
		"a trusted network with v6":  {"[fd00::1]:1", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		"more hops than are counted": {"10.1.2.3:1", []string{"192.0.2.1" + strings.Repeat(", 10.0.0.9", maxHops)}, "10.0.0.9/32"},
	} {
		r := request(t, "")
		r.RemoteAddr = c.peer
		r.Header["X-Forwarded-For"] = c.forwarded
		if got := addressOf(r, trusted); got.String() != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := Entries{}
		id, key := created(t, entries, "desk", Trade, 0, time.Now())
		keyring := ring(t, entries)
		identity, err := keyring.Authenticate(request(t, key))
		if err != nil {
			t.Fatal(err)
		}
		issue := func() string {
			text, expires, err := keyring.IssueTicket(identity)
			if err != nil || !expires.Equal(time.Now().Add(30*time.Second)) {
				t.Fatalf("a ticket until %s: %v", expires, err)
			}
			return text
		}
		in := func(text string) bool {
			_, err := keyring.Authenticate(socket(t, "token="+text))
			return err == nil
		}
		ticket := issue()
		if in(ticket[:len(ticket)-1]) {
			t.Error("a part of a ticket")
		}
		if opened, err := keyring.Authenticate(socket(t, "", "bearer."+ticket)); err != nil || opened.KeyID != id || opened.Scope != Trade || opened.Revoked != identity.Revoked {
			t.Errorf("a ticket has the rights of its key: %+v, %v", opened, err)
		}
		if in(ticket) {
			t.Error("a ticket was good for two")
		}
		if _, err := keyring.Authenticate(request(t, issue())); err == nil {
			t.Error("a ticket stands in for a key outside of sockets")
		}
		late := issue()
		<-time.After(TicketLifetime)
		if in(late) {
			t.Error("a ticket was good after its time")
		}
		for range maxTickets {
			issue()
		}
		if _, _, err := keyring.IssueTicket(identity); err == nil {
			t.Error("there is no limit on tickets")
		}
		<-time.After(TicketLifetime)
		last := issue()
		if n := len(keyring.tickets.open); n != 1 {
			t.Errorf("%d tickets are remembered", n)
		}
		delete(entries, id)
		keyring.Replace(entries)
		if in(last) {
			t.Error("a ticket outlived its key")
		}
	})
}

func TestOperatorReadsByItsCertificate(t *testing.T) {
	keyring := ring(t, Entries{})
	shows := func(uris ...string) *http.Request {
		r := request(t, "")
		leaf := &x509.Certificate{NotAfter: noon}
		for _, text := range uris {
			uri, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			leaf.URIs = append(leaf.URIs, uri)
		}
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}
		return r
	}
	if identity, err := keyring.Authenticate(shows("spiffe://other", OperatorURI)); err != nil || identity.Scope != Read || identity.KeyID != OperatorID {
		t.Errorf("the operator: %+v, %v", identity, err)
	}
	unverified := shows(OperatorURI)
	unverified.TLS.VerifiedChains = nil
	wrongKey := shows(OperatorURI)
	wrongKey.Header.Set("Authorization", "Bearer nonsense")
	for name, r := range map[string]*http.Request{
		"no name": shows(), "another agent": shows("spiffe://trading.three-rivers-tech.com/agent"),
		"a longer name": shows(OperatorURI + "/x"), "nobody checked it": unverified, "with a wrong key": wrongKey,
	} {
		if _, err := keyring.Authenticate(r); err == nil {
			t.Errorf("%s was let in", name)
		}
	}
}

func FuzzCredential(f *testing.F) {
	f.Add("Bearer ta_abcdefgh_"+strings.Repeat("A", 43), "trading.v1, bearer.x", "token=tt_x", true)
	f.Add("", "bearer.,bearer.", "token=&token=", true)
	f.Add("Bearer", ",,,", "%zz", false)
	f.Fuzz(func(t *testing.T, authorization, protocols, query string, upgrade bool) {
		entries := Entries{}
		_, key := created(t, entries, "desk", Read, 0, noon)
		keyring := ring(t, entries)
		r := &http.Request{Method: http.MethodGet, Header: http.Header{}, URL: &url.URL{RawQuery: query}, TLS: &tls.ConnectionState{}}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		r.Header.Set("Sec-WebSocket-Protocol", protocols)
		if upgrade {
			r.Header.Set("Upgrade", "websocket")
		}
		if _, err := keyring.Authenticate(r); err == nil {
			t.Fatal("somebody got in without the key")
		}
		// Whatever else it says, a request that shows another thing too stays out; one
		// that shows nothing else gets in.
		nothing, err := credentialOf(r)
		alone := err == nil && nothing.text == "" && authorization == "" && !strings.Contains(query, "token") && !strings.Contains(protocols, bearerProtocol)
		r.Header.Set("Authorization", "Bearer "+key)
		if _, err := keyring.Authenticate(r); alone && err != nil {
			t.Fatalf("the key was refused: %v", err)
		}
	})
}
