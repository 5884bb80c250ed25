package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/three-rivers-tech/trading-operator/test/cloudflare/api"
)

const challenge = "_acme-challenge.eur.desk.example.com"

var (
	good    = strings.Repeat("g", 40)
	reader  = strings.Repeat("r", 40)
	unknown = strings.Repeat("u", 40)
)

// published are the TXT records by name, or an error for all.
type published struct {
	records map[string][]string
	err     error
}

func (p *published) Publish(_ context.Context, name string, contents []string) error {
	if p.err == nil {
		p.records[name] = contents
	}
	return p.err
}

// cloudflare is an account with one zone and tokens of different rights.
func cloudflare(t *testing.T) (client func(token, method, path, body string) answer, control string, dns *published) {
	t.Helper()
	dns = &published{records: map[string][]string{}}
	account := api.New(dns)
	account.AddZone("example.com")
	account.AddToken(api.Token{Value: good, ZoneRead: true, DNSEdit: true})
	account.AddToken(api.Token{Value: reader, ZoneRead: true})
	server, controls := httptest.NewServer(account), httptest.NewServer(account.Control())
	t.Cleanup(server.Close)
	t.Cleanup(controls.Close)
	return func(token, method, path, body string) answer {
		t.Helper()
		return ask(t, token, method, server.URL+"/client/v4"+path, body)
	}, controls.URL, dns
}

type problem struct {
	Code  int       `json:"code"`
	Chain []problem `json:"error_chain"`
}

type answer struct {
	status     int
	retryAfter string

	Success bool            `json:"success"`
	Errors  []problem       `json:"errors"`
	Result  json.RawMessage `json:"result"`
}

func (a answer) code() int {
	if len(a.Errors) == 0 {
		return 0
	}
	return a.Errors[0].Code
}

func (a answer) into(t *testing.T, value any) {
	t.Helper()
	if err := json.Unmarshal(a.Result, value); err != nil {
		t.Fatalf("result %s: %v", a.Result, err)
	}
}

