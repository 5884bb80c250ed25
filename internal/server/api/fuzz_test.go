package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// contract is the document as a client reads it, and the schemas of its answers,
// judged by another library than the one that wrote them.
type contract struct {
	paths   map[string]map[string]operation
	schemas *jsonschema.Compiler
	judged  map[string]*jsonschema.Schema
}

type operation struct {
	Parameters []parameter `json:"parameters"`
	Responses  map[string]struct {
		Content map[string]json.RawMessage `json:"content"`
	} `json:"responses"`
}

type parameter struct {
	Name     string `json:"name"`
	In       string `json:"in"`
	Required bool   `json:"required"`
	Schema   schema `json:"schema"`
}

type schema struct {
	Type      string   `json:"type"`
	Format    string   `json:"format"`
	Pattern   string   `json:"pattern"`
	Enum      []string `json:"enum"`
	MinLength *int     `json:"minLength"`
	MaxLength *int     `json:"maxLength"`
	Minimum   *int     `json:"minimum"`
	Maximum   *int     `json:"maximum"`
}

const documentURL = "https://example.com/openapi.json"

func readContract(text []byte) *contract {
	var document struct {
		Paths map[string]map[string]operation `json:"paths"`
	}
	utilruntime.Must(json.Unmarshal(text, &document))
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	utilruntime.Must(err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	utilruntime.Must(compiler.AddResource(documentURL, whole))
	return &contract{paths: document.Paths, schemas: compiler, judged: map[string]*jsonschema.Schema{}}
}

// check says why an answer is not one that the document allows.
func (c *contract) check(path, method string, response reply, body []byte) error {
	known, found := c.paths[path][strings.ToLower(method)]
	if !found {
		return fmt.Errorf("the document has no %s %s", method, path)
	}
	status := strconv.Itoa(response.StatusCode)
	if _, found = known.Responses[status]; !found {
		return fmt.Errorf("%s is not among its answers", status)
	}
	kind := response.Header.Get("Content-Type")
	if _, found = known.Responses[status].Content[kind]; !found {
		return fmt.Errorf("%s has no answer of the type %q", status, kind)
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	pointer := "#/paths/" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(escape.Replace(path)) + "/" + strings.ToLower(method) +
		"/responses/" + status + "/content/" + strings.ReplaceAll(escape.Replace(kind), "+", "%2B") + "/schema"
	if c.judged[pointer] == nil {
		compiled, err := c.schemas.Compile(documentURL + pointer)
		if err != nil {
			return err
		}
		c.judged[pointer] = compiled
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.judged[pointer].Validate(value)
}

// fits is whether a text is a value of the schema, by the schema's own words.
func (s schema) fits(text string) bool {
	if text == "" {
		return false
	}
	if s.Type == "integer" {
		value, err := strconv.Atoi(text)
		return err == nil && (s.Minimum == nil || value >= *s.Minimum) && (s.Maximum == nil || value <= *s.Maximum)
	}
	length := len([]rune(text))
	_, notTime := time.Parse(time.RFC3339, text)
	switch {
	case s.Format == "uuid" && !plainUUID.MatchString(text), s.Format == "date-time" && notTime != nil:
		return false
	case s.MinLength != nil && length < *s.MinLength, s.MaxLength != nil && length > *s.MaxLength:
		return false
	case len(s.Enum) > 0 && !slices.Contains(s.Enum, text):
		return false
	case s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(text):
		return false
	}
	return true
}

var plainUUID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// draw makes a value that fits, one at a bound, one that is off, or one that was
// never meant.
func (s schema) draw(r *rapid.T, name string) string {
	switch rapid.SampledFrom([]string{"good", "good", "good", "bound", "odd", "wild"}).Draw(r, name+" kind") {
	case "good":
		return s.good(r, name)
	case "bound":
		if s.Type == "integer" {
			return rapid.SampledFrom([]string{
				bound(s.Minimum, 0), bound(s.Minimum, -1), bound(s.Maximum, 0), bound(s.Maximum, 1),
			}).Draw(r, name)
		}
		return strings.Repeat("A", rapid.SampledFrom([]int{1, length(s.MinLength, 0), length(s.MinLength, -1), length(s.MaxLength, 0), length(s.MaxLength, 1)}).Draw(r, name))
	case "odd":
		return rapid.SampledFrom([]string{
			"", " ", "0", "-1", "1e3", "null", "true", "{}", "[]", "9223372036854775808", "NaN", "2026-13-45T99:00:00Z", "2026-03-02", "BTC-UЅD", "BTC-USD",
			"EUR_USD;DROP", "../..", "%2e", "1d17b155-4a17-5119-8099-392774789dae", "{1d17b155-4a17-5119-8099-392774789dae}", "MQ", "'; --", "\x00",
		}).Draw(r, name)
	}
	return rapid.String().Draw(r, name)
}

func (s schema) good(r *rapid.T, name string) string {
	switch {
	case s.Type == "integer":
		return strconv.Itoa(rapid.IntRange(*s.Minimum, *s.Maximum).Draw(r, name))
	case len(s.Enum) > 0:
		return rapid.SampledFrom(s.Enum).Draw(r, name)
	case s.Format == "uuid":
		return rapid.SampledFrom([]string{orderID.String(), "00000000-0000-0000-0000-000000000001"}).Draw(r, name)
	case s.Format == "date-time":
		return rapid.SampledFrom([]string{"2018-03-05T12:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999+14:00", "2018-03-05T13:00:00-01:00"}).Draw(r, name)
	case name == "pair":
		return rapid.SampledFrom([]string{"BTC-USD", "eth/usd", "SOL USD"}).Draw(r, name)
	}
	return rapid.StringMatching(`[A-Za-z0-9]{8,40}`).Draw(r, name)
}

func bound(limit *int, off int) string {
	if limit == nil {
		return "0"
	}
	return strconv.Itoa(*limit + off)
}

func length(limit *int, off int) int {
	if limit == nil {
		return 5
	}
	return max(*limit+off, 0)
}

// attempt is a request made from the document, and whether it is as the document
// wants it.
type attempt struct {
	request      *http.Request
	path, method string
	right        bool
}

func (c *contract) attempt(r *rapid.T) attempt {
	served := slices.DeleteFunc(slices.Sorted(maps.Keys(c.paths)), func(path string) bool {
		return path == "/api/v1/tickets" || path == "/api/v1/stream"
	})
	a := attempt{path: rapid.SampledFrom(served).Draw(r, "path"), right: true}
	a.method = strings.ToUpper(rapid.SampledFrom(slices.Sorted(maps.Keys(c.paths[a.path]))).Draw(r, "method"))
	target, query, header := a.path, url.Values{}, http.Header{}
	for _, p := range c.paths[a.path][strings.ToLower(a.method)].Parameters {
		if !p.Required && rapid.Bool().Draw(r, "without "+p.Name) {
			continue
		}
		value := p.Schema.draw(r, p.Name)
		a.right = a.right && (p.Schema.fits(value) || value == "" && p.In == "query" && !p.Required)
		switch p.In {
		case "path":
			if value == "" || value == "." || value == ".." {
				value = "x"
				a.right = false
			}
			target = strings.ReplaceAll(target, "{"+p.Name+"}", url.PathEscape(value))
		case "query":
			query.Set(p.Name, value)
		case "header":
			header.Set(p.Name, value)
		}
	}
	if rapid.IntRange(0, 9).Draw(r, "unknown parameter") == 0 {
		query.Set(rapid.StringMatching(`[a-zA-Z]{1,9}`).Draw(r, "its name"), "1")
		a.right = false
	}
	body := ""
	if rapid.IntRange(0, 9).Draw(r, "body") == 0 {
		body = rapid.SampledFrom([]string{`{}`, `{"quantity":"1"}`, `null`, "\x00"}).Draw(r, "its text")
		a.right = false
	}
	parsed, err := url.Parse(target)
	if err != nil {
		r.Fatalf("%s: %v", target, err)
	}
	parsed.RawQuery = query.Encode()
	a.request = httptest.NewRequestWithContext(r.Context(), a.method, "/", strings.NewReader(body))
	a.request.URL, a.request.Header = parsed, header
	return a
}

// TestRequestsFollowTheDocument makes requests of every kind from the document, and
// wants every answer to be one that it allows. What the document allows is not
// refused as malformed, what it forbids is, and nothing is the agent's fault.
func TestRequestsFollowTheDocument(t *testing.T) {
	agreed := readContract(Document())
	world := scenes(t)
	seen := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		for range 100 {
			follow(r, agreed, world, seen)
		}
	})
	for _, want := range []string{"200", "202", "401", "403", "404", "409", "422", "429", "503"} {
		if seen[want] == 0 {
			t.Errorf("no request was ever answered with %s: %v", want, seen)
		}
	}
}

// FuzzRequests looks for the same without end.
func FuzzRequests(f *testing.F) {
	agreed := readContract(Document())
	world := scenes(f)
	f.Fuzz(rapid.MakeFuzz(func(r *rapid.T) { follow(r, agreed, world, map[string]int{}) }))
}

// scene is an agent, a door that can be set, and the API before both.
type scene struct {
	door    *gate
	handler http.Handler
}

// scenes are agents in every state that the API can find one in.
func scenes(tb testing.TB) []scene {
	tb.Helper()
	starting := &agent{pulse: indicator.NewBoard(), status: v1alpha1.TradingStatus{PodUID: "pod", State: v1alpha1.TradingReduceOnly, Reason: v1alpha1.ReasonRecovering}}
	book := ledger.NewMemoryWithHistory()
	trading := traded(tb, book)
	trading.records = book.Reader("uid-a")
	trading.answer = trader.Closed{Orders: []uuid.UUID{orderID}, Remaining: -5}
	flat, broken, late := *trading, *trading, *trading
	flat.answer = trader.Closed{Denied: []string{trader.ReasonNothingHeld}}
	broken.records, broken.answer = brokenReader{trading.records}, trader.Closed{Denied: []string{trader.ReasonVenueUnreachable}}
	late.answer, late.err = trader.Closed{}, trader.ErrNotNow
	all := make([]scene, 0, 5)
	for _, a := range []*agent{trading, starting, &flat, &broken, &late} {
		door := &gate{}
		all = append(all, scene{door, handlerOf(a, door)})
	}
	return all
}

func follow(r *rapid.T, agreed *contract, world []scene, seen map[string]int) {
	at := world[rapid.IntRange(0, len(world)-1).Draw(r, "agent")]
	door := at.door
	*door = gate{scope: rapid.SampledFrom([]keys.Scope{keys.Read, keys.Trade, keys.Admin}).Draw(r, "scope")}
	door.err = rapid.SampledFrom([]error{nil, nil, nil, nil, keys.ErrUnauthenticated, &keys.LimitedError{RetryAfter: 1}, &keys.LimitedError{RetryAfter: 1, Starting: true}}).Draw(r, "key")
	a := agreed.attempt(r)
	recorder := httptest.NewRecorder()
	at.handler.ServeHTTP(recorder, a.request)
	response, body := reply{StatusCode: recorder.Code, Header: recorder.Header()}, recorder.Body.Bytes()
	said := fmt.Sprintf("%s %s is answered by %d %s", a.method, a.request.URL, response.StatusCode, body)
	if err := agreed.check(a.path, a.method, response, body); err != nil {
		r.Fatalf("%s: %v", said, err)
	}
	refused := response.StatusCode == http.StatusUnprocessableEntity
	passed := door.err == nil && (a.method == http.MethodGet || door.scope != keys.Read)
	switch {
	case response.StatusCode >= http.StatusInternalServerError && response.StatusCode != http.StatusServiceUnavailable:
		r.Fatalf("%s", said)
	case a.right && refused && !a.request.URL.Query().Has("cursor"):
		r.Fatalf("%s, though it is as the document wants it", said)
	case !a.right && passed && response.StatusCode < http.StatusBadRequest:
		r.Fatalf("%s, though the document does not allow it", said)
	}
	seen[strconv.Itoa(response.StatusCode)]++
}