func ask(t *testing.T, token, method, url, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	a := answer{status: response.StatusCode, retryAfter: response.Header.Get("Retry-After")}
	if response.StatusCode == http.StatusNoContent {
		return a
	}
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

// zone finds the zone as a client does.
func zone(t *testing.T, client func(token, method, path, body string) answer) string {
	t.Helper()
	var zones []struct{ ID, Name string }
	client(good, http.MethodGet, "/zones?name=example.com", "").into(t, &zones)
	if len(zones) != 1 || zones[0].Name != "example.com" {
		t.Fatalf("zones %+v", zones)
	}
	return zones[0].ID
}

func record(content string) string {
	return `{"type":"TXT","name":"` + challenge + `","content":"` + content + `","ttl":120}`
}

func TestRecordsArePublishedUntilTheyAreRemoved(t *testing.T) {
	client, _, dns := cloudflare(t)
	records := "/zones/" + zone(t, client) + "/dns_records"
	var first, second api.Record
	client(good, http.MethodPost, records, record("one")).into(t, &first)
	client(good, http.MethodPost, records, record("two")).into(t, &second)
	if got := dns.records[challenge]; len(got) != 2 || !slices.Contains(got, "one") || !slices.Contains(got, "two") {
		t.Errorf("published %q", got)
	}
	var listed []api.Record
	client(good, http.MethodGet, records+"?type=TXT&name="+challenge, "").into(t, &listed)
	if len(listed) != 2 {
		t.Errorf("listed %+v", listed)
	}
	client(good, http.MethodGet, records+"?type=TXT&name=other.example.com", "").into(t, &listed)
	if len(listed) != 0 {
		t.Errorf("of another name: %+v", listed)
	}
	if a := client(good, http.MethodDelete, records+"/"+first.ID, ""); !a.Success {
		t.Errorf("delete: %+v", a)
	}
	if got := dns.records[challenge]; !slices.Equal(got, []string{"two"}) {
		t.Errorf("published %q", got)
	}
}

func TestRefusalsCarryTheirCodes(t *testing.T) {
	client, _, _ := cloudflare(t)
	id := zone(t, client)
	records := "/zones/" + id + "/dns_records"
	client(good, http.MethodPost, records, record("there"))
	for name, test := range map[string]struct {
		token, method, path, body string
		status, code, chain       int
	}{
		"no token":                 {"", "GET", "/zones", "", 400, 9106, 0},
		"a token cut short":        {good[1:], "GET", "/zones", "", 400, 6003, 6111},
		"an unknown token":         {unknown, "GET", "/zones", "", 403, 9109, 0},
		"a token that may not":     {reader, "POST", records, record("new"), 403, 10000, 0},
		"no such zone":             {good, "GET", "/zones/0123/dns_records", "", 404, 7003, 7000},
		"no such path":             {good, "GET", "/user", "", 404, 7003, 7000},
		"no such record":           {good, "DELETE", records + "/0123", "", 404, 81044, 0},
		"a method that is not":     {good, "PATCH", records, "", 405, 10405, 0},
		"no JSON":                  {good, "POST", records, "{", 400, 9207, 0},
		"the same again":           {good, "POST", records, record("there"), 400, 81058, 0},
		"nothing to say":           {good, "POST", records, record(""), 400, 1004, 9007},
		"a name of somebody else":  {good, "POST", records, strings.ReplaceAll(record("x"), "example.com", "example.org"), 400, 1004, 9000},
		"too short a time to live": {good, "POST", records, strings.ReplaceAll(record("x"), "120", "30"), 400, 1004, 9021},
	} {
		t.Run(name, func(t *testing.T) {
			a := client(test.token, test.method, test.path, test.body)
			chain := 0
			if len(a.Errors) > 0 && len(a.Errors[0].Chain) > 0 {
				chain = a.Errors[0].Chain[0].Code
			}
			if a.status != test.status || a.code() != test.code || chain != test.chain || a.Success {
				t.Errorf("got %d, %d, %d in %+v; want %d, %d, %d", a.status, a.code(), chain, a, test.status, test.code, test.chain)
			}
		})
	}
}

func TestAnAccountLooksEmptyToATokenThatMayNotReadZones(t *testing.T) {
	client, control, _ := cloudflare(t)
	if a := ask(t, "", http.MethodPut, control+"/tokens", `[{"value":"`+unknown+`","dnsEdit":true}]`); a.status != http.StatusNoContent {
		t.Fatalf("%+v", a)
	}
	var zones []any
	client(unknown, http.MethodGet, "/zones?name=example.com", "").into(t, &zones)
	if len(zones) != 0 {
		t.Errorf("it sees %v", zones)
	}
	if a := client(good, http.MethodGet, "/zones", ""); a.code() != 9109 {
		t.Errorf("a replaced token still works: %+v", a)
	}
}

func TestALimitEnds(t *testing.T) {
	client, control, _ := cloudflare(t)
	ask(t, "", http.MethodPut, control+"/limit", `{"requests":1,"retryAfter":7}`)
	if a := client(good, http.MethodGet, "/zones", ""); a.status != http.StatusTooManyRequests || a.code() != 971 || a.retryAfter != "7" {
		t.Errorf("got %+v", a)
	}
	if a := client(good, http.MethodGet, "/zones", ""); !a.Success {
		t.Errorf("after the limit: %+v", a)
	}
}

func TestWhatCannotBePublishedIsNotRecorded(t *testing.T) {
	client, _, dns := cloudflare(t)
	records := "/zones/" + zone(t, client) + "/dns_records"
	dns.err = errors.New("no resolver")
	if a := client(good, http.MethodPost, records, record("one")); a.status != http.StatusInternalServerError {
		t.Errorf("got %+v", a)
	}
	dns.err = nil
	if a := client(good, http.MethodPost, records, record("one")); !a.Success {
		t.Errorf("again: %+v", a)
	}
}

func TestResolverForgetsBeforeItAdds(t *testing.T) {
	var calls []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Host  string `json:"host"`
			Value string `json:"value"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		calls = append(calls, r.URL.Path+" "+body.Host+" "+body.Value)
		if body.Value == "bad" {
			http.Error(w, "no", http.StatusBadRequest)
		}
	}))
	defer server.Close()
	resolver := api.Resolver{URL: server.URL}
	if err := resolver.Publish(t.Context(), challenge, []string{"one", "two"}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/clear-txt " + challenge + ". ", "/set-txt " + challenge + ". one", "/set-txt " + challenge + ". two"}; !slices.Equal(calls, want) {
		t.Errorf("got %q", calls)
	}
	if err := resolver.Publish(t.Context(), challenge, []string{"bad"}); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("got %v", err)
	}
}
